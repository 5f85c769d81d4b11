"""The seam to the customer: where a one-time code leaves the platform, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.errors import Unavailable
from core.ids import ChainId, CustomerNo
from custody.keys.secret import Secret


@dataclass(frozen=True, slots=True)
class CodeNotice:
    """A one-time code for the owner of an account, with what it confirms."""

    customer_no: CustomerNo
    entry_id: str
    chain: ChainId
    address: str
    label: str
    code: Secret
    expires_at_ns: int


class Notifier(Protocol):
    """Who hands a notice to the customer by a way that the caller of the API does not see."""

    def send_code(self, notice: CodeNotice) -> None:
        """Hand a code over. Unavailable: it did not go out, ask for a new one."""
        ...


class NobodyTold:
    """No way to the customer is configured: no code goes out, so nothing can be confirmed."""

    def send_code(self, notice: CodeNotice) -> None:
        """Refuse to pretend. Unavailable."""
        raise Unavailable(f"no way to customer {notice.customer_no} is configured", 60_000)
