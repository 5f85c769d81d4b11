"""What the signer stands on, opened from settings: its store, its keys, its nodes, its roster.

Nothing of it is the platform's: the database is not opened, the nodes are those of the roster, and
the folder is its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from app.files import chain_config, open_publications, open_rosters, open_scales
from app.settings import Settings
from app.settings_values import SettingsError
from app.signer_keys import needed, open_anchor, open_attestation_key, open_keys
from chains.assets import load_assets
from chains.base import Chain, ChainTraits
from chains.registry import open_chain
from core.clock import Clock, SystemClock
from core.errors import Corrupt, Reason, Refused
from core.ids import ChainId
from custody.keys.accounts_file import AccountLine, AttestedAccount, attest_account
from custody.keys.anchor import FileAnchor
from custody.keys.attestation import DEPOSITS
from custody.keys.desk import KeyDesk, Notary, key_desk
from custody.keys.owners import OwnerBook
from custody.keys.policy_book import PolicyShelf
from custody.keys.roster import Roster
from custody.keys.roster_files import RosterChain
from custody.keys.signers.base import ACCOUNTS, KEYS_AT_ONCE, KeyRef, Signer, wallet_of
from custody.keys.signers.pkcs11_anchor import TokenAnchor
from custody.keys.stop_book import StopBook
from custody.keys.store import Shelf
from engine.files import DiskStorage

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class SignerHome:
    """The signer's desk and what must be let go with it."""

    desk: KeyDesk
    shelf: Shelf
    chains: Mapping[ChainId, Chain]
    owners: OwnerBook
    anchor: TokenAnchor | FileAnchor | None

    def close(self) -> None:
        """Let go of keys, store and nodes."""
        self.desk.close()
        self.owners.close()
        if isinstance(self.anchor, TokenAnchor):
            self.anchor.close()
        for chain in self.chains.values():
            chain.close()


def open_signer(settings: Settings, *, clock: Clock | None = None) -> SignerHome:
    """Open everything a signer needs; asks no node yet.

    SettingsError: what only the signer needs is not set, or the roster names no nodes, or is not
    fit for a main network. Refused: the keys do not open, or the store is behind its anchor.
    StoreInUse: another signer uses the folder. Corrupt: the store is damaged, or the roster is
    another one or names another attestation key.
    """
    folder = needed(settings.signer.folder, "signer.folder")
    rosters = open_rosters(settings)
    roster = rosters.pinned
    chains = {name: _own_chain(name, settings, roster) for name in settings.chains}
    if problems := [line for one in chains.values() for line in unfit(one.traits, roster)]:
        raise SettingsError(problems)
    signers = open_keys(settings.signer, {name: chain.traits for name, chain in chains.items()})
    key = open_attestation_key(settings.signer)
    if roster.attestation_key != key.public_key:
        raise Corrupt(f"roster {roster.serial} names another attestation key than this signer's")
    anchor = open_anchor(settings.signer)
    shelf = Shelf(folder, anchor=anchor)
    shelf.store()
    book = open_policies(settings, rosters, folder, clock or SystemClock())
    owners = OwnerBook(folder / "owners")
    desk = key_desk(
        shelf,
        clock or SystemClock(),
        roster,
        {name: (chain, signers[name]) for name, chain in chains.items()},
        Notary(key, owners),
        StopBook(DiskStorage(folder / "stops")),
        book=book,
        scales=open_scales(settings),
    )
    return SignerHome(desk, shelf, chains, owners, anchor)


def open_policies(
    settings: Settings, rosters: RosterChain, folder: Path, clock: Clock
) -> PolicyShelf:
    """Return what this signer knows of policies, after it looked at the publications of the files.

    Corrupt: its own files are damaged, or the first version is another one than theirs.
    SettingsError: there is no first publication. Refused: it is not signed by the quorum.
    """
    shelf = PolicyShelf(folder / "policies", rosters.by_hash)
    first, *others = open_publications(settings)
    if shelf.versions and shelf.versions[0].policy.hash != first.hash:
        raise Corrupt("this signer began with another first policy than officers.policy_folder has")
    shelf.learn(first, roster=rosters.pinned, now_ns=clock.now_ns())
    for publication in others:
        try:
            shelf.learn(publication, roster=rosters.pinned, now_ns=clock.now_ns())
        except Refused as refused:
            if refused.reason is Reason.TOO_EARLY:
                break  # the one before it has just been learned: the platform asks again
            raise
    return shelf


def unfit(traits: ChainTraits, roster: Roster) -> list[str]:
    """Return why a roster is not fit for a main network; test networks are not looked at.

    A node asked in the clear is whoever owns the network between, and could call a payment dead
    that is not. Without limits one stolen quorum could take everything in a day.
    """
    name = traits.chain
    if not traits.is_main_network:
        return []
    problems = [
        f"roster {roster.serial}: a node of {name} is asked in the clear; https, or this machine"
        for node in roster.nodes
        if node.chain == name
        for url in map(urlsplit, node.urls)
        if url.scheme != "https" and url.hostname not in LOOPBACK
    ]
    if not any(limit.chain == name for limit in roster.limits):
        problems.append(f"roster {roster.serial} names no limits for {name}")
    return problems


def export_accounts(
    settings: Settings, more: Sequence[str] = (), *, deposit_keys: int = KEYS_AT_ONCE
) -> list[AttestedAccount]:
    """Return every account's extended public key, or its keys, attested. Errors as open_signer.

    more: accounts of later keys, like hot.2. deposit_keys: how many where keys derive from nothing
    public; they are made when they do not exist. Refused: unknown_key, too_large.
    """
    traits = {name: _traits(name, settings) for name in settings.chains}
    key, signers = open_attestation_key(settings.signer), open_keys(settings.signer, traits)
    lines = [
        account_line(traits[name], account, signer, deposit_keys)
        for name, signer in signers.items()
        for account in (*ACCOUNTS, *more)
    ]
    for signer in signers.values():
        signer.close()
    return [attest_account(key, line) for line in lines]


def account_line(
    traits: ChainTraits, account: str, signer: Signer, deposit_keys: int
) -> AccountLine:
    """Return an account's extended public key, or its keys, made when they do not exist."""
    try:
        xpub = signer.account_xpub(account)
    except Refused as refused:
        if refused.reason is not Reason.UNKNOWN_KEY:
            raise
        count = deposit_keys if wallet_of(account) == DEPOSITS else 1
        for first in range(0, count, KEYS_AT_ONCE):
            signer.make_keys(account, first, min(KEYS_AT_ONCE, count - first))
        keys = tuple(signer.public_key(KeyRef(account, index)) for index in range(count))
        return AccountLine(traits.chain, traits.network, account, public_keys=keys)
    return AccountLine(traits.chain, traits.network, account, xpub)


def _own_chain(name: ChainId, settings: Settings, roster: Roster) -> Chain:
    """Open a chain over the signer's own nodes."""
    nodes = [node for node in roster.nodes if node.chain == name]
    if len(nodes) != 1:
        raise SettingsError([f"roster {roster.serial} names no nodes of {name}"])
    try:
        specs = load_assets(settings.catalogue.assets_file)
        assets = [spec for spec in specs if spec.chain == name]
        config = chain_config(name, settings.chains[name], assets)
        return open_chain(replace(config, node_urls=nodes[0].urls, quorum=nodes[0].quorum))
    except (ValueError, OSError) as error:
        raise SettingsError([str(error)]) from error


def _traits(name: ChainId, settings: Settings) -> ChainTraits:
    chain = open_chain(chain_config(name, settings.chains[name], ()))
    try:
        return chain.traits
    finally:
        chain.close()
