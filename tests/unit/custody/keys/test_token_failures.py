"""S02: whatever a token answers, or does not, ends in a clear error or in one signature."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.devnet.softhsm import SoftHsm, softhsm
from tests.support import token_faults as codes
from tests.support import token_stories as stories
from tests.support.tokens import ROOT, tell

HANG_MS = 1_500
LOST = {
    "session-handle-invalid": codes.CKR_SESSION_HANDLE_INVALID,
    "session-closed": codes.CKR_SESSION_CLOSED,
    "device-removed": codes.CKR_DEVICE_REMOVED,
    "device-error": codes.CKR_DEVICE_ERROR,
    "general-error": codes.CKR_GENERAL_ERROR,
    "token-not-present": codes.CKR_TOKEN_NOT_PRESENT,
    "object-handle-invalid": codes.CKR_OBJECT_HANDLE_INVALID,
    "user-not-logged-in": codes.CKR_USER_NOT_LOGGED_IN,
    "library-ended-by-others": codes.CKR_CRYPTOKI_NOT_INITIALIZED,
    "a-vendors-own": codes.CKR_VENDOR_DEFINED,
}


@pytest.fixture
def hsm() -> Iterator[SoftHsm]:
    with softhsm() as made:
        yield made


def test_a_sound_token_is_asked_once_and_logged_in_to_once(hsm: SoftHsm, tmp_path: Path) -> None:
    (told,) = tell(stories.answers_of_sign, hsm, tmp_path, "0", "0")
    assert (told["first"], told["asked"], told["made"]) == ("done", 1, 1)
    assert (told["logins"], told["at_once"], told["healed"]) == (0, "done", "done")


def test_a_lost_token_is_opened_again_and_asked_once_more(hsm: SoftHsm, tmp_path: Path) -> None:
    every = tell(stories.answers_of_sign, hsm, tmp_path, "1", *map(str, LOST.values()))
    for name, told in zip(LOST, every, strict=True):
        assert (told["first"], told["asked"], told["made"]) == ("done", 2, 1), name
        assert told["logins"] == 1, name


def test_a_token_that_stays_lost_is_unavailable_and_left_alone_until_it_is_back(
    hsm: SoftHsm, tmp_path: Path
) -> None:
    every = tell(stories.answers_of_sign, hsm, tmp_path, "99", *map(str, LOST.values()))
    for name, told in zip(LOST, every, strict=True):
        assert told["first"].startswith("Unavailable: the token was lost twice"), name
        assert (told["asked"], told["made"]) == (2, 0), name
        assert told["at_once"].startswith("Unavailable"), name
        assert told["asked_at_once"] == 0, f"the breaker asks after {name}"
        assert told["healed"] == "done", name


def test_an_answer_that_asking_again_cannot_mend_is_not_asked_for_again(
    hsm: SoftHsm, tmp_path: Path
) -> None:
    (told,) = tell(
        stories.answers_of_sign, hsm, tmp_path, "1", str(codes.CKR_FUNCTION_NOT_SUPPORTED)
    )
    assert told["first"] == "Unavailable: the token refuses: FunctionNotSupported"
    assert (told["asked"], told["at_once"]) == (1, "done")


def test_a_batch_is_signed_as_a_whole_or_not_at_all(hsm: SoftHsm, tmp_path: Path) -> None:
    told = tell(stories.a_batch_that_breaks, hsm, tmp_path, str(codes.CKR_DEVICE_REMOVED))
    assert told["batch"].startswith("Unavailable")


def test_a_signature_that_came_back_is_never_made_again(hsm: SoftHsm, tmp_path: Path) -> None:
    code = str(codes.CKR_SESSION_HANDLE_INVALID)
    told = tell(stories.a_key_that_cannot_be_put_away, hsm, tmp_path, code)
    assert told == {"first": "done", "made": 1, "healed": "done"}


@pytest.mark.parametrize("curve", ["secp256k1", "ed25519"])
def test_a_damaged_signature_never_leaves(hsm: SoftHsm, tmp_path: Path, curve: str) -> None:
    told = tell(stories.a_damaged_answer, hsm, tmp_path, curve)
    assert told["first"].startswith("Corrupt: the ")
    assert (told["made"], told["control"]) == (1, "done")


@pytest.mark.parametrize("name", ["C_Sign", "C_SignInit", "C_Login", "C_Finalize"])
def test_a_call_that_hangs_is_an_answer_within_the_callers_patience(
    hsm: SoftHsm, tmp_path: Path, name: str
) -> None:
    told = tell(stories.a_call_that_hangs, hsm, tmp_path, name, str(HANG_MS))
    assert told["first"] == "Unavailable: the token does not answer"
    assert stories.PATIENCE_MS <= told["first_ms"] < HANG_MS
    assert told["second"] == "Unavailable: the token has not answered an earlier call"
    assert told["second_ms"] < stories.PATIENCE_MS
    assert told["after"] == "done"


def test_a_call_that_is_merely_slow_is_waited_for(hsm: SoftHsm, tmp_path: Path) -> None:
    told = tell(stories.a_call_that_hangs, hsm, tmp_path, "C_Sign", "50")
    assert (told["first"], told["second"], told["after"]) == ("done", "done", "done")


def test_both_sides_of_a_fork_sign(hsm: SoftHsm, tmp_path: Path) -> None:
    told = tell(stories.a_fork, hsm, tmp_path)
    assert (told["before"], told["after"], told["load"]) == ("done", "done", ["done"])
    assert told["children"] == ["done"] * 5


def test_a_library_that_a_fork_carries_over_is_not_used_in_the_child(tmp_path: Path) -> None:
    """Its locks may be held by threads that the child does not have."""
    with softhsm(resets_on_fork=False) as hsm:
        told = tell(stories.a_fork, hsm, tmp_path)
    assert (told["before"], told["after"], told["load"]) == ("done", "done", ["done"])
    for words in told["children"]:
        assert words.startswith("Unavailable: the token's library "), words
        assert "done" not in words


def test_a_wrong_pin_is_sent_once_however_often_one_starts(hsm: SoftHsm, tmp_path: Path) -> None:
    right = hsm.pin_file.read_text()
    hsm.pin_file.write_text("not-the-pin")
    first = tell(stories.a_wrong_pin, hsm, tmp_path)
    assert {words.split(":")[0] for words in first["opened"]} == {"Refused wrong_pin"}
    assert (first["logins"], first["mended"]) == (1, "done")
    hsm.pin_file.write_text("not-the-pin")
    starts = [tell(stories.a_wrong_pin_at_start, hsm, tmp_path) for _ in range(3)]
    assert [start["logins"] for start in starts] == [1, 0, 0]
    assert {start["opened"].split(":")[0] for start in starts} == {"Refused wrong_pin"}
    hsm.pin_file.write_text(right)
    assert tell(stories.a_wrong_pin_at_start, hsm, tmp_path) == {"opened": "done", "logins": 1}


def test_a_pin_that_is_wrong_when_opening_again_is_sent_once(hsm: SoftHsm, tmp_path: Path) -> None:
    told = tell(stories.a_pin_that_changes, hsm, tmp_path)
    assert {words.split(":")[0] for words in told["signed"]} == {"Refused wrong_pin"}
    assert told["logins"] == 1


@pytest.mark.parametrize("flag", [stories.FINAL_TRY, stories.LOCKED])
def test_the_last_try_of_a_pin_is_left_to_a_person(hsm: SoftHsm, tmp_path: Path, flag: int) -> None:
    told = tell(stories.a_token_that_warns, hsm, tmp_path, str(flag))
    assert told["opened"].startswith("Refused wrong_pin")
    assert told["logins"] == 0


@pytest.mark.parametrize("when", ["open", "closed", "refilled"])
def test_a_token_without_the_signers_keys_is_corrupt_and_stays_so(
    hsm: SoftHsm, tmp_path: Path, when: str
) -> None:
    told = tell(stories.another_token, hsm, tmp_path, when)
    assert told["before"] == "done"
    assert {words.split(":")[0] for words in told["after"]} == {"Corrupt"}, told


def test_a_batch_of_keys_that_a_crash_cut_off_is_made_anew(hsm: SoftHsm, tmp_path: Path) -> None:
    told = tell(stories.keys_after_a_crash, hsm, tmp_path, "torn")
    assert told == {"opened": "done", "kept": True, "signs": "done", "reread": "done"}


@pytest.mark.parametrize("how", ["flipped", "swapped"])
def test_a_file_of_keys_that_the_token_does_not_vouch_for_is_corrupt(
    hsm: SoftHsm, tmp_path: Path, how: str
) -> None:
    assert tell(stories.keys_after_a_crash, hsm, tmp_path, how)["opened"].startswith("Corrupt")


@pytest.mark.parametrize("curve", ["secp256k1", "ed25519"])
def test_a_token_that_is_pulled_out_under_load_loses_and_doubles_nothing(
    hsm: SoftHsm, tmp_path: Path, curve: str
) -> None:
    told = tell(stories.a_plug_that_is_pulled, hsm, tmp_path, curve)
    assert (told["lost"], told["counts"]) == ([], [1])
    assert max(told["away"]) <= stories.PULLERS, "it was pulled while there was work"
    assert all(words.startswith("Unavailable") for words in told["words"]), told["words"]
    assert told["words"]


def test_a_process_that_ends_in_the_middle_of_signing_ends_cleanly(
    hsm: SoftHsm, tmp_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from infra.devnet.softhsm import SoftHsm;"
        "from tests.support.token_stories import an_end_without_closing;"
        "an_end_without_closing(SoftHsm(Path(sys.argv[1]), sys.argv[2]), Path(sys.argv[3]))"
    )
    for _ in range(3):
        words = [sys.executable, "-c", program, str(hsm.folder), hsm.label, str(tmp_path)]
        done = subprocess.run(
            words, env=hsm.environment, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
