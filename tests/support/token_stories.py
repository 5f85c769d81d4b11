"""What happens to a signer when its token fails, told in a process of its own.

Each story gets the token, the signer's folder and words, and returns what the test looks at; see
tests.support.tokens.tell.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import Corrupt, Refused, StrongroomError, Unavailable
from custody.keys.signers.base import KeyRef, Signer, check_made
from custody.keys.signers.pkcs11 import Pkcs11Signer, open_pkcs11_signer
from infra.devnet.softhsm import PIN, SoftHsm
from tests.support.token_faults import Fault, FaultyLibrary
from tests.support.tokens import tell
from tests.unit.custody.keys.networks import traits

HOT = KeyRef("hot", 0)
DEPOSIT = KeyRef("deposits", 0)
PATIENCE_MS = 400
PULLERS = 8
"""Threads that sign while the token is pulled out: what each had under way may still arrive."""
REST_S = 0.25
"""A little longer than the first rest after a failure."""
FINAL_TRY = 0x20000
LOCKED = 0x40000
_FLAGS_AT = 96
"""Where CK_TOKEN_INFO has its flags."""


def digest(number: int) -> bytes:
    """Return the number-th digest."""
    return hashlib.sha256(number.to_bytes(4, "big")).digest()


def opened(hsm: SoftHsm, folder: Path, **options: Any) -> Pkcs11Signer:
    """Open the signer of the test network."""
    network = traits(curve=options.pop("curve", "secp256k1"))
    return open_pkcs11_signer(
        network, module=hsm.module, label=hsm.label, pin_file=hsm.pin_file, folder=folder, **options
    )


def prepared(hsm: SoftHsm, folder: Path, **options: Any) -> Pkcs11Signer:
    """Open the signer and make a hot and three deposit keys."""
    signer = opened(hsm, folder, **options)
    signer.make_keys("hot", 0, 1)
    signer.make_keys("deposits", 0, 3)
    return signer


def outcome(call: Callable[[], object]) -> str:
    """Return `done`, or the kind of error with its reason and words."""
    try:
        call()
    except (Unavailable, Corrupt) as error:
        return f"{type(error).__name__}: {error}"
    except Refused as error:
        return f"Refused {error.reason.value}: {error.detail}"
    return "done"


def signs(signer: Signer, number: int = 0, key: KeyRef = HOT) -> bytes:
    """Sign and check what came."""
    signature = signer.sign(key, digest(number))
    check_made(signer.curve, signature, digest(number), signer.public_key(key))
    return signature


def answers_of_sign(hsm: SoftHsm, folder: Path, times: str, *codes: str) -> list[dict[str, Any]]:
    """C_Sign answers a code so many times; then the world is healed. The same with each code."""
    library = FaultyLibrary(hsm.module)
    signer = prepared(hsm, folder)
    return [_an_answer_of_sign(library, signer, int(code), int(times)) for code in codes]


def _an_answer_of_sign(
    library: FaultyLibrary, signer: Pkcs11Signer, code: int, times: int
) -> dict[str, Any]:
    library.calls.clear()
    library.signatures.clear()
    library.set("C_Sign", Fault(answer=code, times=times))
    told: dict[str, Any] = {"first": outcome(lambda: signs(signer))}
    told |= {"asked": library.calls["C_Sign"], "made": len(library.signatures)}
    told["logins"] = library.calls["C_Login"]
    library.calls.clear()
    told["at_once"] = outcome(lambda: signs(signer))
    told["asked_at_once"] = library.calls["C_Sign"]
    library.heal()
    time.sleep(REST_S)
    told["healed"] = outcome(lambda: signs(signer))
    return told


def a_batch_that_breaks(hsm: SoftHsm, folder: Path, code: str) -> dict[str, Any]:
    """The third of five signatures is never made."""
    library = FaultyLibrary(hsm.module)
    signer = prepared(hsm, folder)
    library.calls.clear()
    library.set("C_Sign", Fault(answer=int(code), skip=2, times=99))
    told = {"batch": outcome(lambda: signer.sign_many([(HOT, digest(n)) for n in range(5)]))}
    library.heal()
    time.sleep(REST_S)
    made = signer.sign_many([(HOT, digest(n)) for n in range(5)])
    for number, signature in enumerate(made):
        check_made("secp256k1", signature, digest(number), signer.public_key(HOT))
    return told


def a_key_that_cannot_be_put_away(hsm: SoftHsm, folder: Path, code: str) -> dict[str, Any]:
    """The token is lost between a deposit key's signature and the end of its handle."""
    library = FaultyLibrary(hsm.module)
    signer = prepared(hsm, folder, unwrapped_max=0)
    library.signatures.clear()
    library.set("C_DestroyObject", Fault(answer=int(code), times=99))
    told = {"first": outcome(lambda: signs(signer, key=DEPOSIT)), "made": len(library.signatures)}
    library.heal()
    told["healed"] = outcome(lambda: signs(signer, key=DEPOSIT))
    return told


def a_damaged_answer(hsm: SoftHsm, folder: Path, curve: str) -> dict[str, Any]:
    """The signature that comes back is not the one that was made."""
    library = FaultyLibrary(hsm.module)
    signer = prepared(hsm, folder, curve=curve)
    library.signatures.clear()

    def damage(answer: int, arguments: tuple[int, ...]) -> int:
        ctypes.c_ubyte.from_address(arguments[3] + 40).value ^= 1
        return answer

    library.set("C_Sign", Fault(after=damage))
    told = {"first": outcome(lambda: signs(signer)), "made": len(library.signatures)}
    told["control"] = outcome(lambda: signs(signer))
    return told


def a_call_that_hangs(hsm: SoftHsm, folder: Path, name: str, wait_ms: str) -> dict[str, Any]:
    """A function of the library does not come back for a while."""
    library = FaultyLibrary(hsm.module)
    signer = prepared(hsm, folder, patience_ms=PATIENCE_MS)
    library.signatures.clear()
    library.set(name, Fault(wait_s=int(wait_ms) / 1_000))
    if name in ("C_Login", "C_Finalize"):
        library.set("C_SignInit", Fault(answer=0xB3))  # so that it is opened again
    told: dict[str, Any] = {}
    for word in ("first", "second"):
        began = time.monotonic()
        told[word] = outcome(lambda: signs(signer))
        told[f"{word}_ms"] = round((time.monotonic() - began) * 1_000)
    time.sleep(int(wait_ms) / 1_000)
    told["after"] = outcome(lambda: signs(signer))
    return told


def a_fork(hsm: SoftHsm, folder: Path) -> dict[str, Any]:
    """A process forks after it has signed, while its threads sign; both sides go on signing."""
    signer = prepared(hsm, folder)
    told: dict[str, Any] = {"before": outcome(lambda: signs(signer))}
    stop = threading.Event()
    errors: list[str] = []

    def load() -> None:
        while not stop.is_set():
            errors.append(outcome(lambda: signs(signer)))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    told["children"] = [_in_a_child(lambda: _sign_in_child(signer)) for _ in range(5)]
    stop.set()
    for thread in threads:
        thread.join()
    told["load"] = sorted(set(errors))
    told["after"] = outcome(lambda: signs(signer))
    return told


def _sign_in_child(signer: Pkcs11Signer) -> str:
    jobs = [(number, key) for number in range(3) for key in (HOT, DEPOSIT)]
    words = {outcome(functools.partial(signs, signer, *job)) for job in jobs}
    return " ".join(sorted(words))


def _in_a_child(call: Callable[[], str]) -> str:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, call().encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        said = stream.read().decode()
    os.waitpid(child, 0)
    return said


def a_wrong_pin(hsm: SoftHsm, folder: Path) -> dict[str, Any]:
    """The PIN file holds another PIN: how often the token is asked."""
    library = FaultyLibrary(hsm.module)
    told: dict[str, Any] = {"opened": [outcome(lambda: opened(hsm, folder)) for _ in range(5)]}
    told["logins"] = library.calls["C_Login"]
    hsm.pin_file.write_text(PIN)
    told["mended"] = outcome(lambda: prepared(hsm, folder).check())
    return told


def a_pin_that_changes(hsm: SoftHsm, folder: Path) -> dict[str, Any]:
    """The token is lost, and the PIN file is wrong when it has to be opened again."""
    library = FaultyLibrary(hsm.module)
    signer = prepared(hsm, folder)
    library.calls.clear()
    hsm.pin_file.write_text("another-pin")
    library.set("C_Sign", Fault(answer=0xB3))
    told: dict[str, Any] = {"signed": [outcome(lambda: signs(signer)) for _ in range(5)]}
    told["logins"] = library.calls["C_Login"]
    return told


def a_token_that_warns(hsm: SoftHsm, folder: Path, flags: str) -> dict[str, Any]:
    """The token says of its PIN that it is locked, or that one try is left."""
    library = FaultyLibrary(hsm.module)

    def warn(answer: int, arguments: tuple[int, ...]) -> int:
        place = ctypes.c_ulong.from_address(arguments[1] + _FLAGS_AT)
        place.value |= int(flags)
        return answer

    library.set("C_GetTokenInfo", Fault(times=999, after=warn))
    told: dict[str, Any] = {"opened": outcome(lambda: opened(hsm, folder))}
    told["logins"] = library.calls["C_Login"]
    return told


def another_token(hsm: SoftHsm, folder: Path, when: str) -> dict[str, Any]:
    """Somebody makes the token blank, under the same label and PIN."""
    signer = prepared(hsm, folder)
    told: dict[str, Any] = {"before": outcome(signer.check)}
    if when == "closed":
        signer.close()
    hsm.reinitialise()
    if when == "refilled":
        other = folder / "other"
        other.mkdir()
        tell(filled, hsm, other)
    if when == "closed":
        told["after"] = [outcome(lambda: opened(hsm, folder)) for _ in range(2)]
    else:
        told["after"] = [outcome(lambda: signs(signer)) for _ in range(2)]
    return told


def filled(hsm: SoftHsm, folder: Path) -> str:
    """A signer with another folder makes its keys in the token."""
    return outcome(lambda: prepared(hsm, folder).close())


def keys_after_a_crash(hsm: SoftHsm, folder: Path, keep: str) -> dict[str, Any]:
    """The file of keys ends in the middle of a line, or a byte of it is another one."""
    signer = prepared(hsm, folder)
    known = [signer.public_key(KeyRef("deposits", n)).hex() for n in range(3)]
    signer.close()
    (path,) = folder.glob("*.keys")
    whole = path.read_bytes()
    if keep == "torn":
        path.write_bytes(whole + whole[:100])
    elif keep == "flipped":
        path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    elif keep == "swapped":
        lines = whole.splitlines(keepends=True)
        path.write_bytes(b"".join(reversed(lines)))
    told: dict[str, Any] = {"opened": outcome(lambda: opened(hsm, folder).close())}
    if told["opened"] == "done":
        again = opened(hsm, folder)
        again.make_keys("deposits", 0, 4)
        made = [again.public_key(KeyRef("deposits", n)).hex() for n in range(4)]
        told["kept"] = made[:3] == known
        told["signs"] = outcome(lambda: signs(again, key=KeyRef("deposits", 3)))
        again.close()
        told["reread"] = outcome(lambda: signs(opened(hsm, folder), key=KeyRef("deposits", 3)))
    return told


def a_plug_that_is_pulled(hsm: SoftHsm, folder: Path, curve: str) -> dict[str, Any]:
    """The token's folder goes and comes back, three times, while eight threads sign."""
    signer = prepared(hsm, folder, curve=curve)
    queue = list(range(400))
    lock, done = threading.Lock(), dict[int, list[str]]()
    words: set[str] = set()
    pulled = threading.Event()  # until then there is always more to sign

    def work() -> None:
        while True:
            with lock:
                if not queue and pulled.is_set():
                    return
                queue.extend([] if queue else [len(done) + 1_000])
                number = queue.pop(0)
            key = HOT if number % 4 else DEPOSIT
            try:
                signature = signs(signer, number, key).hex()
            except StrongroomError as error:
                with lock:
                    words.add(f"{type(error).__name__}: {error}")
                    queue.append(number)
                time.sleep(0.02)
            else:
                with lock:
                    done.setdefault(number, []).append(signature)

    threads = [threading.Thread(target=work) for _ in range(PULLERS)]
    for thread in threads:
        thread.start()
    away = []
    for _ in range(3):
        time.sleep(0.05)
        hsm.take_away()
        time.sleep(0.1)  # what is under way comes back
        before = len(done)
        time.sleep(0.2)
        away.append(len(done) - before)
        hsm.put_back()
        while len(done) == before:
            time.sleep(0.01)
    pulled.set()
    for thread in threads:
        thread.join()
    counts = sorted({len(signatures) for signatures in done.values()})
    lost = [number for number in range(400) if number not in done]
    return {"lost": lost, "counts": counts, "words": sorted(words), "away": away}


def a_wrong_pin_at_start(hsm: SoftHsm, folder: Path) -> dict[str, Any]:
    """A start with whatever stands in the PIN file."""
    library = FaultyLibrary(hsm.module)
    told: dict[str, Any] = {"opened": outcome(lambda: opened(hsm, folder).close())}
    told["logins"] = library.calls["C_Login"]
    return told


def an_end_without_closing(hsm: SoftHsm, folder: Path) -> None:
    """The interpreter ends while threads sign and nothing was closed."""
    signer = prepared(hsm, folder)

    def load() -> None:
        while True:
            outcome(lambda: signs(signer))

    for _ in range(4):
        threading.Thread(target=load, daemon=True).start()
    time.sleep(0.1)
