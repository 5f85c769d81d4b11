"""A transaction of a contract wallet (Safe), as what a signer is asked to sign.

    canonical message strongroom/contract-wallet-transaction, version 1
        chain_number i · safe b20 · to b20 · value i · data b · operation i · safe_tx_gas i ·
        base_gas i · gas_price i · gas_token b20 · refund_receiver b20 · nonce i

The byte format is that of custody.keys.canonical, read here by code of its own. What is signed is
the EIP-712 hash of these fields. Source: EIP-712; Safe 1.4.1 and 1.5.0, Safe.sol, encodeTransaction
data; MultiSendCallOnly.sol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass

from eth_hash.auto import keccak

from chains.base import Decoded, Effect
from chains.evm.address import checksum
from chains.evm.judged_calls import check_network, effect_of
from chains.evm.params import EvmParams
from chains.multisig import OWNERS
from core.errors import Reason, Refused

_TAG = b"strongroom/contract-wallet-transaction"
PREFIX = bytes((len(_TAG),)) + _TAG
_HEAD = PREFIX + b"\x00\x01" + b"\x00\x0c"
_SHAPE = b"ibbibiiiibbi"
_ADDRESSES = (1, 2, 9, 10)
_WORDS = (0, 3, 5, 6, 7, 8, 11)
PAYLOAD_MAX = 16_384
CALLS_MAX = 64
CALL, DELEGATE_CALL = 0, 1
_ZERO = bytes(20)
_MULTI_SEND = keccak(b"multiSend(bytes)")[:4]
_OWNER_CALLS = {
    keccak(b"swapOwner(address,address,address)")[:4]: ("before", "gone", "new"),
    keccak(b"addOwnerWithThreshold(address,uint256)")[:4]: ("new", "threshold"),
    keccak(b"removeOwner(address,address,uint256)")[:4]: ("before", "gone", "threshold"),
    keccak(b"changeThreshold(uint256)")[:4]: ("threshold",),
}
_OFFSET = (32).to_bytes(32, "big")
_DOMAIN_TYPE = keccak(b"EIP712Domain(uint256 chainId,address verifyingContract)")
_SAFE_TX_TYPE = keccak(
    b"SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,"
    b"uint256 baseGas,uint256 gasPrice,address gasToken,address refundReceiver,uint256 nonce)"
)


@dataclass(frozen=True, slots=True)
class WalletTransaction:
    """The fields of a Safe's transaction and where it holds. Amounts in wei, gas in units."""

    chain_number: int
    safe: bytes
    to: bytes
    value: int
    data: bytes
    operation: int
    safe_tx_gas: int
    base_gas: int
    gas_price: int
    gas_token: bytes
    refund_receiver: bytes
    nonce: int


def encode_wallet_payload(transaction: WalletTransaction) -> bytes:
    """Return the canonical message of a contract wallet's transaction."""
    parts = [_HEAD]
    for value in astuple(transaction):
        kind = b"i" if isinstance(value, int) else b"b"
        body = value if isinstance(value, bytes) else _shortest(value)
        parts.append(kind + len(body).to_bytes(4, "big") + body)
    return b"".join(parts)


def read_wallet_payload(payload: bytes) -> WalletTransaction:
    """Read a canonical message; the strict inverse of encode_wallet_payload.

    Refused: undecodable.
    """
    if len(payload) > PAYLOAD_MAX or payload[: len(_HEAD)] != _HEAD:
        raise _refusal("not a contract wallet's transaction of version 1")
    bodies, position = [], len(_HEAD)
    for kind in _SHAPE:
        head = payload[position : position + 5]
        end = position + 5 + int.from_bytes(head[1:], "big")
        if len(head) != 5 or head[0] != kind or end > len(payload):
            raise _refusal("a field is missing, cut short or of another type")
        bodies.append(payload[position + 5 : end])
        position = end
    if position != len(payload):
        raise _refusal("trailing bytes")
    if any(len(bodies[at]) != 20 for at in _ADDRESSES):
        raise _refusal("an address has 20 bytes")
    if any(len(bodies[at]) > 32 for at in _WORDS):
        raise _refusal("a number has at most 256 bits")
    values = [
        int.from_bytes(body, "big") if kind == ord("i") else body
        for kind, body in zip(_SHAPE, bodies, strict=True)
    ]
    read = WalletTransaction(*values)  # type: ignore[arg-type]  # the types are those of _SHAPE
    if encode_wallet_payload(read) != payload:
        raise _refusal("not the canonical spelling")
    return read


def wallet_digest(transaction: WalletTransaction) -> bytes:
    """Return the 32 bytes that an owner signs: the EIP-712 hash of a SafeTx."""
    domain = _DOMAIN_TYPE + _word(transaction.chain_number) + _word(transaction.safe)
    content: tuple[int | bytes, ...] = (
        _SAFE_TX_TYPE,
        transaction.to,
        transaction.value,
        keccak(transaction.data),
        transaction.operation,
        transaction.safe_tx_gas,
        transaction.base_gas,
        transaction.gas_price,
        transaction.gas_token,
        transaction.refund_receiver,
        transaction.nonce,
    )
    return keccak(b"\x19\x01" + keccak(domain) + keccak(b"".join(map(_word, content))))


def decode_wallet(payload: bytes, params: EvmParams, *, sender: str) -> Decoded:
    """Read what a contract wallet's transaction does; its sender is the wallet.

    Refused: undecodable, intent_mismatch (another wallet), wrong_network, missing_network,
    delegate_call, approval_call, owner_change, unknown_call, extra_effect (a refund is a payment
    more), fee_above_cap.
    """
    read = read_wallet_payload(payload)
    if checksum(read.safe) != sender:
        raise Refused(Reason.INTENT_MISMATCH, "the transaction is another wallet's")
    check_network(read.chain_number, params.chain_number)
    effects = tuple(_effects(read, params))
    if read.gas_price or read.base_gas or read.gas_token != _ZERO or read.refund_receiver != _ZERO:
        raise Refused(Reason.EXTRA_EFFECT, "a refund of gas pays whoever sends the transaction")
    if read.safe_tx_gas > params.gas_cap:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{read.safe_tx_gas} gas")
    return Decoded(
        network=params.network,
        nonce=read.nonce,
        effects=effects,
        fee_max=0,
        digest=wallet_digest(read),
        source_is_contract=True,
    )


def _effects(read: WalletTransaction, params: EvmParams) -> Iterator[Effect]:
    if read.operation == CALL:
        changed = owners_effect(read)
        yield changed or effect_of(read.to, read.value, read.data)
        return
    if read.operation != DELEGATE_CALL:
        raise _refusal(f"operation {read.operation}")
    if checksum(read.to) not in params.multisends:
        raise Refused(Reason.DELEGATE_CALL, f"code of {checksum(read.to)} would run as the wallet")
    if read.value:
        raise _refusal("a delegate call carries no native coin")
    yield from (effect_of(*call) for call in inner_calls(read.data))


def owners_effect(read: WalletTransaction) -> Effect | None:
    """Read a call by which a wallet changes its own owners, None for any other.

    Who may ask for it is the guard's business; it is understood alone, never in a multisend.
    Source: Safe 1.5.0, OwnerManager.sol. Refused: undecodable (not exactly its arguments).
    """
    shape = _OWNER_CALLS.get(read.data[:4])
    if read.to != read.safe or shape is None:
        return None
    words = [read.data[at : at + 32] for at in range(4, len(read.data), 32)]
    if read.value or len(words) != len(shape) or len(words[-1]) != 32:
        raise _refusal("a change of owners is exactly its arguments")
    found: dict[str, int] = {}
    for name, word in zip(shape, words, strict=True):
        found[name] = int.from_bytes(word, "big")
        if name != "threshold" and word[:12] != bytes(12):
            raise _refusal("an owner has 20 bytes")
    new = found["new"].to_bytes(20, "big") if "new" in found else read.safe
    gone = f"-{checksum(found['gone'].to_bytes(20, 'big'))}" if "gone" in found else ""
    return Effect(OWNERS + gone, checksum(new), found.get("threshold", 0))


def inner_calls(data: bytes) -> list[tuple[bytes, int, bytes]]:
    """Read multiSend(bytes) into (to, value, data).

    Packed, one by one: operation 1, to 20, value 32, size 32, data. Refused: undecodable,
    unknown_call, delegate_call.
    """
    return list(_packed_calls(data))


def _packed_calls(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    if data[:4] != _MULTI_SEND:
        raise Refused(Reason.UNKNOWN_CALL, f"0x{data[:4].hex()} of a multisend")
    size = int.from_bytes(data[36:68], "big")
    packed, rest = data[68 : 68 + size], data[68 + size :]
    if data[4:36] != _OFFSET or len(packed) != size or rest != bytes(-size % 32):
        raise _refusal("call data is not exactly multiSend(bytes)")
    position = count = 0
    while position < size:
        head = packed[position : position + 85]
        end = position + 85 + int.from_bytes(head[53:], "big")
        count += 1
        if len(head) != 85 or end > size or count > CALLS_MAX:
            raise _refusal("an inner call is cut short, or there are too many")
        if head[0] != CALL:
            raise Refused(Reason.DELEGATE_CALL, "inside a multisend")
        yield head[1:21], int.from_bytes(head[21:53], "big"), packed[position + 85 : end]
        position = end


def _word(value: int | bytes) -> bytes:
    body = value if isinstance(value, bytes) else _shortest(value)
    return body.rjust(32, b"\0")


def _shortest(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _refusal(detail: str) -> Refused:
    return Refused(Reason.UNDECODABLE, detail)
