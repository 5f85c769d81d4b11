"""SLIP-39 shares: any three of five restore the seed, and nothing else does (K07)."""

from __future__ import annotations

import os
import random
import secrets
import time
import traceback
import uuid
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest
from shamir_mnemonic import Share, shamir  # type: ignore[import-untyped]
from shamir_mnemonic.wordlist import WORDLIST  # type: ignore[import-untyped]

from core.entropy import Entropy, SeededEntropy, SystemEntropy
from core.errors import Reason, Refused
from custody.keys.secret import Secret
from custody.keys.shares import Scheme, complete, facts_of, restore, split, words_of
from custody.keys.signers.keystore import fresh_seed
from tests.support.writes import written_paths

SEED = Secret(bytes(range(32)))
WORD = Secret(b"correct horse")
QUICK = Scheme(iteration_exponent=0)


def shares_of(seed: Secret = SEED, stub: int = 1, scheme: Scheme = QUICK) -> tuple[Secret, ...]:
    return split(seed, scheme, entropy=SeededEntropy(stub, "shares"))


SHARES = shares_of()


def refusal(shares: Sequence[Secret], passphrase: Secret | None = None) -> str:
    with pytest.raises(Refused) as refused:
        restore(shares, passphrase)
    assert refused.value.reason is Reason.BAD_SHARE
    return refused.value.detail


def changed(share: Secret, place: int, word: str) -> Secret:
    words = [*words_of(share)]
    assert words[place] != word
    words[place] = word
    return Secret(" ".join(words).encode())


# SLIP-0039, the reference's examples 1 and 4 under the passphrase TREZOR, and 2, which is 1 spoilt.
ALONE = (
    "duckling enlarge academic academic agency result length solution fridge kidney coal piece "
    "deal husband erode duke ajar critical decision keyboard"
)
ALONE_SEED = "bb54aac4b89dc868ba37d9cc21b2cece"
FIRST_OF_THREE = (
    "shadow pistol academic always adequate wildlife fancy gross oasis cylinder mustang wrist "
    "rescue view short owner flip making coding armed"
)
SECOND_OF_THREE = (
    "shadow pistol academic acid actress prayer class unknown daughter sweater depict flip twice "
    "unkind craft early superior advocate guest smoking"
)
TWO_OF_THREE = (FIRST_OF_THREE, SECOND_OF_THREE)
TWO_OF_THREE_SEED = "b43ceb7e57a0ea8766221624d01b0864"


@pytest.mark.parametrize(
    ("shares", "seed"), [((ALONE,), ALONE_SEED), (TWO_OF_THREE, TWO_OF_THREE_SEED)]
)
def test_the_examples_of_slip_39_restore_their_seeds(shares: tuple[str, ...], seed: str) -> None:
    given = [Secret(share.encode()) for share in shares]
    assert restore(given, Secret(b"TREZOR")).reveal().hex() == seed
    assert restore(given, Secret(b"other")).reveal().hex() != seed


def test_the_spoilt_examples_of_slip_39_are_refused() -> None:
    assert "checksum" in refusal([Secret(ALONE.replace("keyboard", "kidney").encode())])
    assert refusal([Secret(TWO_OF_THREE[0].encode())])


def test_K07_all_ten_triples_restore_the_seed() -> None:
    triples = list(combinations(SHARES, 3))
    assert len(triples) == len(QUICK.sets()) == 10
    assert all(restore(triple) == SEED for triple in triples)
    assert all(restore(triple[::-1]) == SEED for triple in triples), "order does not matter"


def test_K07_no_pair_and_no_single_share_restores_anything() -> None:
    for size in (1, 2):
        for few in combinations(SHARES, size):
            assert refusal(few) == f"{size} of the exactly 3 shares that are needed"
    assert refusal(()) == "no share was given"
    assert refusal(SHARES) == "5 of the exactly 3 shares that are needed"


def test_K07_a_changed_word_is_found_at_every_place() -> None:
    chance = random.Random(39)
    for number, share in enumerate(SHARES[:3]):
        for place, word in enumerate(words_of(share)):
            for other in chance.sample([one for one in WORDLIST if one != word], 3):
                wrong = changed(share, place, other)
                given = [wrong if n == number else SHARES[n] for n in range(3)]
                expected = f"share {number + 1} of those given: its checksum does not fit"
                assert refusal(given).startswith(expected)


def test_K07_a_changed_byte_is_found_at_every_place() -> None:
    raw = SHARES[0].reveal()
    for place in range(len(raw)):
        for change in (0x01, 0x20, 0x80):
            mutated = raw[:place] + bytes([raw[place] ^ change]) + raw[place + 1 :]
            refusal([Secret(mutated), *SHARES[1:3]])


def test_K07_two_swapped_words_are_found() -> None:
    words = [*words_of(SHARES[0])]
    for place in range(len(words) - 1):
        if words[place] == words[place + 1]:
            continue
        swapped = [*words]
        swapped[place : place + 2] = words[place + 1], words[place]
        refusal([Secret(" ".join(swapped).encode()), *SHARES[1:3]])


def test_K07_a_share_counts_once() -> None:
    given = [SHARES[0], SHARES[1], SHARES[1]]
    assert refusal(given) == "share number 2 is there twice"


def test_K07_two_different_shares_of_one_number_are_refused() -> None:
    one, two, three = (Share.from_mnemonic(s.reveal().decode()) for s in SHARES[:3])
    forged = Share(**{**two.__dict__, "value": three.value})
    given = [SHARES[0], SHARES[1], Secret(forged.mnemonic().encode())]
    assert refusal(given) == "share number 2 is there in two versions"
    assert one.index == 0


def test_K07_x_zero_is_an_ordinary_share_and_the_seeds_own_place_cannot_be_written() -> None:
    """SLIP-39 keeps the seed at x=255 and its digest at x=254; four bits say a share's number."""
    parsed = [Share.from_mnemonic(share.reveal().decode()) for share in SHARES]
    assert [share.index for share in parsed] == [0, 1, 2, 3, 4]
    assert SEED.reveal() not in {share.value for share in parsed}
    for place in (254, 255):
        forged = Share(**{**parsed[2].__dict__, "index": place})
        line = Secret(forged.mnemonic().encode())
        assert facts_of(line).number - 1 not in (254, 255)
        refusal([SHARES[0], SHARES[1], line])


def test_K07_shares_of_two_ceremonies_do_not_mix() -> None:
    again = shares_of(stub=2)
    other = shares_of(seed=Secret(bytes(32)), stub=3)
    for stranger in (again[2], other[2]):
        assert refusal([*SHARES[:2], stranger]) == "shares of two ceremonies"


def test_K07_shares_that_only_pretend_to_one_ceremony_do_not_restore() -> None:
    """The digest of the seed finds what the numbers do not."""
    parsed = Share.from_mnemonic(shares_of(stub=2)[2].reveal().decode())
    mine = Share.from_mnemonic(SHARES[0].reveal().decode())
    disguised = Share(**{**parsed.__dict__, "identifier": mine.identifier})
    given = [*SHARES[:2], Secret(disguised.mnemonic().encode())]
    assert refusal(given) == "the shares do not belong to one seed"


def test_a_share_of_another_scheme_is_refused() -> None:
    mine = Share.from_mnemonic(SHARES[2].reveal().decode())
    for change, expected in (
        ({"group_index": 1}, "2 of the exactly 3 shares that are needed"),
        ({"group_index": 1, "member_threshold": 1}, "2 of the exactly 3 shares"),
        ({"group_count": 2}, "shares of two schemes of groups"),
        ({"member_threshold": 2}, "shares of two schemes"),
        ({"extendable": False}, "shares of two ceremonies"),
        ({"iteration_exponent": 1}, "shares of two ceremonies"),
    ):
        line = Share(**{**mine.__dict__, **change}).mnemonic()
        assert refusal([*SHARES[:2], Secret(line.encode())]).startswith(expected)
    whole = [Share.from_mnemonic(share.reveal().decode()) for share in SHARES[:3]]
    lines = [Share(**{**share.__dict__, "group_count": 2, "group_threshold": 2}) for share in whole]
    given = [Secret(line.mnemonic().encode()) for line in lines]
    assert refusal(given) == "of 1 group(s) of shares; exactly 2 are needed"


@pytest.mark.parametrize("count", [0, 1, 19, 21, 32, 34, 60])
def test_a_share_of_a_wrong_length_is_refused(count: int) -> None:
    words = (words_of(SHARES[0]) * 2)[:count]
    refusal([Secret(" ".join(words).encode()), *SHARES[1:3]])


def test_a_passphrase_belongs_to_the_seed_and_a_wrong_one_gives_another_seed() -> None:
    shares = split(SEED, QUICK, entropy=SystemEntropy(), passphrase=WORD)
    assert restore(shares[:3], WORD) == SEED
    others = {restore(shares[:3], Secret(wrong)).reveal() for wrong in (b"", b"correct hors")}
    assert len(others) == 2
    assert SEED.reveal() not in others
    for bad in ("straße".encode(), b"a\nb", b"\x7f"):
        with pytest.raises(Refused) as refused:
            split(SEED, QUICK, entropy=SystemEntropy(), passphrase=Secret(bad))
        assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("extendable", [True, False])
@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_flag_and_exponent_are_written_into_every_share(extendable: bool, exponent: int) -> None:
    scheme = Scheme(2, 3, extendable=extendable, iteration_exponent=exponent)
    shares = shares_of(scheme=scheme)
    for share in shares:
        parsed = Share.from_mnemonic(share.reveal().decode())
        assert (parsed.extendable, parsed.iteration_exponent) == (extendable, exponent)
        assert facts_of(share).threshold == 2
    assert restore(shares[1:]) == SEED


@pytest.mark.parametrize(
    "numbers", [(1, 1), (1, 5), (6, 5), (0, 5), (3, 17), (3, 5, True, 9), (3, 5, True, -1)]
)
def test_a_scheme_that_protects_nothing_is_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(Refused):
        Scheme(*numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 15, 17, 31, 33, 64])
def test_a_seed_of_another_size_is_not_shared(size: int) -> None:
    with pytest.raises(Refused) as refused:
        shares_of(Secret(bytes(size)))
    assert refused.value.reason is Reason.MALFORMED


def test_four_letters_name_a_word() -> None:
    short = " ".join(word[:4].upper() for word in words_of(SHARES[0]))
    assert complete(Secret(short.encode())) == SHARES[0]
    assert complete(Secret(b"  " + SHARES[0].reveal().replace(b" ", b"\n\t") + b"\n")) == SHARES[0]
    for wrong in (b"acad xyzzy", b"acad aca", b"acad academics", b"acad caf\xc3\xa9"):
        with pytest.raises(Refused) as refused:
            complete(Secret(wrong))
        assert refused.value.detail == "word 2 is not on the list"


def test_K01_shares_follow_the_entropy_they_are_given_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stuck:
        def token_bytes(self, count: int) -> bytes:
            return b"\x07" * count

    stuck: Entropy = Stuck()
    expected = split(SEED, QUICK, entropy=stuck)
    assert [facts_of(share).identifier for share in expected] == [0x0707] * 5

    def no(*_arguments: object) -> bytes:
        raise AssertionError("another source of randomness")

    for module, name in ((os, "urandom"), (secrets, "token_bytes"), (random, "getrandbits")):
        monkeypatch.setattr(module, name, no)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(uuid, "uuid4", no)
    assert split(SEED, QUICK, entropy=stuck) == expected
    assert split(SEED, QUICK, entropy=SeededEntropy(5)) != expected


class Broken:
    def token_bytes(self, _count: int) -> bytes:
        raise RuntimeError("no entropy")


def test_the_library_gets_its_own_source_back() -> None:
    assert shamir.RANDOM_BYTES is secrets.token_bytes
    with pytest.raises(RuntimeError):
        split(SEED, QUICK, entropy=Broken())
    assert shamir.RANDOM_BYTES is secrets.token_bytes


def test_K01_ten_thousand_seeds_and_a_thousand_ceremonies_are_distinct() -> None:
    assert len({fresh_seed(SystemEntropy()).reveal() for _ in range(10_000)}) == 10_000
    scheme = Scheme(2, 2, iteration_exponent=0)
    made = {split(SEED, scheme, entropy=SystemEntropy())[0].reveal() for _ in range(100)}
    assert len(made) == 100


def test_K07_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with written_paths() as written:
        shares = split(SEED, QUICK, entropy=SystemEntropy(), passphrase=WORD)
        assert restore(shares[:3], WORD) == SEED
    assert written == []
    assert list(tmp_path.rglob("*")) == []
    with written_paths() as written:
        (tmp_path / "canary").write_bytes(SHARES[0].reveal())
    assert written == [str(tmp_path / "canary")], "a write would have been seen"


def test_no_refusal_shows_a_word() -> None:
    secret_words = {word for share in SHARES for word in words_of(share)[4:]}
    wrong = changed(SHARES[0], 7, "academic" if words_of(SHARES[0])[7] != "academic" else "acid")
    unknown = Secret(SHARES[0].reveal().replace(words_of(SHARES[0])[9].encode(), b"canary", 1))
    for given in ([wrong, *SHARES[1:3]], [unknown, *SHARES[1:3]], SHARES[:2], [SHARES[0]] * 3):
        with pytest.raises(Refused) as caught:
            restore(given)
        said = str(caught.value) + repr(caught.value)
        assert "canary" not in "".join(traceback.format_exception(caught.value))
        assert not secret_words & {*said.replace(":", " ").replace(",", " ").split()}
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
