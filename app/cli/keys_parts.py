"""What ceremonies and drills ask for alike: a terminal, a person's key, the chains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from app.cli.options import settings
from app.cli.output import Exit, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from app.cli.terminal import NobodyThere, TtyTerminal
    from custody.keys.key_facts import Network

    Screen: TypeAlias = TtyTerminal | NobodyThere


def terminal_of(*, needed: bool) -> Screen:
    """Return the person's terminal, or one with nobody there. Refused: forbidden."""
    from app.cli.terminal import NobodyThere, open_terminal
    from core.errors import Reason, Refused

    found = open_terminal()
    if found is None and needed:
        raise Refused(Reason.FORBIDDEN, "shares are shown on a terminal, and here is none")
    return found or NobodyThere()


def networks_of(names: Sequence[str] | None) -> tuple[Network, ...]:
    """Return chains of the settings by name, all without names. Refused: unknown_chain."""
    from app.files import chain_config
    from chains.registry import open_chain
    from core.errors import Reason, Refused
    from core.ids import ChainId
    from custody.keys.key_facts import Network

    chosen = settings().chains
    wanted = [ChainId(name) for name in names] if names else list(chosen)
    found = []
    for name in wanted:
        if name not in chosen:
            raise Refused(Reason.UNKNOWN_CHAIN, name)
        chain = open_chain(chain_config(name, chosen[name], ()))
        found.append(Network(chain.traits, chain.address_of))
        chain.close()
    return tuple(found)


def person_of(text: str) -> tuple[str, Path]:
    """Return the person and the key file of `ada=ada.pem`."""
    person, sign, file = text.partition("=")
    if not (person and sign and file):
        fail(Exit.USAGE, f"{text}: a person and a key file look like ada=ada.pem", reason="usage")
    return person, Path(file)


def officer_key_of(path: Path, terminal: Screen) -> Ed25519PrivateKey:
    """Open an officer's key file; its passphrase is asked for when it has one."""
    from core.errors import Reason, Refused
    from custody.keys.officer_keys import load_officer_key

    try:
        return load_officer_key(path)
    except Refused as refused:
        if refused.reason is not Reason.WRONG_PASSPHRASE:
            raise
    return load_officer_key(path, passphrase=terminal.ask_secret(f"Passphrase of {path.name}: "))
