"""What the platform's operators set for withdrawals."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.clock import SECOND_NS
from custody.screening.judging import ScreeningTerms
from custody.withdrawals.book_rows import BookTerms


@dataclass(frozen=True, slots=True)
class WithdrawalTerms:
    """The most it pays a chain for one withdrawal, and how long approvals may take at most.

    A rule of the policy may set a shorter time; what it leaves open is as the operators say.
    """

    network_fee_max: int
    expiry_ns: int = 24 * 3600 * SECOND_NS
    inside_is_free: bool = True
    """Whether payments between customers cost no flat fee."""
    book: BookTerms = field(default_factory=BookTerms)
    screening: ScreeningTerms = field(default_factory=ScreeningTerms)
