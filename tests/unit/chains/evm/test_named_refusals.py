"""What is known and never signed is refused by its name, so that people see what was tried."""

from __future__ import annotations

import pytest
import rlp as library  # type: ignore[import-untyped]
from eth_hash.auto import keccak

from core.errors import Reason, Refused
from tests.support.evm import GWEI
from tests.unit.chains.evm.test_decode import (
    CHAIN_OBJECT,
    EIP_155_EXAMPLE,
    SENDER,
    TRANSFER,
    TYPED_DATA,
    payload_of,
)

_A, _O, _U = Reason.APPROVAL_CALL, Reason.OWNER_CHANGE, Reason.UNKNOWN_CALL
SELECTORS = {
    "approve": ("approve(address,uint256)", _A),
    "increaseAllowance": ("increaseAllowance(address,uint256)", _A),
    "setApprovalForAll": ("setApprovalForAll(address,bool)", _A),
    "permit": ("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", _A),
    "transferOwnership": ("transferOwnership(address)", _O),
    "upgradeTo": ("upgradeTo(address)", _O),
    "upgradeToAndCall": ("upgradeToAndCall(address,bytes)", _O),
    "enableModule": ("enableModule(address)", _O),
    "addOwner": ("addOwnerWithThreshold(address,uint256)", _O),
    "swapOwner": ("swapOwner(address,address,address)", _O),
    "removeOwner": ("removeOwner(address,address,uint256)", _O),
    "changeThreshold": ("changeThreshold(uint256)", _O),
    "setGuard": ("setGuard(address)", _O),
    "setFallbackHandler": ("setFallbackHandler(address)", _O),
    "transferFrom": ("transferFrom(address,address,uint256)", _U),
    "execTransaction": (
        "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256)",
        _U,
    ),
    "unknown": ("nobodyKnows(address,uint256)", _U),
}
NAMED: dict[str, tuple[bytes, Reason]] = {
    **{
        name: (payload_of(value=0, data=keccak(text.encode())[:4] + TRANSFER[4:]), reason)
        for name, (text, reason) in SELECTORS.items()
    },
    "no chain id": (payload_of(chain=0), Reason.MISSING_NETWORK),
    "another chain id": (payload_of(chain=1), Reason.WRONG_NETWORK),
    "type 0 as in EIP-155": (EIP_155_EXAMPLE, Reason.WRONG_NETWORK),
    "type 0 before EIP-155": (
        bytes(library.encode([9, GWEI, 21_000, b"\1" * 20, 1, b""])),
        Reason.MISSING_NETWORK,
    ),
    "typed data of a permit": (TYPED_DATA % b"PermitSingle", Reason.APPROVAL_CALL),
    "native coin with data": (payload_of(data=b"\0"), Reason.UNKNOWN_CALL),
    "authorisation of EIP-7702 for every network": (
        b"\x05" + bytes(library.encode([0, b"\1" * 20, 0])),
        Reason.MISSING_NETWORK,
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_S09_what_is_known_and_never_signed_is_named(name: str) -> None:
    payload, reason = NAMED[name]
    with pytest.raises(Refused) as refusal:
        CHAIN_OBJECT.decode(payload, sender=SENDER)
    assert refusal.value.reason is reason
