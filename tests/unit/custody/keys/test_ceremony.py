"""The ceremony: what persons see, what is verified, and that nothing is left when it breaks off."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from bip_utils import Bip32Slip10Secp256k1  # type: ignore[import-untyped]

from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused
from custody.keys.ceremony import Ceremony, Stage, mixed_with_dice
from custody.keys.homes import KeystoreHome
from custody.keys.key_facts import Network, differences, public_keys
from custody.keys.secret import Secret
from custody.keys.share_delivery import InFiles, read_share_file
from custody.keys.shares import Scheme, restore
from custody.keys.signers.base import ACCOUNTS
from custody.keys.signers.keystore import CHEAP, fresh_seed
from custody.keys.transcript import NO_XPUB, render, verify
from tests.support.writes import written_paths
from tests.unit.custody.keys.networks import traits
from tests.unit.custody.keys.people import (
    ADA,
    HOLDERS,
    NETWORKS,
    ORDER,
    MemoryHome,
    People,
    ceremony,
)

DICE = "123456" * 17


def refused(held: Ceremony) -> Reason:
    with pytest.raises(Refused) as caught:
        held.hold()
    return caught.value.reason


def test_K07_a_ceremony_ends_with_a_transcript_that_both_roles_signed() -> None:
    people, home = People(), MemoryHome()
    outcome = ceremony(people, home).hold()
    signed = verify(render(outcome.transcript))
    body = signed.transcript
    assert (body.presiding, body.witness, body.holders) == ("ada", "ben", HOLDERS)
    assert body.verified == "10 of 10 sets of 3 shares restored the addresses below"
    assert len(body.accounts) == len(NETWORKS) * len(ACCOUNTS)
    assert {len(one.addresses) for one in body.accounts} == {3}
    by_chain = {str(one.chain): one.xpub_sha256 for one in body.accounts}
    assert by_chain["edwards"] == NO_XPUB
    assert len(by_chain["local"]) == 64
    assert home.seed is not None
    found = public_keys(home.open, NETWORKS)
    assert differences(body.accounts, found.accounts) == []
    assert outcome.keys.xpubs == found.xpubs


def test_every_holder_sees_one_share_and_nobody_else_does() -> None:
    people = People()
    ceremony(people).hold()
    assert [page.split(" ")[3] for page in people.pages] == [f"{who}:" for who in HOLDERS]
    shares = [set(page.split("\n", 1)[1].split()) for page in people.pages]
    hidden = {word for page in shares for word in page if word.isalpha()}
    hidden -= {"academic"}
    assert len(hidden) > 60
    assert not hidden & set(people.seen_by_all.replace(",", " ").split())


def test_K07_nothing_is_written_and_no_secret_stays_in_the_transcript() -> None:
    people, home = People(), MemoryHome()
    with written_paths() as written:
        outcome = ceremony(people, home).hold()
    assert written == []
    text = render(outcome.transcript).decode()
    assert home.seed is not None
    assert home.seed.reveal().hex() not in text
    words = {word for page in people.pages for word in page.split("\n", 1)[1].split()}
    assert not {word for word in words if len(word) > 3} & set(text.split())


def test_K01_the_seed_is_the_operating_systems_bytes_xor_the_dice() -> None:
    plain, mixed = MemoryHome(), MemoryHome()
    ceremony(People(), plain).hold()
    ceremony(People(answers=[DICE]), mixed, order=replace(ORDER, with_dice=True)).hold()
    expected = fresh_seed(SeededEntropy(7, "ceremony"))
    assert plain.seed == expected
    assert mixed.seed == mixed_with_dice(expected, Secret(DICE.encode()))
    assert mixed.seed != plain.seed
    back = mixed_with_dice(mixed.seed, Secret(f"  {DICE}\n".encode()))
    assert back == expected


def test_K03_what_leaves_a_ceremony_holds_no_private_key_of_any_depth() -> None:
    """Not the account's, not a child's: an xpub beside one of those would fall the account."""
    people, home = People(), MemoryHome()
    outcome = ceremony(people, home).hold()
    assert home.seed is not None
    text = render(outcome.transcript).decode() + outcome.keys.as_toml() + people.seen_by_all
    root = Bip32Slip10Secp256k1.FromSeed(home.seed.reveal())
    assert outcome.keys.xpubs[0][2] == root.DerivePath("m/44'/1'/0'").PublicKey().ToExtended()
    for account in ACCOUNTS.values():
        for tail in ("", "/0", "/0/0", "/0/1", "/0/2"):
            key = root.DerivePath(f"m/44'/1'/{account}'{tail}").PrivateKey()
            assert key.ToExtended() not in text
            assert bytes(key.Raw().ToBytes()).hex() not in text


@pytest.mark.parametrize(
    "throws", ["", "123456" * 16, "1" * 200, "12345" * 40, DICE + "7", DICE + "x", "0" + DICE]
)
def test_dice_that_are_few_or_loaded_are_refused(throws: str) -> None:
    held = ceremony(People(answers=[throws]), order=replace(ORDER, with_dice=True))
    assert refused(held) is Reason.WEAK_KEY


def test_a_holder_who_misreads_tries_again_and_the_screen_says_where() -> None:
    tries = iter(["first", "second", "third"])

    def habit(title: str, words: list[str]) -> str:
        attempt = next(tries, "") if title.startswith("di") else ""
        if attempt == "first":
            words[6], words[8] = words[8], words[6]
        if attempt == "second":
            words[20] = "canary"
        if attempt == "third":
            return "\n"
        return " ".join(word[:4] for word in words)

    people = People(habit=habit)
    ceremony(people).hold()
    assert "  not as shown: word 7, 9; 4 tries are left" in people.said
    assert "  word 21 is not on the list; 3 tries are left" in people.said
    assert len(people.pages) == 6, "an empty line shows the share again"
    assert "canary" not in people.seen_by_all


def test_a_holder_who_never_reads_back_ends_the_ceremony_and_no_seed_is_stored() -> None:
    home = MemoryHome()
    people = People(habit=lambda title, words: " ".join(words[: 30 if "gus" in title else 33]))
    held = ceremony(people, home)
    assert refused(held) is Reason.BAD_SHARE
    assert home.seed is None
    assert_destroyed(held)


@pytest.mark.parametrize("question", ["everybody here", "Does ed sit", "what you saw"])
def test_a_no_ends_it_and_the_working_copy_is_overwritten(question: str) -> None:
    people = People()
    people.no_to = question
    held = ceremony(people)
    assert refused(held) is Reason.REJECTED_BY_OFFICER
    assert_destroyed(held)


def assert_destroyed(held: Ceremony) -> None:
    assert bytes(held._seed) == bytes(32)
    assert "seed" not in repr(held)


def test_a_ceremony_is_held_once() -> None:
    held = ceremony(People())
    held.hold()
    assert held.stage is Stage.SIGNED
    assert_destroyed(held)
    with pytest.raises(Corrupt, match="does not go from SIGNED to PREPARED"):
        held.hold()


def test_a_home_that_gives_other_keys_back_is_found() -> None:
    home = MemoryHome()
    home.returns = Secret(bytes(32))
    held = ceremony(People(), home)
    with pytest.raises(Corrupt, match="gives other keys: local deposits, local hot"):
        held.hold()
    assert_destroyed(held)


def test_the_passphrase_is_verified_by_addresses_as_its_keeper_wrote_it() -> None:
    order = replace(ORDER, with_passphrase=True)
    good, wrong = "correct horse", "correct hors"
    home = MemoryHome()
    people = People(answers=[good, good, wrong, good])
    outcome = ceremony(people, home, order=order).hold()
    assert "restore other addresses" in people.seen_by_all
    assert outcome.transcript.transcript.shares.endswith("with a passphrase")
    assert good not in people.seen_by_all
    never = ceremony(People(answers=[good, good, wrong, wrong, wrong]), order=order)
    assert refused(never) is Reason.WRONG_PASSPHRASE
    for first, second in (("short", "short"), (good, wrong)):
        held = ceremony(People(answers=[first, second]), order=order)
        assert refused(held) is Reason.WRONG_PASSPHRASE


def test_one_person_or_one_key_in_two_roles_is_refused() -> None:
    assert refused(ceremony(People(), order=replace(ORDER, witness="ada"))) is (
        Reason.QUORUM_NOT_MET
    )
    assert refused(ceremony(People(), officers=(ADA, ADA))) is Reason.QUORUM_NOT_MET
    twice = replace(ORDER, holders=("cy", "cy", "ed", "fay", "gus"))
    assert refused(ceremony(People(), order=twice)) is Reason.QUORUM_NOT_MET
    few = replace(ORDER, holders=("cy", "di", "ed"))
    assert refused(ceremony(People(), order=few)) is Reason.MALFORMED
    nowhere = replace(ORDER, networks=())
    assert refused(ceremony(People(), order=nowhere)) is Reason.UNKNOWN_CHAIN
    for name in ("", "a b", "ada\n", "a" * 65, "../x", "é"):
        assert refused(ceremony(People(), order=replace(ORDER, witness=name))) is Reason.MALFORMED


def test_a_keystore_is_no_home_for_a_main_network(tmp_path: Path) -> None:
    home = KeystoreHome(tmp_path / "ks", Secret(b"long enough"), entropy=SeededEntropy(1))
    main = Network(traits(is_main_network=True), lambda key: key.hex())
    held = ceremony(People(), home, order=replace(ORDER, networks=(main,)))
    assert refused(held) is Reason.MAIN_NETWORK
    assert list(tmp_path.iterdir()) == []
    order = replace(ORDER, networks=(main,))
    held = ceremony(People(), MemoryHome(main_networks=True), order=order)
    assert held.hold().transcript.transcript.accounts[0].network == main.traits.network


def test_a_keystore_opens_with_the_keys_of_the_transcript(tmp_path: Path) -> None:
    path, passphrase = tmp_path / "ks", Secret(b"long enough")
    home = KeystoreHome(path, passphrase, entropy=SeededEntropy(1), cost=CHEAP)
    outcome = ceremony(People(), home).hold()
    assert differences(outcome.keys.accounts, public_keys(home.open, NETWORKS).accounts) == []
    with pytest.raises(Refused) as caught:
        KeystoreHome(path, passphrase, entropy=SeededEntropy(1), cost=CHEAP)
    assert caught.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT


def test_shares_in_files_are_private_and_restore_the_seed(tmp_path: Path) -> None:
    folder = tmp_path / "shares"
    people, home = People(), MemoryHome()
    outcome = ceremony(people, home, delivery=InFiles(folder, people)).hold()
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [
        f"share-{n}-{who}.txt" for n, who in enumerate(HOLDERS, 1)
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert restore([read_share_file(path) for path in files[2:]]) == home.seed
    assert people.pages == []
    assert "no holder typed a share back" in outcome.transcript.transcript.delivered
    assert refused(ceremony(people, delivery=InFiles(folder, people))) is (
        Reason.EXISTS_WITH_OTHER_CONTENT
    )
    files[0].chmod(0o644)
    with pytest.raises(Refused) as caught:
        read_share_file(files[0])
    assert caught.value.reason is Reason.FORBIDDEN


def test_other_numbers_of_shares_are_verified_in_every_set() -> None:
    order = replace(ORDER, scheme=Scheme(2, 3, iteration_exponent=0), holders=HOLDERS[:3])
    outcome = ceremony(People(), order=order).hold()
    assert outcome.transcript.transcript.verified.startswith("3 of 3 sets of 2 shares")


def test_facts_tell_two_seeds_apart_in_every_account() -> None:
    homes = (MemoryHome(), MemoryHome())
    for number, home in enumerate(homes):
        home.store(Secret(bytes([number]) * 32))
    one, two = (public_keys(home.open, NETWORKS).accounts for home in homes)
    assert differences(one, one) == []
    assert len(differences(one, two)) == len(one) == 8
    assert differences(one, one[:-1]) == ["edwards cold"]
    assert differences(one[:-1], one) == ["edwards cold"]
