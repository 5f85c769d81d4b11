"""The four shapes of a token that matter:

Transfer event, transfer call, balanceOf call, a boolean answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_hash.auto import keccak

from chains.evm.parse import Log

TRANSFER_TOPIC = keccak(b"Transfer(address,address,uint256)")
TRANSFER_SELECTOR = keccak(b"transfer(address,uint256)")[:4]
BALANCE_OF_SELECTOR = keccak(b"balanceOf(address)")[:4]
TRANSFER_CALL_SIZE = 68
_PAD = bytes(12)
_TRUE = (1).to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """What a Transfer event claims."""

    log: Log
    sender: bytes
    to: bytes
    value: int


def transfer_event(log: Log) -> TokenEvent | None:
    """Read a Transfer event: exactly 3 topics, clean addresses, 32 bytes of data.

    None for anything else.
    """
    if len(log.topics) != 3 or log.topics[0] != TRANSFER_TOPIC or len(log.data) != 32:
        return None
    sender, to = log.topics[1], log.topics[2]
    if sender[:12] != _PAD or to[:12] != _PAD:
        return None
    return TokenEvent(log, sender[12:], to[12:], int.from_bytes(log.data, "big"))


def transfer_call(to: bytes, amount: int) -> bytes:
    """Return the call data of transfer(to, amount)."""
    return TRANSFER_SELECTOR + _PAD + to + amount.to_bytes(32, "big")


def read_transfer_call(data: bytes) -> tuple[bytes, int] | None:
    """Read call data of exactly transfer(address, uint256). None for anything else."""
    if len(data) != TRANSFER_CALL_SIZE or data[:4] != TRANSFER_SELECTOR or data[4:16] != _PAD:
        return None
    return data[16:36], int.from_bytes(data[36:], "big")


def balance_call(owner: bytes) -> bytes:
    """Return the call data of balanceOf(owner)."""
    return BALANCE_OF_SELECTOR + _PAD + owner


def says_success(answer: bytes) -> bool:
    """Tell whether transfer answered success: true, or nothing at all as older tokens do."""
    return answer in (b"", _TRUE)
