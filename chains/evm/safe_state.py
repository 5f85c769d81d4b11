"""What a Safe is in the state after one block, read from its own answers and its storage.

Owners, threshold, nonce and modules are what its code answers; the code itself, both guards and
the fallback handler are read from their storage slots, which no code can paint over.
Source: Safe 1.5.0, OwnerManager, ModuleManager, GuardManager, FallbackManager, SafeProxy.
"""

from __future__ import annotations

from eth_hash.auto import keccak

from chains.evm import parse
from chains.evm.address import checksum
from chains.evm.node import EvmNode
from chains.multisig import NotAWallet, WalletState
from chains.rpc import RpcError

CODE_SLOT = 0
HANDLER_SLOT = int.from_bytes(keccak(b"fallback_manager.handler.address"), "big")
GUARD_SLOT = int.from_bytes(keccak(b"guard_manager.guard.address"), "big")
MODULE_GUARD_SLOT = int.from_bytes(keccak(b"module_manager.module_guard.address"), "big")
LISTED_MAX = 64
"""Most owners, and most modules, of a wallet of ours."""
_WORD = 32
_FIRST = bytes(31) + b"\x01"
"""The sentinel that lists of a Safe begin and end with."""


def read_state(node: EvmNode, wallet: str, block_hash: str) -> WalletState:
    """Ask one node. Unavailable: it does not answer, or the contract is no Safe."""

    def ask(call: str, *words: bytes) -> bytes:
        data = keccak(call.encode())[:4] + b"".join(words)
        answer = node.call_at(wallet, data, block_hash)
        if isinstance(answer, RpcError) or not answer:
            raise NotAWallet(wallet, call)
        return answer

    def number(call: str) -> int:
        answer = ask(call)
        if len(answer) != _WORD:
            raise NotAWallet(wallet, call)
        return int.from_bytes(answer, "big")

    def slot(position: int) -> str:
        word = node.storage_at(wallet, position, block_hash)
        return checksum(word[12:]) if any(word) else ""

    owners = _addresses(wallet, ask("getOwners()"), head=_WORD)
    modules = ask("getModulesPaginated(address,uint256)", _FIRST, LISTED_MAX.to_bytes(_WORD, "big"))
    extensions = [f"module {one}" for one in _addresses(wallet, modules, head=2 * _WORD)]
    if modules[_WORD : 2 * _WORD] != _FIRST:
        extensions.append("more modules")
    for name, position in (("guard", GUARD_SLOT), ("module guard", MODULE_GUARD_SLOT)):
        if found := slot(position):
            extensions.append(f"{name} {found}")
    return WalletState(
        owners=owners,
        threshold=number("getThreshold()"),
        nonce=number("nonce()"),
        code=slot(CODE_SLOT),
        handler=slot(HANDLER_SLOT),
        extensions=tuple(extensions),
    )


def _addresses(wallet: str, answer: bytes, *, head: int) -> tuple[str, ...]:
    """Read address[] whose offset is the first of `head` bytes."""
    if int.from_bytes(answer[:_WORD], "big") != head:
        raise NotAWallet(wallet, "list")
    count = int.from_bytes(answer[head : head + _WORD], "big")
    words = answer[head + _WORD :]
    if count > LISTED_MAX or len(words) != count * _WORD:
        raise NotAWallet(wallet, "list of a sensible length")
    return tuple(
        checksum(parse.address("0x" + words[at + 12 : at + _WORD].hex(), "owner"))
        for at in range(0, len(words), _WORD)
    )
