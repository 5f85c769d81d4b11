"""What a transaction would do, as a node runs it: balances before and after, and nothing else.

A node runs the message with its durable nonce and without signatures, on its confirmed state. The
judge has said which accounts may change; each of them is compared.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

from chains.base import NATIVE, BalanceChange, BlockRef, Decoded, Simulation, UnsignedTx
from chains.rpc import RpcClient, RpcError, required
from chains.solana import programs
from chains.solana.accounts import (
    CONFIRMED,
    Account,
    MalformedAnswer,
    ask_accounts,
    fields,
    items,
    number,
    read_account,
    token_of,
)
from chains.solana.address import raw_address, to_text
from chains.solana.decode import read_budget
from chains.solana.message import SIGNATURE_BYTES, Message, read_message

DETAIL_MAX = 300
State = Mapping[bytes, Account | None]


def unsigned_raw(payload: bytes) -> bytes:
    """Return a transaction whose signatures are all zero. Refused: undecodable."""
    signers = read_message(payload).signers
    return bytes((signers,)) + bytes(SIGNATURE_BYTES * signers) + payload


def ask_run(
    client: RpcClient, payload: bytes, accounts: list[bytes]
) -> tuple[str | None, int, list[Account | None]]:
    """Have one node run a message; return why it fails (None: it does not), the compute units it
    used, and the accounts as it leaves them; what holds nothing is gone.
    """
    options = {
        "encoding": "base64",
        "sigVerify": False,
        "commitment": CONFIRMED,
        "accounts": {"encoding": "base64", "addresses": [to_text(one) for one in accounts]},
    }
    raw = base64.b64encode(unsigned_raw(payload)).decode()
    answer = client.ask("simulateTransaction", raw, options)
    if isinstance(answer, RpcError):
        return answer.message[:DETAIL_MAX] or "refused", 0, []
    page = fields(fields(required(answer, "simulation"), "simulation").get("value"), "simulation")
    if page.get("err") is not None:
        return f"{page['err']}"[:DETAIL_MAX], 0, []
    used = number(page.get("unitsConsumed"), "unitsConsumed")
    found = items(page.get("accounts"), "accounts", most=len(accounts))
    if len(found) != len(accounts):
        raise MalformedAnswer("malformed_answer: another number of accounts")
    read = [read_account(each, "simulated account") for each in found]
    return None, used, [one if one is not None and one.lamports else None for one in read]


def run(client: RpcClient, unsigned: UnsignedTx, decoded: Decoded, at: BlockRef) -> Simulation:
    """Run an unsigned transaction on one node. Unavailable: the node cannot."""
    message = read_message(unsigned.payload)
    changing = [key for place, key in enumerate(message.keys) if message.is_writable(place)]
    _, before = ask_accounts(client, changing, commitment=CONFIRMED, least_slot=at.height)
    failure, _, after = ask_run(client, unsigned.payload, changing)
    if failure is not None:
        return Simulation(at, succeeded=False, detail=failure)
    old: State = dict(zip(changing, before, strict=True))
    new: State = dict(zip(changing, after, strict=True))
    changes = tuple(_changes(unsigned, decoded, old, new))
    others = tuple(sorted(_others(message, decoded, unsigned.sender, old, new)))
    return Simulation(at, succeeded=True, changes=changes, others=others)


def _lamports(account: Account | None) -> int:
    return 0 if account is None else account.lamports


def _changes(
    unsigned: UnsignedTx, decoded: Decoded, old: State, new: State
) -> Iterator[BalanceChange]:
    payer = raw_address(decoded.signers[0] if decoded.signers else unsigned.sender)
    fee = sum(map(_lamports, old.values())) - sum(map(_lamports, new.values()))
    told = [
        (e.asset_key, owner) for e in decoded.effects for owner in (unsigned.sender, e.destination)
    ]
    for asset_key, owner in dict.fromkeys(told):
        raw = raw_address(owner)
        if asset_key == NATIVE:
            back = fee if raw == payer else 0
            before, after = _lamports(old.get(raw)), _lamports(new.get(raw)) + back
        else:
            mint = raw_address(asset_key)
            before, after = (_tokens(state, raw, mint) for state in (old, new))
        yield BalanceChange(owner, asset_key, before, after)


def _tokens(state: State, owner: bytes, mint: bytes) -> int:
    for program in programs.TOKEN_PROGRAMS:
        found = token_of(state.get(programs.token_account(owner, mint, program)))
        if found is not None:
            return found.amount
    return 0


def _others(
    message: Message, decoded: Decoded, sender: str, old: State, new: State
) -> Iterator[str]:
    """Name what a payment has no business to change."""
    lost = sum(map(_lamports, old.values())) - sum(map(_lamports, new.values()))
    if not 0 < lost <= decoded.fee_max:
        yield "coins that leave all accounts"
    budget = read_budget(message)
    paying = {budget.payer}
    if any(effect.asset_key == NATIVE for effect in decoded.effects):
        paying |= {raw_address(sender), *(raw_address(e.destination) for e in decoded.effects)}
    for key, before in old.items():
        after, name = new[key], to_text(key)
        held, holds = token_of(before), token_of(after)
        is_tokens = (held or holds) is not None
        if key == budget.nonce_account:
            if before is None or after is None or before.lamports != after.lamports:
                yield f"balance of {name}"
            continue
        is_there = before is not None and after is not None
        if is_there and _lamports(before) != _lamports(after) and key not in paying:
            yield f"balance of {name}"
        if before is None or after is None:
            if not is_tokens and key not in paying:
                yield f"existence of {name}"
        elif before.owner != after.owner or before.is_program != after.is_program:
            yield f"owner of {name}"
        elif _without_amount(before, is_tokens) != _without_amount(after, is_tokens):
            yield f"data of {name}"


def _without_amount(account: Account, is_tokens: bool) -> bytes:
    data = account.data
    return data[:64] + data[72:] if is_tokens else data
