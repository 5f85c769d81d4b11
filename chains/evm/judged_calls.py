"""What one call does with our money, read from its bytes: a transfer, or the reason to refuse it.

Two calls are understood: native coin with no data, and `transfer` of a token. Everything else is
refused by its name where the name is known, so that an officer reads what was tried.
"""

from __future__ import annotations

from types import MappingProxyType

from eth_hash.auto import keccak

from chains.base import NATIVE, Effect
from chains.evm.address import checksum
from chains.evm.erc20 import TRANSFER_SELECTOR, read_transfer_call
from core.errors import Reason, Refused

# Source: ERC-20, ERC-721, ERC-1155, ERC-2612, Permit2's IAllowanceTransfer.
_APPROVALS = (
    "approve(address,uint256)",
    "increaseAllowance(address,uint256)",
    "increaseApproval(address,uint256)",
    "decreaseAllowance(address,uint256)",
    "setApprovalForAll(address,bool)",
    "approveAndCall(address,uint256,bytes)",
    "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
    "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)",
    "approve(address,address,uint160,uint48)",
    "permit(address,((address,uint160,uint48,uint48),address,uint256),bytes)",
    "authorizeOperator(address)",
)
# Source: Safe 1.3 to 1.5 (OwnerManager, ModuleManager, GuardManager, FallbackManager, Safe),
# OpenZeppelin's Ownable, Ownable2Step, AccessControl, ERC-1967 proxies.
_OWNERS = (
    "addOwnerWithThreshold(address,uint256)",
    "removeOwner(address,address,uint256)",
    "swapOwner(address,address,address)",
    "changeThreshold(uint256)",
    "enableModule(address)",
    "disableModule(address,address)",
    "setGuard(address)",
    "setModuleGuard(address)",
    "setFallbackHandler(address)",
    "setup(address[],uint256,address,bytes,address,address,uint256,address)",
    "changeMasterCopy(address)",
    "transferOwnership(address)",
    "acceptOwnership()",
    "renounceOwnership()",
    "grantRole(bytes32,address)",
    "revokeRole(bytes32,address)",
    "changeAdmin(address)",
    "upgradeTo(address)",
    "upgradeToAndCall(address,bytes)",
)
KNOWN_CALLS = MappingProxyType(
    {
        keccak(text.encode())[:4]: (reason, text)
        for reason, texts in ((Reason.APPROVAL_CALL, _APPROVALS), (Reason.OWNER_CHANGE, _OWNERS))
        for text in texts
    }
)
"""Selector to why it is never signed, and its name."""


def effect_of(to: bytes, value: int, data: bytes) -> Effect:
    """Map one call to the one movement it makes.

    Refused: approval_call, owner_change, unknown_call, undecodable (a transfer that is not exactly
    its two arguments, or carries native coin).
    """
    if not data:
        return Effect(NATIVE, checksum(to), value)
    if data[:4] in KNOWN_CALLS:
        reason, text = KNOWN_CALLS[data[:4]]
        raise Refused(reason, text)
    if data[:4] != TRANSFER_SELECTOR:
        raise Refused(Reason.UNKNOWN_CALL, f"0x{data[:4].hex()}")
    call = read_transfer_call(data)
    if call is None:
        raise Refused(Reason.UNDECODABLE, "call data is not exactly transfer(address,uint256)")
    if value:
        raise Refused(Reason.UNDECODABLE, "a token transfer carries no native coin")
    destination, amount = call
    return Effect(checksum(to), checksum(destination), amount)


def check_network(number: int, ours: int) -> None:
    """Refused: missing_network (0 names none, or all of them), wrong_network."""
    if number == 0:
        raise Refused(Reason.MISSING_NETWORK, "chain id 0 holds on every network")
    if number != ours:
        raise Refused(Reason.WRONG_NETWORK, f"chain id {number} is not {ours}")
