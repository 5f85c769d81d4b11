"""An anchor in the token: an object that remembers how far the signer's store has come.

Tokens let no data object's value change, so each mark is a new object and the one before is
destroyed; where a crash left two, the later counts.

Whoever copies yesterday's store back does not bring the token back with it, unless the token is
software in a folder beside it: an anchor is worth as much as it is hard to copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.clock import Clock
from core.errors import Corrupt, Reason, Refused
from custody.keys.signers.pkcs11_lanes import Lane
from custody.keys.signers.pkcs11_module import binding
from custody.keys.signers.pkcs11_token import PATIENCE_MS, SESSIONS, Token, close_token, open_token
from custody.keys.signing_record import GENESIS, Mark

_HASH_HEX = 64


class TokenAnchor:
    """custody.keys.anchor.Anchor over a data object. `open_token_anchor` makes it."""

    def __init__(self, token: Token, name: str) -> None:
        self._token, self._label = token, f"strongroom/anchor/{name}"

    def make(self) -> None:
        """Put the anchor into the token where it is missing, at GENESIS: once, at set-up.

        Refused: wrong_pin. Unavailable. Corrupt.
        """
        with self._token.alone():
            self._token.run(self._make)

    def read(self) -> Mark:
        """Return the mark. Corrupt: the token has no anchor, or one of nobody. Unavailable."""
        return self._token.run(lambda lane: self._marks(lane)[-1][0])

    def advance(self, expected: Mark, new: Mark) -> None:
        """Compare and move, one process at a time. Refused: stale_signer. Unavailable. Corrupt."""

        def work(lane: Lane) -> None:
            marks = self._marks(lane)
            known = marks[-1][0]
            if known != new:  # else it moved a moment ago, and the token was lost with the answer
                if known != expected:
                    what = "the token's anchor moved without this store"
                    raise Refused(Reason.STALE_SIGNER, what)
                self._put(lane, new)
            for mark, old in marks:
                if mark != new:
                    old.destroy()

        with self._token.alone():
            self._token.run(work)

    def close(self) -> None:
        """Log out when nobody else in this process uses the token."""
        close_token(self._token)

    def _make(self, lane: Lane) -> None:
        if not self._found(lane):
            self._put(lane, GENESIS)

    def _put(self, lane: Lane, mark: Mark) -> None:
        pkcs11 = binding()
        a = pkcs11.Attribute
        template = {a.CLASS: pkcs11.ObjectClass.DATA, a.LABEL: self._label, a.TOKEN: True}
        template |= {a.PRIVATE: True, a.MODIFIABLE: False}
        template[a.VALUE] = f"{mark.position} {mark.hash.hex()}".encode("ascii")
        lane.session.create_object(template)

    def _found(self, lane: Lane) -> list[Any]:
        pkcs11 = binding()
        a = pkcs11.Attribute
        wanted = {a.CLASS: pkcs11.ObjectClass.DATA, a.LABEL: self._label}
        return list(lane.session.get_objects(wanted))

    def _marks(self, lane: Lane) -> list[tuple[Mark, Any]]:
        found = self._found(lane)
        if not found:
            raise binding().NoSuchKey(self._label)  # a token that was lost shows nothing
        marks = [(_mark_of(anchor), anchor) for anchor in found]
        return sorted(marks, key=lambda each: each[0].position)

    def __repr__(self) -> str:
        return f"<TokenAnchor {self._label!r}>"


def _mark_of(anchor: Any) -> Mark:
    text = bytes(anchor[binding().Attribute.VALUE]).decode("ascii", "replace")
    position, _, hash_ = text.partition(" ")
    if not position.isdigit() or len(hash_) != _HASH_HEX:
        raise Corrupt("the token's anchor holds no mark")
    return Mark(int(position), bytes.fromhex(hash_))


def open_token_anchor(
    *,
    module: Path,
    label: str,
    pin_file: Path,
    name: str = "store",
    sessions: int = SESSIONS,
    patience_ms: int = PATIENCE_MS,
    clock: Clock | None = None,
) -> TokenAnchor:
    """Return the anchor of a name in a token, not yet asked; arguments as open_pkcs11_signer.

    Unavailable: there is no such library.
    """
    token = open_token(
        module, label, pin_file, clock=clock, sessions=sessions, patience_ms=patience_ms
    )
    return TokenAnchor(token, name)
