"""What only a signer with a token does: keys that are made, kept, shared and found again."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from core.errors import Reason, Refused, Unavailable
from custody.keys.derivation import CURVE_ORDER
from custody.keys.signers.base import ED25519, KeyRef, check_made
from custody.keys.signers.pkcs11 import Pkcs11Signer, open_pkcs11_signer
from infra.devnet.softhsm import SoftHsm, softhsm
from tests.support.token_stories import DEPOSIT, HOT, digest, opened, prepared, signs
from tests.support.tokens import ROOT, process_token, tell
from tests.unit.custody.keys.networks import traits

CANARY = "canary-pin-0ddba11"


@pytest.fixture
def hsm() -> SoftHsm:
    return process_token()


@pytest.fixture
def signer(hsm: SoftHsm, tmp_path: Path) -> Iterator[Pkcs11Signer]:
    made = prepared(hsm, tmp_path)
    yield made
    made.close()


def refusal(call: Callable[..., object], *arguments: object, **named: object) -> Reason:
    with pytest.raises(Refused) as refused:
        call(*arguments, **named)
    return refused.value.reason


def test_ten_thousand_signatures_have_distinct_r_and_low_s(signer: Pkcs11Signer) -> None:
    """S06: a nonce of the token's that repeated would give the key away."""
    public_key, seen = signer.public_key(HOT), set()
    for start in range(0, 10_000, 500):
        jobs = [(HOT, digest(number)) for number in range(start, start + 500)]
        for (_, message), signature in zip(jobs, signer.sign_many(jobs), strict=True):
            assert int.from_bytes(signature[32:64], "big") <= CURVE_ORDER // 2
            check_made("secp256k1", signature, message, public_key)
            seen.add(signature[:32])
    assert len(seen) == 10_000


def test_a_batch_answers_in_its_order_and_a_bad_digest_refuses_it_whole(
    signer: Pkcs11Signer,
) -> None:
    jobs = [(KeyRef("deposits", number % 3), digest(number)) for number in range(20)]
    for (key, message), signature in zip(jobs, signer.sign_many(jobs), strict=True):
        check_made("secp256k1", signature, message, signer.public_key(key))
    assert refusal(signer.sign_many, [*jobs, (HOT, bytes(31))]) is Reason.MALFORMED
    assert refusal(signer.sign_many, [*jobs, (KeyRef("hot", 9), digest(0))]) is Reason.UNKNOWN_KEY
    assert signer.sign_many([]) == []


def test_a_key_that_was_not_made_is_unknown(signer: Pkcs11Signer) -> None:
    assert refusal(signer.public_key, KeyRef("deposits", 3)) is Reason.UNKNOWN_KEY
    assert refusal(signer.sign, KeyRef("cold", 0), digest(0)) is Reason.UNKNOWN_KEY


def test_keys_are_made_once(signer: Pkcs11Signer) -> None:
    before = [signer.public_key(KeyRef("deposits", number)) for number in range(3)]
    signer.make_keys("deposits", 0, 5)
    signer.make_keys("deposits", 2, 2)
    assert [signer.public_key(KeyRef("deposits", number)) for number in range(3)] == before
    signs(signer, key=KeyRef("deposits", 4))


def test_a_key_of_the_token_that_a_crash_kept_out_of_the_file_is_taken_up(
    hsm: SoftHsm, signer: Pkcs11Signer, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    again = prepared(hsm, other)
    assert again.public_key(HOT) == signer.public_key(HOT)
    assert again.public_key(DEPOSIT) != signer.public_key(DEPOSIT), "a wrapped one is in its file"
    again.close()


def test_keys_that_another_process_makes_are_found(
    hsm: SoftHsm, signer: Pkcs11Signer, tmp_path: Path
) -> None:
    assert refusal(signer.public_key, KeyRef("deposits", 7)) is Reason.UNKNOWN_KEY
    made = tell(make_more, hsm, tmp_path)
    assert signer.public_key(KeyRef("deposits", 7)).hex() == made
    signs(signer, key=KeyRef("deposits", 7))


def make_more(hsm: SoftHsm, folder: Path) -> str:
    """Make deposit key 7."""
    signer = opened(hsm, folder)
    signer.make_keys("deposits", 7, 1)
    return signer.public_key(KeyRef("deposits", 7)).hex()


def test_threads_that_make_the_same_keys_make_them_once(hsm: SoftHsm, tmp_path: Path) -> None:
    signers = [opened(hsm, tmp_path) for _ in range(3)]
    threads = [threading.Thread(target=one.make_keys, args=("deposits", 0, 9)) for one in signers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [KeyRef("deposits", number) for number in range(9)]
    assert len({tuple(one.public_key(key) for key in keys) for one in signers}) == 1
    for one in signers:
        one.close()


def test_test_and_main_networks_share_no_key(hsm: SoftHsm, tmp_path: Path) -> None:
    test = prepared(hsm, tmp_path)
    place: dict[str, Any] = {"module": hsm.module, "label": hsm.label, "pin_file": hsm.pin_file}
    main = open_pkcs11_signer(traits(is_main_network=True), **place, folder=tmp_path)
    main.make_keys("hot", 0, 1)
    assert main.public_key(HOT) != test.public_key(HOT)
    assert main.network_allowed(traits(is_main_network=True))
    assert not main.network_allowed(traits())
    assert not test.network_allowed(traits(is_main_network=True))
    for signer in (test, main):
        signer.close()


def test_one_signer_that_closes_leaves_the_others_logged_in(hsm: SoftHsm, tmp_path: Path) -> None:
    first, second = prepared(hsm, tmp_path), prepared(hsm, tmp_path, curve=ED25519)
    first.close()
    signs(second)
    second.close()
    with pytest.raises(Unavailable):
        second.sign(HOT, digest(0))
    third = opened(hsm, tmp_path)
    signs(third)
    third.close()


@pytest.mark.parametrize("bound", [0, 1, 4])
def test_no_more_keys_lie_unwrapped_than_were_asked_for(
    hsm: SoftHsm, tmp_path: Path, bound: int
) -> None:
    signer = prepared(hsm, tmp_path, unwrapped_max=bound)
    signer.make_keys("deposits", 0, 8)
    for number in (*range(8), 7, 6):
        signs(signer, key=KeyRef("deposits", number))
    lanes = signer._token.run(lambda lane: (dict(lane.unwrapped), _session_keys(lane.session)))
    assert [len(part) for part in lanes] == [bound, bound]
    signer.close()


def _session_keys(session: Any) -> list[Any]:
    import pkcs11

    a = pkcs11.Attribute
    return list(session.get_objects({a.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, a.TOKEN: False}))


def test_a_disk_that_fails_is_unavailable_and_no_key_counts_that_is_not_durable(
    signer: Pkcs11Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = tmp_path.glob("*.keys")
    before = path.read_bytes()

    def fail(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(Unavailable, match="Input/output error"):
            signer.make_keys("deposits", 5, 1)
    assert path.read_bytes() == before
    assert refusal(signer.public_key, KeyRef("deposits", 5)) is Reason.UNKNOWN_KEY
    signer.make_keys("deposits", 5, 1)
    signs(signer, key=KeyRef("deposits", 5))


def test_the_file_of_keys_is_its_owners(signer: Pkcs11Signer, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("*.keys")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("what", "value", "words"),
    [
        ("module", Path("/nowhere/lib.so"), "there is no PKCS#11 library"),
        ("module", Path(__file__), "no PKCS#11 library that loads here"),
        ("label", "no-such-token", "0 tokens are labelled 'no-such-token'"),
        ("pin_file", Path("/nowhere/pin"), "is open with /"),
    ],
)
def test_what_is_not_there_is_unavailable_and_named(
    hsm: SoftHsm, signer: Pkcs11Signer, tmp_path: Path, what: str, value: object, words: str
) -> None:
    place: dict[str, Any] = {"module": hsm.module, "label": hsm.label, "pin_file": hsm.pin_file}
    with pytest.raises(Unavailable, match=words):
        open_pkcs11_signer(traits(), **(place | {what: value}), folder=tmp_path)


def test_two_tokens_of_one_label_are_not_chosen_between(tmp_path: Path) -> None:
    with softhsm("twin") as hsm:
        hsm.add_token("twin")
        assert tell(open_it, hsm, tmp_path).startswith("Unavailable: 2 tokens are labelled 'twin'")


def open_it(hsm: SoftHsm, folder: Path) -> str:
    """Say what opening says."""
    from tests.support.token_stories import outcome

    return outcome(lambda: prepared(hsm, folder).close())


def test_a_pin_that_others_can_read_is_refused_and_a_missing_one_named(tmp_path: Path) -> None:
    with softhsm() as hsm:
        hsm.pin_file.chmod(0o640)
        assert tell(open_it, hsm, tmp_path).startswith("Refused forbidden")
        hsm.pin_file.unlink()
        assert tell(open_it, hsm, tmp_path) == f"Unavailable: {hsm.pin_file} cannot be opened"


@pytest.mark.parametrize("curve", ["bls12-381", "bip340"])
def test_a_curve_that_tokens_are_not_asked_for_is_refused(
    hsm: SoftHsm, tmp_path: Path, curve: str
) -> None:
    """Taproot keys too: a token signs with the key it holds, and with no tweak of it."""
    place: dict[str, Any] = {"module": hsm.module, "label": hsm.label, "pin_file": hsm.pin_file}
    other = traits(curve=curve)
    assert refusal(open_pkcs11_signer, other, **place, folder=tmp_path) is Reason.UNKNOWN_CHAIN


def test_a_pin_stands_in_no_error_and_no_frame_of_it(tmp_path: Path) -> None:
    """K06: also not in what a traceback with variables would print."""
    with softhsm() as hsm:
        assert tell(leaks, hsm, tmp_path) == []


def leaks(hsm: SoftHsm, folder: Path) -> list[str]:
    """Open with a wrong PIN; name the frames of the error that have it in a variable."""
    hsm.pin_file.write_text(CANARY)
    with pytest.raises(Refused) as refused:
        opened(hsm, folder)
    found = []
    chain: BaseException | None = refused.value
    while chain is not None:
        found += [repr(chain)] if CANARY in repr(chain) else []
        trace = chain.__traceback__
        while trace is not None:
            found += _shown(trace.tb_frame)
            trace = trace.tb_next
        chain = chain.__cause__ or chain.__context__
    assert refused.value.reason is Reason.WRONG_PIN
    return found


def _shown(frame: FrameType) -> list[str]:
    if frame.f_code.co_name == "leaks":
        return []
    return [
        f"{frame.f_code.co_qualname}: {name}"
        for name, value in frame.f_locals.items()
        if CANARY in repr(value)
    ]


def _python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_binding_is_loaded_when_a_token_is_and_missed_by_name(tmp_path: Path) -> None:
    program = "import sys, custody.keys.signers; print('pkcs11' in sys.modules)"
    assert _python(program).stdout == "False\n"
    program = (
        "import sys; sys.modules['pkcs11'] = None\n"
        "from pathlib import Path\n"
        "from core.errors import Unavailable\n"
        "from infra.devnet.softhsm import softhsm_module\n"
        "from custody.keys.signers import open_pkcs11_signer\n"
        "from tests.unit.custody.keys.networks import traits\n"
        "folder = Path(sys.argv[0] or '.')\n"
        "try:\n"
        "    open_pkcs11_signer(traits(), module=softhsm_module(), label='x',\n"
        "                       pin_file=Path('Makefile'), folder=folder)\n"
        "except Unavailable as error:\n"
        "    print(error)\n"
    )
    assert "install strongroom with its extra 'hsm'" in _python(program).stdout


def test_a_function_table_in_read_only_pages_is_corrected_as_well(tmp_path: Path) -> None:
    with softhsm() as hsm:
        assert tell(with_a_read_only_table, hsm, tmp_path) == "done"


def with_a_read_only_table(hsm: SoftHsm, folder: Path) -> str:
    """Make the page with the library's function table read-only, as a loader may."""
    import ctypes
    import mmap

    library = ctypes.CDLL(str(hsm.module))
    table = ctypes.c_void_p()
    assert library.C_GetFunctionList(ctypes.byref(table)) == 0
    page = (table.value or 0) & -mmap.PAGESIZE
    libc = ctypes.CDLL(None)
    assert libc.mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, mmap.PROT_READ) == 0
    return open_it(hsm, folder)
