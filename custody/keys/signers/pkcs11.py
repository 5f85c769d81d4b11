"""A signer whose keys never leave a PKCS#11 token, except wrapped by it.

Keys of the hot, gas and cold wallets are objects of the token. Deposit keys, of which there are
many, are made in the token, wrapped by its key-encryption key and kept in a file; one is unwrapped
for a signature and forgotten again. Where a token does not wrap keys of a curve (SoftHSM 2.6 and
Ed25519), deposit keys are objects of the token as well.

No token of today derives keys by BIP-32, so no account has an extended public key: every key is
made by `make_keys` before it is used. Nonces are the token's own: signing again gives other bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from chains.base import ChainTraits
from core.clock import Clock
from core.errors import Corrupt, Reason, Refused
from custody.keys.signers import pkcs11_keys as keys
from custody.keys.signers.base import (
    ACCOUNT_NUMBERS,
    CHECK_DIGEST,
    KeyRef,
    check_key_range,
    check_message,
    wallet_of,
)
from custody.keys.signers.pkcs11_file import KeyEntry, KeyFile
from custody.keys.signers.pkcs11_keys import CURVES, KEK, MAC
from custody.keys.signers.pkcs11_lanes import Lane
from custody.keys.signers.pkcs11_module import binding
from custody.keys.signers.pkcs11_token import PATIENCE_MS, SESSIONS, Token, close_token, open_token
from custody.keys.signers.seeded import place_of

DEPOSITS = "deposits"
UNWRAPPED_MAX = 32
"""Deposit keys that each thread keeps unwrapped, as objects that nothing can read."""
BATCH = 100
"""Keys that are written to the file together: one fsync."""
HANDLES_MAX = 1_024


class Pkcs11Signer:
    """Keys of one chain in one token. `open_pkcs11_signer` makes it.

    Refused at once: unknown_chain (a curve that the token's signer does not know).
    """

    def __init__(
        self, token: Token, traits: ChainTraits, folder: Path, *, unwrapped_max: int
    ) -> None:
        if traits.curve not in CURVES:
            raise Refused(Reason.UNKNOWN_CHAIN, f"this signer has no keys on {traits.curve}")
        self._token, self._traits, self._unwrapped_max = token, traits, unwrapped_max
        self._curve = CURVES[traits.curve]
        network = "main" if traits.is_main_network else "test"
        place = (network, traits.curve, str(traits.purpose), str(traits.coin_type))
        self._name = "/".join(("strongroom", *place))
        path = folder / f"token-{'-'.join(place)}.keys"
        self._file = KeyFile(path, self._name, self._tag)
        with contextlib.ExitStack() as undo:
            token.expect(keys.judge)
            self._file.read()
            undo.callback(token.forget, self._look_for_keys)
            token.expect(self._look_for_keys)
            undo.pop_all()

    @property
    def curve(self) -> str:
        """Return secp256k1 or ed25519."""
        return self._curve.name

    def network_allowed(self, traits: ChainTraits) -> bool:
        """Return whether a network is of these keys: curve, purpose, coin, main network or not."""
        return place_of(traits) == place_of(self._traits)

    def account_xpub(self, account: str) -> str:
        """Refused: unknown_key, always: keys of a token have no public derivation."""
        raise Refused(Reason.UNKNOWN_KEY, f"account {account!r} is in a token: it has no xpub")

    def public_key(self, key: KeyRef) -> bytes:
        """Return 33 bytes or 32; the key signed when it was made. Refused: unknown_key."""
        return self._entry(key).public_key

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Sign a digest of exactly 32 bytes, or with Ed25519 a whole message. Verified.

        Refused: malformed, unknown_key, wrong_pin, weak_key. Unavailable. Corrupt.
        """
        return self.sign_many([(key, message)])[0]

    def sign_many(self, jobs: Iterable[tuple[KeyRef, bytes]]) -> list[bytes]:
        """Return the signatures of several: one is made while others are drawn and verified.

        All or none; refused as sign.
        """
        begun: list[tuple[bytes, bytes]] = []

        def works() -> Iterator[Callable[[Lane], bytes]]:
            for key, message in jobs:
                check_message(self._curve.name, message)
                entry = self._entry(key)
                begun.append((message, entry.public_key))
                yield self._work(key, entry, message)

        made = enumerate(self._token.run_each(works()))
        return [keys.finish(raw, *begun[number], self._curve) for number, raw in made]

    def make_keys(self, account: str, first: int, count: int) -> None:
        """Make the keys that do not exist yet; each has signed before it is written down.

        Refused: unknown_key, too_large, weak_key. Unavailable. Corrupt.
        """
        check_key_range(account, first, count)
        with self._token.alone():
            self._token.run(self._make_secrets)
        with self._file.appending() as append:
            wanted = [KeyRef(account, index) for index in range(first, first + count)]
            missing = [key for key in wanted if self._file.get(key) is None]
            for start in range(0, len(missing), BATCH):
                made = [(key, self._make(key)) for key in missing[start : start + BATCH]]
                for run in _runs(made):
                    append(account, run[0][0].index, [entry for _, entry in run])

    def check(self) -> None:
        """Sign a constant with the key of the hot wallet. Refused: unknown_key, and as sign."""
        self.sign(KeyRef("hot", 0), CHECK_DIGEST)

    def close(self) -> None:
        """Log out when nobody else in this process uses the token."""
        self._token.forget(self._look_for_keys)
        close_token(self._token)

    # one session

    def _work(self, key: KeyRef, entry: KeyEntry, message: bytes) -> Callable[[Lane], bytes]:
        def work(lane: Lane) -> bytes:
            if not entry.blob:
                return keys.sign_with(self._found(lane, key), message, self._curve)
            private = self._unwrapped(lane, entry.blob)
            try:
                return keys.sign_with(private, message, self._curve)
            finally:
                if not self._unwrapped_max:
                    # A signature that came back is not made again because of this.
                    with contextlib.suppress(binding().PKCS11Error):
                        private.destroy()

        return work

    def _found(self, lane: Lane, key: KeyRef) -> Any:
        label = self._label(key)
        private = lane.handles.get(label)
        if private is None:
            if len(lane.handles) >= HANDLES_MAX:
                lane.handles.clear()
            private = lane.handles[label] = keys.find_private(lane.session, label)
        return private

    def _unwrapped(self, lane: Lane, blob: bytes) -> Any:
        private = lane.unwrapped.pop(blob, None)
        if private is None:
            private = keys.unwrap(self._secret(lane, KEK), blob, self._curve)
        if self._unwrapped_max:
            lane.unwrapped[blob] = private
            while len(lane.unwrapped) > self._unwrapped_max:
                lane.unwrapped.pop(next(iter(lane.unwrapped))).destroy()
        return private

    def _secret(self, lane: Lane, label: str) -> Any:
        key = lane.handles.get(label)
        if key is None:
            key = keys.find_secret(lane.session, label)
            if key is None:
                raise binding().NoSuchKey(label)
            lane.handles[label] = key
        return key

    def _tag(self, data: bytes) -> bytes:
        return self._token.run(lambda lane: keys.tag(self._secret(lane, MAC), data))

    def _make_secrets(self, lane: Lane) -> None:
        keys.make_secrets(lane.session)
        keys.judge(lane.session)

    def _make(self, key: KeyRef) -> KeyEntry:
        entry = self._token.run(lambda lane: self._make_in(lane, key))
        work = self._work(key, entry, CHECK_DIGEST)
        keys.finish(self._token.run(work), CHECK_DIGEST, entry.public_key, self._curve)
        return entry

    def _make_in(self, lane: Lane, key: KeyRef) -> KeyEntry:
        if wallet_of(key.account) == DEPOSITS:
            kek = self._secret(lane, KEK)
            made = keys.make_wrapped_key(lane.session, kek, self._curve)
            if made is not None:
                return KeyEntry(*made)
        label = self._label(key)
        public_key = keys.find_public_key(lane.session, label, self._curve)
        if public_key is None:  # else a crash came between its making and its writing down
            public_key = keys.make_token_key(lane.session, label, self._curve)
        return KeyEntry(public_key, b"")

    # judging

    def _look_for_keys(self, session: Any) -> None:
        if not len(self._file):
            return
        if keys.find_secret(session, MAC) is None or keys.find_secret(session, KEK) is None:
            raise Corrupt("the token is blank, or another one: it has none of this signer's keys")
        for key, public_key in self._file.token_keys():
            if keys.find_public_key(session, self._label(key), self._curve) != public_key:
                raise Corrupt(f"the token is another one: it does not have {self._label(key)}")

    def _entry(self, key: KeyRef) -> KeyEntry:
        entry = self._file.get(key)
        if entry is None:
            raise Refused(Reason.UNKNOWN_KEY, f"{key} has not been made")
        return entry

    def _label(self, key: KeyRef) -> str:
        assert key.account in ACCOUNT_NUMBERS
        return f"{self._name}/{key.account}/{key.index}"

    def __repr__(self) -> str:
        return "<Pkcs11Signer hidden>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a signer is not pickled or copied")


def _runs(made: Sequence[tuple[KeyRef, KeyEntry]]) -> list[list[tuple[KeyRef, KeyEntry]]]:
    """Split keys where their numbers are not consecutive."""
    runs: list[list[tuple[KeyRef, KeyEntry]]] = []
    for key, entry in made:
        if runs and runs[-1][-1][0].index + 1 == key.index:
            runs[-1].append((key, entry))
        else:
            runs.append([(key, entry)])
    return runs


def open_pkcs11_signer(
    traits: ChainTraits,
    *,
    module: Path,
    label: str,
    pin_file: Path,
    folder: Path,
    unwrapped_max: int = UNWRAPPED_MAX,
    sessions: int = SESSIONS,
    patience_ms: int = PATIENCE_MS,
    clock: Clock | None = None,
) -> Pkcs11Signer:
    """Return the signer of a chain whose keys are in the token of a label.

    module is the PKCS#11 library, pin_file a file of mode 0600 that holds the user PIN, folder the
    signer's own. All signers of a process that name one token share one login, and the sessions,
    patience (how long one waits for the token) and clock of the first.
    Refused: wrong_pin, weak_key, unknown_chain, forbidden. Unavailable. Corrupt.
    """
    token = open_token(
        module, label, pin_file, clock=clock, sessions=sessions, patience_ms=patience_ms
    )
    with contextlib.ExitStack() as undo:
        undo.callback(close_token, token)
        signer = Pkcs11Signer(token, traits, folder, unwrapped_max=unwrapped_max)
        undo.pop_all()
    return signer
