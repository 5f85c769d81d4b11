"""Who audits the signer's log: everything believed comes from files outside of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from app.files import open_rosters, open_scales
from app.opening import open_accounts, open_chains
from app.settings import Settings
from app.signer_keys import needed
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.audit import Auditor
from custody.keys.policy_export import open_policies
from custody.keys.ruling import Law
from custody.keys.signers.base import KeyRef
from custody.keys.signing_record import Mark


@contextlib.contextmanager
def open_auditor(
    settings: Settings, policies: Path | None = None, *, end: Mark | None = None
) -> Iterator[Auditor]:
    """Lend an auditor that asks nobody: no node, no database, no signer.

    policies: the folder of what the signer learned, its own by default. end: how far the log
    reached when the signer was asked.

    Errors as app.opening.open_platform; Refused: not_found (the folder).
    """
    rosters = open_rosters(settings)
    with contextlib.ExitStack() as opened:
        chains = open_chains(settings)
        for chain in chains.values():
            opened.callback(chain.close)
        keys = {
            name: open_accounts(settings, rosters.pinned, chain.traits)
            for name, chain in chains.items()
        }

        def public_key_of(chain: ChainId, key: KeyRef) -> bytes:
            if chain not in keys or key.account not in keys[chain]:
                raise Refused(Reason.UNKNOWN_KEY, f"no account {key.account} of {chain}")
            return keys[chain][key.account].public_key_checked(key.index)

        folder = policies or needed(settings.signer.folder, "signer.folder") / "policies"
        law = Law(open_policies(folder, rosters.by_hash), open_scales(settings))
        yield Auditor(rosters, chains, public_key_of, law, end)
