"""From settings to what files alone say: rosters, and how a chain is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from app.settings import Settings
from app.settings_chains import ChainSettings
from app.settings_values import SettingsError
from chains.assets import load_assets
from chains.base import AssetSpec
from chains.registry import ChainConfig
from core.errors import Corrupt, Refused
from core.ids import ChainId
from custody.keys.private_file import read_private_file
from custody.keys.publication import (
    PUBLICATION_BYTES_MAX,
    Publication,
    parse_publication,
)
from custody.keys.roster_files import RosterChain, load_rosters

PUBLICATIONS_MAX = 9_999


def open_rosters(settings: Settings) -> RosterChain:
    """Return the pinned roster and all before it.

    Corrupt: no such file, or a version is not signed by the quorum before it. SettingsError: no
    SHA-256.
    """
    try:
        pinned = bytes.fromhex(settings.officers.roster_sha256)
    except ValueError:
        pinned = b""
    if len(pinned) != hashlib.sha256().digest_size:
        raise SettingsError(["officers.roster_sha256: 64 hex digits"])
    try:
        return load_rosters(settings.officers.roster_folder, pinned)
    except Refused as refused:
        raise Corrupt(f"the rosters in {settings.officers.roster_folder}: {refused}") from refused


def open_publications(settings: Settings) -> list[Publication]:
    """Return the publications in the folder, oldest first, at least the first; not checked.

    SettingsError: there is none, or a file is no publication.
    """
    folder, found = settings.officers.policy_folder, list[Publication]()
    for serial in range(1, PUBLICATIONS_MAX + 1):
        path = folder / publication_name(serial)
        try:
            with path.open("rb") as file:
                found.append(parse_publication(file.read(PUBLICATION_BYTES_MAX + 1)))
        except FileNotFoundError:
            break
        except (OSError, Refused) as error:
            raise SettingsError([f"officers.policy_folder: {path.name}: {error}"]) from error
    if not found:
        raise SettingsError([f"officers.policy_folder: no {publication_name(1)} in {folder}"])
    return found


def publication_name(serial: int) -> str:
    """Return the name of a version's file."""
    return f"policy-{serial:04}.toml"


def open_scales(settings: Settings) -> dict[tuple[ChainId, str], int]:
    """Return the decimal places of every listed asset. SettingsError."""
    try:
        specs = load_assets(settings.catalogue.assets_file)
    except (ValueError, OSError) as error:
        raise SettingsError([str(error)]) from error
    return {(spec.chain, spec.key): spec.scale for spec in specs}


def read_band(text: str) -> tuple[int, int]:
    """Return least amount and confirmations of a band. SettingsError: it is written otherwise."""
    amount, _, blocks = text.partition(":")
    if not all(part.isascii() and part.isdigit() for part in (amount, blocks)):
        raise SettingsError([f"bands: {text!r} is not `amount:confirmations`"])
    return int(amount), int(blocks)


def chain_config(
    name: ChainId, settings: ChainSettings, assets: Sequence[AssetSpec]
) -> ChainConfig:
    """Return what the registry opens a chain with."""
    urls = settings.node_urls
    if settings.node_urls_file is not None:
        urls = tuple(read_private_file(settings.node_urls_file).decode().split())
    return ChainConfig(
        kind=settings.kind,
        chain=name,
        node_urls=urls,
        quorum=settings.quorum,
        chain_number=settings.chain_number,
        genesis_hash=settings.genesis_hash,
        fee_floor=settings.fee_floor,
        fee_cap=settings.fee_cap,
        tip=settings.tip,
        assets=tuple(assets),
        units_cap=settings.units_cap,
        batch_max=settings.batch_max,
        confirmations=settings.confirmations,
        bands=tuple(map(read_band, settings.bands)),
        purpose=settings.purpose,
        tickets=settings.tickets,
        reorg_limit=settings.reorg_limit,
        timeout_ms=settings.timeout_ms,
    )
