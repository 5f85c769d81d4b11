"""Backup shares of a seed: SLIP-39 through the reference library, one group, t of n.

A share is a line of words (33 for a 256-bit seed). Any t of them restore the seed and t-1 say
nothing about it. Every share carries a checksum that finds up to three wrong words, and t of them
together carry a digest of the seed, so a set that does not belong together is refused. A wrong
passphrase is not: it restores another seed, by design of SLIP-39, and only the addresses tell.

Source: https://github.com/satoshilabs/slips/blob/master/slip-0039.md

The library draws its random bytes from a name of its module, `RANDOM_BYTES`, which is its declared
seam; here that name stands for the caller's entropy while shares are made, and one at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

from shamir_mnemonic import Share, shamir  # type: ignore[import-untyped]
from shamir_mnemonic.constants import (  # type: ignore[import-untyped]
    METADATA_LENGTH_WORDS,
    RADIX_BITS,
)
from shamir_mnemonic.utils import MnemonicError  # type: ignore[import-untyped]
from shamir_mnemonic.wordlist import WORDLIST  # type: ignore[import-untyped]

from core.entropy import Entropy
from core.errors import Corrupt, Reason, Refused
from custody.keys.secret import Secret

SHARES_MAX = 16
EXPONENT_MAX = 8
"""Most that we make; at 8 one guess at the passphrase costs 2.56 million iterations."""
SEED_BYTES = (16, 32)
"""The two sizes that SLIP-39 names for new backups."""
ABBREVIATION = 4
"""The first four letters name a word of the list."""
_WORDS = frozenset(WORDLIST)
_BY_LETTERS = {word[:ABBREVIATION]: word for word in WORDLIST}
_library = threading.Lock()


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a seed is shared: any `threshold` of `count` shares.

    extendable: other shares of the same seed under the same passphrase restore the same seed.
    iteration_exponent e: a guess at the passphrase costs 10,000 x 2^e rounds of PBKDF2.
    Refused: malformed.
    """

    threshold: int = 3
    count: int = 5
    extendable: bool = True
    iteration_exponent: int = 1

    def __post_init__(self) -> None:
        numbers = (self.threshold, self.count, self.iteration_exponent)
        if (
            not all(type(n) is int for n in numbers)
            or not 2 <= self.threshold <= self.count <= SHARES_MAX
            or not 0 <= self.iteration_exponent <= EXPONENT_MAX
        ):
            raise Refused(
                Reason.MALFORMED, f"2 <= threshold <= count <= {SHARES_MAX}, exponent 0..8"
            )

    def __str__(self) -> str:
        kind = "extendable" if self.extendable else "not extendable"
        return (
            f"SLIP-39 {self.threshold} of {self.count}, {kind},"
            f" iteration exponent {self.iteration_exponent}"
        )

    def sets(self) -> list[tuple[int, ...]]:
        """Return every choice of threshold shares, by their places 0..count-1."""
        return list(combinations(range(self.count), self.threshold))


@dataclass(frozen=True, slots=True)
class ShareFacts:
    """What the first words of a share say. None of it is secret."""

    identifier: int
    """Common to all shares of one ceremony."""
    number: int
    """1 for the first share."""
    threshold: int
    word_count: int


def split(
    seed: Secret, scheme: Scheme, *, entropy: Entropy, passphrase: Secret | None = None
) -> tuple[Secret, ...]:
    """Return the shares of a seed of 16 or 32 bytes, each the ASCII of its words.

    Refused: malformed (size of the seed, a passphrase that is not printable ASCII). Corrupt when
    they do not restore the seed.
    """
    if len(seed.reveal()) not in SEED_BYTES:
        raise Refused(Reason.MALFORMED, "a seed to share has 16 or 32 bytes")
    extra = _passphrase(passphrase)
    with _random_bytes_from(entropy):
        (lines,) = shamir.generate_mnemonics(
            1,
            [(scheme.threshold, scheme.count)],
            seed.reveal(),
            extra,
            extendable=scheme.extendable,
            iteration_exponent=scheme.iteration_exponent,
        )
    shares = tuple(Secret(line.encode("ascii")) for line in lines)
    assert len(shares) == scheme.count
    if restore(shares[-scheme.threshold :], passphrase) != seed:
        raise Corrupt("the shares just made do not restore the seed")
    return shares


def restore(shares: Sequence[Secret], passphrase: Secret | None = None) -> Secret:
    """Return the seed of exactly as many shares as are needed.

    A wrong passphrase gives another seed; compare addresses. Refused: malformed (passphrase),
    bad_share: a word that is not on the list, a wrong length, a checksum that does not fit, too few
    or too many, one twice, two of one number, of two ceremonies or groups, or not of one seed.
    """
    extra = _passphrase(passphrase)
    parsed = [_parsed(share, place) for place, share in enumerate(shares, 1)]
    why = _why_no_set(parsed)
    if why is not None:
        raise Refused(Reason.BAD_SHARE, why)
    seed = _recover(parsed, extra)
    if seed is None:
        raise Refused(Reason.BAD_SHARE, "the shares do not belong to one seed")
    return seed


def facts_of(share: Secret) -> ShareFacts:
    """Return what a share says about itself. Refused: bad_share."""
    parsed = _parsed(share, 1)
    return ShareFacts(
        identifier=parsed.identifier,
        number=parsed.index + 1,
        threshold=parsed.member_threshold,
        word_count=len(share.reveal().split()),
    )


def words_of(share: Secret) -> tuple[str, ...]:
    """Return the words, for the one page that shows them."""
    return tuple(share.reveal().decode("ascii").split())


def complete(typed: Secret) -> Secret:
    """Return a typed share with every word in full and in lower case.

    A word may be cut off after its fourth letter. Refused: bad_share, which names the first word
    that is not on the list by its place and never by its letters.
    """
    words = typed.reveal().lower().split()
    full = []
    for place, raw in enumerate(words, 1):
        word = raw.decode("ascii") if raw.isascii() else ""
        if word not in _WORDS:
            word = _BY_LETTERS.get(word, "")
        if not word:
            raise Refused(Reason.BAD_SHARE, f"word {place} is not on the list")
        full.append(word)
    return Secret(" ".join(full).encode("ascii"))


@contextmanager
def _random_bytes_from(entropy: Entropy) -> Iterator[None]:
    with _library:
        before = shamir.RANDOM_BYTES
        shamir.RANDOM_BYTES = entropy.token_bytes
        try:
            yield
        finally:
            shamir.RANDOM_BYTES = before


def _passphrase(passphrase: Secret | None) -> bytes:
    data = b"" if passphrase is None else passphrase.reveal()
    if not all(0x20 <= byte <= 0x7E for byte in data):
        raise Refused(Reason.MALFORMED, "a passphrase of SLIP-39 is printable ASCII")
    return data


def _parsed(share: Secret, place: int) -> Share:
    parsed = _parse(share)
    if isinstance(parsed, str):
        raise Refused(Reason.BAD_SHARE, f"share {place} of those given: {parsed}")
    return parsed


def _parse(share: Secret) -> Share | str:
    # No error of the library leaves this frame: it holds words.
    words = share.reveal().split(b" ")
    for place, word in enumerate(words, 1):
        if not word.isascii() or word.decode("ascii") not in _WORDS:
            return f"word {place} is not on the list"
    padding = (RADIX_BITS * (len(words) - METADATA_LENGTH_WORDS)) % 16
    if len(words) < 20 or padding > 8:
        return f"{len(words)} words; a share of a 256-bit seed has 33"
    try:
        return Share.from_mnemonic(share.reveal().decode("ascii"))
    except MnemonicError as error:
        if "checksum" in str(error):
            return "its checksum does not fit, so a word is wrong"
        return "its fields contradict each other"


def _why_no_set(shares: Sequence[Share]) -> str | None:
    """Return why these shares restore nothing together, None when they may."""
    if not shares:
        return "no share was given"
    first = shares[0]
    if len({share.common_parameters() for share in shares}) > 1:
        same_backup = {(s.identifier, s.extendable, s.iteration_exponent) for s in shares}
        return "shares of two " + ("ceremonies" if len(same_backup) > 1 else "schemes of groups")
    groups: dict[int, list[Share]] = {}
    for share in shares:
        groups.setdefault(share.group_index, []).append(share)
    for members in groups.values():
        why = _why_no_group(members)
        if why is not None:
            return why
    if len(groups) != first.group_threshold:
        return f"of {len(groups)} group(s) of shares; exactly {first.group_threshold} are needed"
    return None


def _why_no_group(members: Sequence[Share]) -> str | None:
    wanted = members[0].member_threshold
    if len({(share.member_threshold, len(share.value)) for share in members}) > 1:
        return "shares of two schemes"
    seen: dict[int, Share] = {}
    for share in members:
        other = seen.setdefault(share.index, share)
        if other is not share:
            same = "is there twice" if other == share else "is there in two versions"
            return f"share number {share.index + 1} {same}"
    if len(members) != wanted:
        return f"{len(members)} of the exactly {wanted} shares that are needed"
    return None


def _recover(shares: Sequence[Share], passphrase: bytes) -> Secret | None:
    try:
        sealed = shamir.recover_ems(shamir.decode_mnemonics([s.mnemonic() for s in shares]))
    except MnemonicError:
        return None
    return Secret(sealed.decrypt(passphrase))
