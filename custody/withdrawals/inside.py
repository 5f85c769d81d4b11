"""Withdrawals to another customer of ours: settled in the engine, without a chain transaction.

The intent names the wallet `inside`, which has no key: no signature can be made for it, and what
names another wallet is never settled here. So a withdrawal is paid inside or on chain, never both.
"""

from __future__ import annotations

WALLET = "inside"
"""What the intent and the policy's input name as paying wallet (DestinationKind.OWN_CUSTOMER)."""
