"""Settings of screening: the sanctions list, providers, and the travel rule of a jurisdiction."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.secure_url import is_secure
from core.clock import SECOND_NS
from core.money import parse_amount
from custody.keys.private_file import read_private_file
from custody.keys.secret import Secret
from custody.policy.request import USD_SCALE

if TYPE_CHECKING:
    from app.screening_sources import HttpProvider
    from custody.screening.judging import ScreeningTerms

JURISDICTIONS = Path(__file__).with_name("travel_rule.toml")
_NAME = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningSettings:
    """Nothing is screened where nothing is set."""

    list_url: str = ""
    """Where `strongroom screening update` fetches the list from when it is told no other place."""
    list_required: bool = False
    list_age_max_s: int = 2 * 86_400
    provider_urls: tuple[str, ...] = ()
    """`<name>=<https URL>` of each provider; all of them must allow a withdrawal."""
    provider_tokens_folder: Path | None = None
    """Holds a file per provider, of its name, with the token that it is sent."""
    provider_timeout_ms: int = 3_000
    jurisdiction: str = ""
    """A table of travel_rule.toml; empty: no travel rule applies."""


SCREENING = ScreeningSettings()
"""What holds where nothing is set."""


def screening_terms(settings: ScreeningSettings) -> ScreeningTerms:
    """Return the terms that the settings mean. ValueError: an unknown jurisdiction."""
    from custody.screening.judging import ScreeningTerms as Terms  # the signer reads settings too

    return Terms(
        providers=tuple(sorted(_urls(settings))),
        list_required=settings.list_required,
        list_age_max_ns=settings.list_age_max_s * SECOND_NS,
        travel_threshold_usd=threshold_usd(settings.jurisdiction),
    )


def open_providers(settings: ScreeningSettings) -> dict[str, HttpProvider]:
    """Return the providers by name, with their tokens."""
    from app.screening_sources import HttpProvider as Provider

    found = {}
    for name, url in _urls(settings).items():
        token = None
        if settings.provider_tokens_folder is not None:
            token = Secret(read_private_file(settings.provider_tokens_folder / name).strip())
        found[name] = Provider(url, token, settings.provider_timeout_ms)
    return found


def threshold_usd(jurisdiction: str, file: Path = JURISDICTIONS) -> int | None:
    """Return a jurisdiction's threshold in 10^-6 USD, None for none. ValueError."""
    if not jurisdiction:
        return None
    table = tomllib.loads(file.read_text("utf-8")).get(jurisdiction)
    if not isinstance(table, Mapping):
        raise ValueError(f"{jurisdiction} is no table of {file.name}")
    return parse_amount(table["threshold_usd"], USD_SCALE)


def problems_of_screening(settings: ScreeningSettings) -> list[str]:
    """Return what is wrong with the settings."""
    problems = []
    if settings.list_url and not is_secure(settings.list_url):
        problems.append("screening.list_url: an https URL without a password")
    for text in settings.provider_urls:
        name, _, url = text.partition("=")
        if _NAME.fullmatch(name) is None or not is_secure(url):
            problems.append("screening.provider_urls: <name>=<https URL without a password>")
    if len(_urls(settings)) != len(settings.provider_urls):
        problems.append("screening.provider_urls: a name stands twice")
    if not 100 <= settings.provider_timeout_ms <= 60_000:
        problems.append("screening.provider_timeout_ms: lies in 100..60000")
    if not 60 <= settings.list_age_max_s <= 90 * 86_400:
        problems.append("screening.list_age_max_s: lies in 60..7776000")
    try:
        threshold_usd(settings.jurisdiction)
    except ValueError as error:
        problems.append(f"screening.jurisdiction: {error}")
    return problems


def _urls(settings: ScreeningSettings) -> dict[str, str]:
    return {name: url for name, _, url in (text.partition("=") for text in settings.provider_urls)}
