"""Wallets of several owners on this chain: Safe 1.4.1 and 1.5.0 (chains.multisig.Wallets)."""

from __future__ import annotations

from collections.abc import Sequence

from chains.base import BlockRef, Effect, FeeRate, UnsignedTx
from chains.evm import fees
from chains.evm.address import checksum, raw_address
from chains.evm.build import serialise
from chains.evm.node import EvmNode
from chains.evm.params import EvmParams
from chains.evm.relay_payload import encode_relay_payload, plain_signature
from chains.evm.safe_build import build_payload, calls_of, document_of, execute_call
from chains.evm.safe_state import read_state
from chains.evm.signature import parse_signature, recover
from chains.evm.wallet_payload import read_wallet_payload, wallet_digest
from chains.multisig import SigningRequest, WalletState
from chains.rpc import NodeSet, RpcError
from core.errors import Reason, Refused, Unavailable

_TRUE = (1).to_bytes(32, "big")
_SPARE_UNITS = 30_000
"""Beside what an inner call was estimated at: state changes between signature and execution."""


class EvmWallets:
    """The Safes of one network."""

    def __init__(self, params: EvmParams, nodes: NodeSet[EvmNode]) -> None:
        self._params = params
        self._nodes = nodes

    def state(self, wallet: str, at: BlockRef) -> WalletState:
        """Return what a quorum of the nodes says; see chains.multisig."""
        address = checksum(raw_address(wallet))
        return self._nodes.agree(lambda node: read_state(node, address, at.hash), "wallet")

    def units(self, wallet: str, effects: Sequence[Effect], state: WalletState) -> int:
        """Return an estimate of the inner calls with room to spare; see chains.multisig."""
        estimates = 0
        for to, value, data in calls_of(wallet, effects, state):
            call: dict[str, object] = {
                "from": wallet, "to": checksum(to), "value": hex(value), "data": "0x" + data.hex(),
            }  # fmt: skip
            is_payment = to != raw_address(wallet) and bool(data)
            estimates += self._estimate(call, answers=(b"", _TRUE) if is_payment else None)
        return fees.plan_units(estimates + _SPARE_UNITS, self._params)

    def build(
        self, wallet: str, effects: Sequence[Effect], *, nonce: int, units: int, state: WalletState
    ) -> UnsignedTx:
        """Build a Safe's transaction; see chains.multisig."""
        return build_payload(self._params, wallet, effects, nonce=nonce, units=units, state=state)

    def requests(self, unsigned: UnsignedTx, owners: Sequence[str]) -> tuple[SigningRequest, ...]:
        """Return one request per owner, all over one digest; see chains.multisig."""
        read = read_wallet_payload(unsigned.payload)
        digest, document = wallet_digest(read), document_of(read)
        return tuple(SigningRequest(owner, digest, document) for owner in owners)

    def owner_of(self, unsigned: UnsignedTx, signature: bytes) -> str:
        """Recover whose r ‖ s ‖ v it is, v 27 or 28; see chains.multisig."""
        digest = wallet_digest(read_wallet_payload(unsigned.payload))
        return checksum(recover(digest, plain_signature(signature)))

    def plain(self, signature: bytes) -> bytes:
        """Return r ‖ s ‖ v, v 27 or 28, of r ‖ s ‖ recovery id. Refused: bad_signature."""
        parse_signature(signature)
        return signature[:64] + bytes((27 + signature[64],))

    def join(self, unsigned: UnsignedTx, signatures: Sequence[bytes], state: WalletState) -> bytes:
        """Return the Safe's address and the call data of execTransaction; see chains.multisig.

        Exactly the threshold is taken, by ascending owner: more would only cost gas.
        """
        read = read_wallet_payload(unsigned.payload)
        if read.nonce != state.nonce:
            raise Refused(Reason.INTENT_MISMATCH, f"the wallet is at nonce {state.nonce}")
        signed: dict[bytes, bytes] = {}
        for signature in signatures:
            owner = self.owner_of(unsigned, signature)
            if owner not in state.owners:
                raise Refused(Reason.NOT_AN_OWNER, owner)
            if raw_address(owner) in signed:
                raise Refused(Reason.ALREADY_APPROVED, owner)
            signed[raw_address(owner)] = signature
        if len(signed) < state.threshold:
            raise Refused(Reason.QUORUM_NOT_MET, f"{len(signed)} of {state.threshold} owners")
        enough = [signed[owner] for owner in sorted(signed)][: state.threshold]
        return read.safe + execute_call(read, enough)

    def relay_units(self, relay: bytes, *, relayer: str) -> int:
        """Return the gas of the relayer's transaction; see chains.multisig."""
        call: dict[str, object] = {
            "from": relayer, "to": checksum(relay[:20]), "data": "0x" + relay[20:].hex(),
        }  # fmt: skip
        estimate = self._estimate(call, answers=(_TRUE,))
        return fees.plan_units(estimate, self._params)

    def relay(
        self,
        relay: bytes,
        *,
        wallet_nonce: int,
        relayer: str,
        nonce: int,
        rate: FeeRate,
        units: int,
        fee_max: int,
    ) -> UnsignedTx:
        """Build the relayer's type-2 transaction; see chains.multisig."""
        cost = units * rate.max_rate
        if rate.max_rate > self._params.fee_cap or units > self._params.gas_cap or cost > fee_max:
            raise Refused(Reason.FEE_ABOVE_CAP, f"the transaction may cost {cost}")
        transaction, digest = serialise(
            self._params.chain_number, nonce, rate, units, relay[:20], 0, relay[20:]
        )
        payload = encode_relay_payload(wallet_nonce, transaction)
        return UnsignedTx(self._params.chain, relayer, nonce, payload, digest, cost)

    def _estimate(self, call: dict[str, object], *, answers: tuple[bytes, ...] | None) -> int:
        """Simulate and estimate. Unavailable: it reverts, or answers something else."""

        def simulate(node: EvmNode) -> int:
            answer = node.call(call)
            if isinstance(answer, RpcError) or (answers is not None and answer not in answers):
                raise Unavailable(f"would_revert: {answer!r}"[:300])
            estimate = node.estimate_gas(call)
            if isinstance(estimate, RpcError):
                raise Unavailable(f"would_revert: {estimate.message}"[:300])
            return estimate

        return self._nodes.first(simulate, "simulation")
