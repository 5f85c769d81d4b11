"""A Safe's signed transaction inside a relayer's, as the guard reads it: own code, no library.

    payload = canonical message strongroom/relayed-transaction, version 1
        wallet_nonce i · transaction b          the relayer's unsigned type-2 transaction

The call does not say at which nonce of the wallet its signatures hold, so the payload does: with
another one they would be nobody's. Only one spelling of the call is understood, only plain
signatures of keys (v 27 or 28), in ascending order of their owners, each once: those of contracts
(v 0), approvals by transaction (v 1) and signed messages (v 31, 32) are refused, because what they
say is not in the bytes. Source: Safe 1.5.0, Safe.sol, execTransaction and checkNSignatures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eth_hash.auto import keccak

from chains.base import Decoded
from chains.evm.address import checksum
from chains.evm.params import EvmParams
from chains.evm.signature import recover
from chains.evm.wallet_payload import (
    PAYLOAD_MAX,
    WalletTransaction,
    decode_wallet,
    encode_wallet_payload,
    wallet_digest,
)
from chains.multisig import Relayed
from core.errors import Reason, Refused

_TAG = b"strongroom/relayed-transaction"
PREFIX = bytes((len(_TAG),)) + _TAG
_HEAD = PREFIX + b"\x00\x01" + b"\x00\x02"
TRANSACTION_MAX = PAYLOAD_MAX + 8_192
SIGNATURES_MAX = 64
SELECTOR = keccak(
    b"execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"
)[:4]
_SUCCESS = keccak(b"ExecutionSuccess(bytes32,uint256)")
_FAILURE = keccak(b"ExecutionFailure(bytes32,uint256)")
_WORDS = 10
_DATA, _SIGNATURES = 2, 9
_ADDRESSES = (0, 7, 8)


@dataclass(frozen=True, slots=True)
class Execution:
    """The arguments of one execTransaction; the Safe, its nonce and network are not among them."""

    words: tuple[int, ...]
    data: bytes
    signatures: bytes

    def transaction(self, *, chain_number: int, wallet: bytes, nonce: int) -> WalletTransaction:
        """Return what the owners signed if it was for this Safe, nonce and network."""
        to, value, _, operation, units, base, price, token, receiver, _ = self.words
        return WalletTransaction(
            chain_number=chain_number,
            safe=wallet,
            to=to.to_bytes(20, "big"),
            value=value,
            data=self.data,
            operation=operation,
            safe_tx_gas=units,
            base_gas=base,
            gas_price=price,
            gas_token=token.to_bytes(20, "big"),
            refund_receiver=receiver.to_bytes(20, "big"),
            nonce=nonce,
        )


def encode_relay_payload(wallet_nonce: int, transaction: bytes) -> bytes:
    """Return the payload of a relayer's transaction."""
    number = wallet_nonce.to_bytes((wallet_nonce.bit_length() + 7) // 8, "big")
    parts = (b"i", len(number).to_bytes(4, "big"), number)
    return b"".join((_HEAD, *parts, b"b", len(transaction).to_bytes(4, "big"), transaction))


def read_relay_payload(payload: bytes) -> tuple[int, bytes]:
    """Return the wallet's nonce and the relayer's transaction. Refused: undecodable."""
    start = len(_HEAD)
    if payload[:start] != _HEAD or len(payload) > TRANSACTION_MAX:
        raise _refusal("not a relayed transaction of version 1")
    size = int.from_bytes(payload[start + 1 : start + 5], "big")
    number = payload[start + 5 : start + 5 + size]
    rest = start + 10 + size
    nonce, transaction = int.from_bytes(number, "big"), payload[rest:]
    if size > 8 or encode_relay_payload(nonce, transaction) != payload:
        raise _refusal("not the canonical spelling")
    return nonce, transaction


def read_execution(data: bytes) -> Execution | None:
    """Read call data of exactly one execTransaction. None for anything else."""
    head = data[4 : 4 + 32 * _WORDS]
    if data[:4] != SELECTOR or len(head) != 32 * _WORDS:
        return None
    words = tuple(int.from_bytes(head[at : at + 32], "big") for at in range(0, len(head), 32))
    inner, after = _tail(data, 32 * _WORDS)
    signatures, end = _tail(data, after)
    offsets = (words[_DATA], words[_SIGNATURES])
    if inner is None or signatures is None or offsets != (32 * _WORDS, after):
        return None
    if end + 4 != len(data) or any(words[at] >> 160 for at in _ADDRESSES) or words[3] > 1:
        return None
    return Execution(words, inner, signatures)


def decode_relay(
    outer: Decoded, nonce: int, wallet: bytes, data: bytes, params: EvmParams
) -> Decoded:
    """Return what a relayer's transaction does by what the wallet's inside it does.

    `outer` has the relayer's nonce, fee and digest. Refused: undecodable, bad_signature, and as
    decode_wallet.
    """
    execution = read_execution(data)
    if execution is None:
        raise _refusal("call data is not exactly execTransaction")
    read = execution.transaction(chain_number=params.chain_number, wallet=wallet, nonce=nonce)
    address = checksum(wallet)
    inner = decode_wallet(encode_wallet_payload(read), params, sender=address)
    signers = read_signers(wallet_digest(read), execution.signatures)
    relayed = Relayed(address, nonce, inner.digest, signers)
    return replace(outer, effects=inner.effects, relayed=relayed)


def read_signers(digest: bytes, signatures: bytes) -> tuple[str, ...]:
    """Return whose signatures these are. Refused: bad_signature."""
    count, rest = divmod(len(signatures), 65)
    if rest or not 1 <= count <= SIGNATURES_MAX:
        raise _bad("not a row of signatures of 65 bytes")
    owners: list[bytes] = []
    for at in range(0, len(signatures), 65):
        owner = recover(digest, plain_signature(signatures[at : at + 65]))
        if owners and owner <= owners[-1]:
            raise _bad("owners stand in ascending order, each once")
        owners.append(owner)
    return tuple(map(checksum, owners))


def plain_signature(signature: bytes) -> bytes:
    """Return r ‖ s ‖ recovery id of r ‖ s ‖ v with v 27 or 28. Refused: bad_signature."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise _bad("only plain signatures of keys count: 65 bytes, v 27 or 28")
    return signature[:64] + bytes((signature[64] - 27,))


def execution_succeeded(wallet: bytes, logs: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Return whether a Safe says, among (emitter, first topic), that its transaction succeeded.

    It says exactly one thing, or it is not believed.
    """
    said = [topic for emitter, topic in logs if emitter == wallet and topic in (_SUCCESS, _FAILURE)]
    return said == [_SUCCESS]


def _tail(data: bytes, offset: int) -> tuple[bytes | None, int]:
    """Return the bytes at an offset of the arguments and where what follows them begins."""
    start = 4 + offset
    size = int.from_bytes(data[start : start + 32], "big")
    body = data[start + 32 : start + 32 + size]
    end = offset + 32 + size + -size % 32
    padding = data[start + 32 + size : 4 + end]
    if len(data) < start + 32 or len(body) != size or padding != bytes(-size % 32):
        return None, 0
    return body, end


def _bad(detail: str) -> Refused:
    return Refused(Reason.BAD_SIGNATURE, detail)


def _refusal(detail: str) -> Refused:
    return Refused(Reason.UNDECODABLE, detail)
