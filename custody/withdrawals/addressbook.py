"""The address book of a customer: create -> confirm -> cool-down -> usable (rules §4.8).

An entry is confirmed by a one-time code that goes to the customer by another way (the notifier's);
the table keeps its hash, its expiry and the tries that are left. There is no edit: an entry is
removed and another one created, so that whoever changes a destination is its last editor and waits
again. Whoever made the entry may not approve payments to it.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import Standing
from core.clock import DAY_NS
from core.entropy import Entropy
from core.errors import Reason, Refused
from core.ids import ChainId, CustomerNo, derived_digest, derived_id
from custody import audit_log, catalogue
from custody.db import next_number
from custody.keys.secret import Secret
from custody.policy.request import Destination, DestinationKind, Finding, Verdict
from custody.withdrawals import destinations, security
from custody.withdrawals.book_rows import (
    BookTerms,
    Entry,
    EntryState,
    NewEntry,
    address_book_rules,
    address_entries,
    by_client_id,
    find,
    get,
    is_required,
)
from custody.withdrawals.notices import CodeNotice
from custody.withdrawals.security import SecurityChange

CODE_BYTES = 10
"""80 random bits, 16 letters: nobody finds them from the stored hash within a code's hour."""
_CODE = re.compile(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", re.ASCII)
_LABEL = re.compile(r"[\x20-\x7e]{1,64}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_TAG = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Created:
    """An entry, and the notice to hand over after the commit; None when it was there before."""

    entry: Entry
    notice: CodeNotice | None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What became of a code. The caller commits first, so that a wrong try stays counted."""

    entry: Entry
    refused: Refused | None

    def checked(self) -> Entry:
        """Return the confirmed entry. Refused: wrong_code."""
        if self.refused is not None:
            raise self.refused
        return self.entry


def create(
    conn: sa.Connection, asked: NewEntry, *, terms: BookTerms, entropy: Entropy, now_ns: int
) -> Created:
    """Enter an address; the same request again is returned without a new code.

    The notice is handed over when the transaction is committed; if it is lost, renew_code makes
    another one. Refused: malformed, exists_with_other_content (the id; or the address is in the
    book already), unknown_customer, too_many_entries.
    """
    if _ID.fullmatch(asked.client_entry_id) is None or _LABEL.fullmatch(asked.label) is None:
        raise Refused(Reason.MALFORMED, "an id of 128 and a label of 64 plain characters")
    if asked.tag is not None and _TAG.fullmatch(asked.tag) is None:
        raise Refused(Reason.MALFORMED, "a tag has at most 128 plain characters")
    earlier = by_client_id(conn, asked.customer_no, asked.client_entry_id)
    if earlier is not None:
        if _content(earlier) != _content(asked):
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, asked.client_entry_id)
        return Created(earlier, None)
    catalogue.customer(conn, asked.customer_no)
    if find(conn, asked.customer_no, asked.chain, asked.address) is not None:
        raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, "the address is in the book already")
    _check_room(conn, asked.customer_no, terms, now_ns)
    entry_id = derived_id("addr", asked.customer_no, asked.client_entry_id)
    code = _new_code(entropy)
    conn.execute(
        address_entries.insert().values(
            entry_id=entry_id,
            entry_no=next_number(conn, "address_entry"),
            client_entry_id=asked.client_entry_id,
            customer_no=asked.customer_no,
            chain=asked.chain,
            address=asked.address,
            tag=asked.tag,
            label=asked.label,
            last_editor=asked.editor,
            state=EntryState.PENDING.value,
            created_at_ns=now_ns,
            code_hash=_hash(entry_id, code),
            code_expires_ns=now_ns + terms.code_ttl_ns,
            tries_left=terms.tries_max,
            codes_left=terms.codes_max - 1,
        )
    )
    _note(conn, "create", asked.editor, entry_id, now_ns)
    entry = get(conn, asked.customer_no, entry_id)
    return Created(entry, _notice(entry, code))


def renew_code(
    conn: sa.Connection,
    customer_no: CustomerNo,
    entry_id: str,
    *,
    by: str,
    terms: BookTerms,
    entropy: Entropy,
    now_ns: int,
) -> Created:
    """Replace the code of a pending entry. Refused: not_found, illegal_transition, wrong_code.

    wrong_code: the entry had all the codes that one entry gets.
    """
    entry = get(conn, customer_no, entry_id)
    if entry.state is not EntryState.PENDING:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{entry_id} is {entry.state}")
    if entry.codes_left < 1:
        raise Refused(Reason.WRONG_CODE, "no code is left; remove the entry and make another")
    code = _new_code(entropy)
    _update(
        conn,
        entry,
        code_hash=_hash(entry_id, code),
        code_expires_ns=now_ns + terms.code_ttl_ns,
        tries_left=terms.tries_max,
        codes_left=entry.codes_left - 1,
    )
    _note(conn, "code", by, entry_id, now_ns)
    entry = get(conn, customer_no, entry_id)
    return Created(entry, _notice(entry, code))


def confirm(
    conn: sa.Connection, customer_no: CustomerNo, entry_id: str, code: Secret, *, now_ns: int
) -> Confirmation:
    """Confirm an entry by its code; a confirmed one stays as it is.

    A wrong code is counted and answered inside Confirmation, so that the count is committed.
    Refused: not_found, illegal_transition (removed).
    """
    entry = get(conn, customer_no, entry_id)
    if entry.state is EntryState.CONFIRMED:
        return Confirmation(entry, None)
    if entry.state is not EntryState.PENDING:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{entry_id} is {entry.state}")
    if now_ns >= entry.code_expires_ns or entry.tries_left < 1:
        return Confirmation(entry, Refused(Reason.WRONG_CODE, "the code is no longer valid"))
    stored = conn.execute(
        sa.select(address_entries.c.code_hash).where(address_entries.c.entry_id == entry_id)
    ).scalar_one()
    if not hmac.compare_digest(stored, _hash(entry_id, code)):
        _update(conn, entry, tries_left=entry.tries_left - 1)
        _note(conn, "wrong_code", f"customer:{customer_no}", entry_id, now_ns)
        wrong = Refused(Reason.WRONG_CODE, f"{entry.tries_left - 1} tries are left")
        return Confirmation(get(conn, customer_no, entry_id), wrong)
    _update(conn, entry, state=EntryState.CONFIRMED.value, confirmed_at_ns=now_ns, code_hash=None)
    destinations.note_used(conn, entry.chain, customer_no, entry.address, now_ns)
    _note(conn, "confirm", f"customer:{customer_no}", entry_id, now_ns)
    return Confirmation(get(conn, customer_no, entry_id), None)


def remove(
    conn: sa.Connection, customer_no: CustomerNo, entry_id: str, *, by: str, now_ns: int
) -> Entry:
    """Take an entry out at once; a second time changes nothing. Refused: not_found."""
    entry = get(conn, customer_no, entry_id)
    if entry.state is EntryState.REMOVED:
        return entry
    _update(conn, entry, state=EntryState.REMOVED.value, removed_at_ns=now_ns, code_hash=None)
    _note(conn, "remove", by, entry_id, now_ns)
    return get(conn, customer_no, entry_id)


def destination_of(
    conn: sa.Connection,
    chain: ChainId,
    customer_no: CustomerNo | None,
    address: str,
    now_ns: int,
    *,
    value_usd: int | None = None,
    standing: Standing | None = None,
    terms: BookTerms | None = None,
) -> tuple[Destination, tuple[Finding, ...]]:
    """Return what a policy may ask about a destination, and what speaks against it.

    customer_no: whose payment it is, None for our own transfers. value_usd: of the payment, in
    10^-6 USD; without one it counts as large. standing: what the node found there
    (destinations.survey), None at release. Codes of findings are names of core.errors.Reason:
    own_address, forbidden_destination, look_alike, not_in_address_book, cooling_down.
    """
    terms = terms or BookTerms()
    kind, found = destinations.judge(conn, chain, customer_no, address, standing=standing)
    if customer_no is None:
        return Destination(address, kind), found
    entry = find(conn, customer_no, chain, address)
    usable, why = _usable(entry, value_usd, now_ns, terms)
    if entry is None or not usable:
        if is_required(conn, customer_no, terms=terms) and kind is not DestinationKind.OWN_WALLET:
            found += (why,)
        alike = destinations.look_alike_of(conn, chain, customer_no, address)
        if alike is not None and (entry is None or entry.state is not EntryState.CONFIRMED):
            found += (Finding(Verdict.BLOCK, Reason.LOOK_ALIKE.value, f"of {alike}"),)
        editor = None if entry is None else entry.last_editor
        return Destination(address, kind, last_editor=editor), found
    assert entry.confirmed_at_ns is not None
    destination = Destination(
        address,
        kind,
        tag=entry.tag,
        entry=entry.entry_id,
        entry_age_ns=now_ns - entry.confirmed_at_ns,
        last_editor=entry.last_editor,
    )
    return destination, found


def _usable(
    entry: Entry | None, value_usd: int | None, now_ns: int, terms: BookTerms
) -> tuple[bool, Finding]:
    missing = Finding(Verdict.BLOCK, Reason.NOT_IN_ADDRESS_BOOK.value)
    if entry is None:
        return False, missing
    if entry.confirmed_at_ns is None:
        return False, Finding(Verdict.BLOCK, Reason.NOT_IN_ADDRESS_BOOK.value, "not confirmed")
    is_large = value_usd is None or value_usd >= terms.large_usd
    wait_ns = terms.large_cooldown_ns if is_large else terms.cooldown_ns
    usable_at_ns = entry.confirmed_at_ns + wait_ns
    cooling = Finding(Verdict.BLOCK, Reason.COOLING_DOWN.value, f"until {usable_at_ns}")
    return now_ns >= usable_at_ns, cooling


def set_required(
    conn: sa.Connection,
    customer_no: CustomerNo,
    *,
    required: bool,
    by: str,
    terms: BookTerms,
    now_ns: int,
) -> None:
    """Switch the obligation on or off; off is a security change and holds withdrawals.

    Refused: unknown_customer.
    """
    catalogue.customer(conn, customer_no)
    before = is_required(conn, customer_no, terms=terms)
    conn.execute(address_book_rules.delete().where(address_book_rules.c.customer_no == customer_no))
    conn.execute(
        address_book_rules.insert().values(
            customer_no=customer_no, required=required, by=by, at_ns=now_ns
        )
    )
    if before == required:
        return
    audit_log.record(
        conn, actor=by, action="address_book.required", subject=f"customer:{customer_no}",
        detail={"required": str(required).lower()}, at_ns=now_ns,
    )  # fmt: skip
    if not required:
        security.record_change(conn, customer_no, SecurityChange.BOOK_OFF, now_ns, by=by)


def parse_code(text: str) -> Secret:
    """Return a code as typed; lower case and missing hyphens are forgiven. Refused: wrong_code."""
    bare = text.strip().upper().replace("-", "")[:64]
    shown = "-".join(bare[i : i + 4] for i in range(0, len(bare), 4))
    if _CODE.fullmatch(shown) is None:
        raise Refused(Reason.WRONG_CODE, "a code has 16 letters and digits")
    return Secret(shown.encode())


def _content(of: NewEntry | Entry) -> tuple[object, ...]:
    return (of.chain, of.address, of.tag, of.label)


def _check_room(
    conn: sa.Connection, customer_no: CustomerNo, terms: BookTerms, now_ns: int
) -> None:
    counted = sa.select(sa.func.count()).where(
        address_entries.c.customer_no == customer_no,
        sa.or_(
            address_entries.c.state != EntryState.REMOVED.value,
            address_entries.c.created_at_ns > now_ns - DAY_NS,
        ),
    )
    if conn.execute(counted).scalar_one() >= terms.entries_max:
        raise Refused(Reason.TOO_MANY_ENTRIES, f"at most {terms.entries_max}")


def _new_code(entropy: Entropy) -> Secret:
    text = base64.b32encode(entropy.token_bytes(CODE_BYTES))
    return Secret(b"-".join(text[i : i + 4] for i in range(0, len(text), 4)))


def _hash(entry_id: str, code: Secret) -> bytes:
    return derived_digest("address-book/code", entry_id, code.reveal())


def _notice(entry: Entry, code: Secret) -> CodeNotice:
    return CodeNotice(
        customer_no=entry.customer_no,
        entry_id=entry.entry_id,
        chain=entry.chain,
        address=entry.address,
        label=entry.label,
        code=code,
        expires_at_ns=entry.code_expires_ns,
    )


def _update(conn: sa.Connection, entry: Entry, **values: object) -> None:
    conn.execute(
        address_entries.update()
        .where(address_entries.c.entry_id == entry.entry_id)
        .values(**values)
    )


def _note(conn: sa.Connection, verb: str, by: str, entry_id: str, now_ns: int) -> None:
    audit_log.record(
        conn, actor=by, action=f"address_book.{verb}", subject=entry_id, detail={}, at_ns=now_ns
    )
