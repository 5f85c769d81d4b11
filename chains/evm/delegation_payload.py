"""An authorisation that lets an account run another contract's code, as what is signed for it.

    payload = 0x05 ‖ rlp([chain_number, address, nonce]); its Keccak-256 is signed

Source: EIP-7702. The nonce is the account's own, so a transaction of the same nonce excludes it.
"""

from __future__ import annotations

from eth_hash.auto import keccak

from chains.base import CODE, Decoded, Effect
from chains.evm import rlp
from chains.evm.address import checksum
from chains.evm.judged_calls import check_network
from chains.evm.params import EvmParams
from core.errors import Reason, Refused

PREFIX = b"\x05"
_PAYLOAD_MAX = 64


def decode_delegation(payload: bytes, params: EvmParams) -> Decoded:
    """Read an authorisation; whether the delegate is one of ours, the roster says.

    Refused: undecodable, wrong_network, missing_network (chain id 0 holds on every network).
    """
    items = rlp.decode(payload[1:]) if len(payload) <= _PAYLOAD_MAX else b""
    if isinstance(items, bytes) or len(items) != 3:
        raise _refusal("an authorisation has three fields")
    number, nonce = rlp.decode_int(items[0]), rlp.decode_int(items[2])
    delegate = rlp.decode_bytes(items[1])
    if len(delegate) != 20 or nonce >> 64 or number >> 256:
        raise _refusal("fields of an authorisation")
    check_network(number, params.chain_number)
    return Decoded(
        network=params.network,
        nonce=nonce,
        effects=(Effect(CODE, checksum(delegate), 0),),
        fee_max=0,
        digest=keccak(payload),
    )


def _refusal(detail: str) -> Refused:
    return Refused(Reason.UNDECODABLE, detail)
