"""Settings of what customers may do: address books."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.clock import SECOND_NS
from custody.policy.request import USD_SCALE

if TYPE_CHECKING:
    from custody.withdrawals.book_rows import BookTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressBookSettings:
    """See custody.withdrawals.book_rows.BookTerms."""

    required: bool = False
    cooldown_s: int = 24 * 3600
    large_cooldown_s: int = 72 * 3600
    large_usd: int = 10_000
    """Whole USD from which a payment waits for the longer cool-down."""
    code_ttl_s: int = 3600
    entries_max: int = 200
    notices_folder: Path | None = None
    """Where one-time codes are written for whoever sends them; None: none can be confirmed."""


BOOK = AddressBookSettings()
"""What holds where nothing is set."""


def book_terms(settings: AddressBookSettings) -> BookTerms:
    """Return the terms that the settings mean."""
    from custody.withdrawals.book_rows import BookTerms as Terms  # the signer reads settings too

    return Terms(
        cooldown_ns=settings.cooldown_s * SECOND_NS,
        large_cooldown_ns=settings.large_cooldown_s * SECOND_NS,
        large_usd=settings.large_usd * 10**USD_SCALE,
        code_ttl_ns=settings.code_ttl_s * SECOND_NS,
        entries_max=settings.entries_max,
        required=settings.required,
    )


def problems_of_book(settings: AddressBookSettings) -> list[str]:
    """Return what is wrong with the settings."""
    problems = []
    if not 0 <= settings.cooldown_s <= settings.large_cooldown_s <= 365 * 86_400:
        problems.append("address_book.cooldown_s: at most large_cooldown_s, and that a year")
    if not 60 <= settings.code_ttl_s <= 86_400:
        problems.append("address_book.code_ttl_s: lies in 60..86400")
    if not 1 <= settings.entries_max <= 10_000:
        problems.append("address_book.entries_max: lies in 1..10000")
    if settings.large_usd < 0:
        problems.append("address_book.large_usd: is 0 or more")
    return problems
