"""One network, as far as signing goes: judging, building, joining, and what the signer asks nodes.

Nothing here holds a private key. Following blocks, choosing coins, fees and broadcasting are not
here yet, so the registry does not open this chain.
"""

from __future__ import annotations

from collections.abc import Sequence

from chains.base import (
    Decoded,
    FeeRate,
    SignedTx,
    SpendIntent,
    UnsignedTx,
)
from chains.bitcoin import decode as decoding
from chains.bitcoin.address import address_of_script, script_of_key
from chains.bitcoin.build import Coin, build
from chains.bitcoin.reader import BitcoinReader
from chains.bitcoin.sighash import ALL
from chains.bitcoin.signature import (
    SIGNATURE_BYTES,
    message_digest,
    message_proof,
    recover,
    strict_encoding,
)
from core.errors import Reason, Refused


class BitcoinChain(BitcoinReader):
    """What the signer needs of chains.base.Chain over one network."""

    def address_of(self, public_key: bytes) -> str:
        """Return the address of a compressed public key. Refused: malformed. Source: BIP-84."""
        address = address_of_script(script_of_key(public_key), self._params.place)
        assert address is not None, "a key's script has an address"
        return address

    def build(
        self, intent: SpendIntent, *, coins: Sequence[Coin], change_address: str, rate: FeeRate
    ) -> UnsignedTx:
        """Build the one transaction that carries out the intent. Refused: as build.build."""
        return build(
            intent, self._params, coins=coins, change_address=change_address, rate=rate.max_rate
        )

    def rate_of(self, payload: bytes) -> FeeRate:
        """Return the rate a payload pays. Refused: as decode.read_spend."""
        return decoding.rate_of(payload)

    def decode(self, payload: bytes, *, sender: str) -> Decoded:
        """Read a payload. Refused: as decode.decode; Unavailable when it is locked to a height."""
        self.parse_address(sender)
        return decoding.decode(payload, self._params, height=self._height)

    def assemble(self, unsigned: UnsignedTx, signature: bytes) -> SignedTx:
        """Join a payload and 65 bytes per input, in the inputs' order.

        Refused: bad_signature (length, form, another key's), intent_mismatch (the digest is another
        payload's), and as decode.read_spend.
        """
        spend = decoding.read_spend(unsigned.payload)
        if spend.tx.tx_hash != unsigned.digest:
            raise Refused(Reason.INTENT_MISMATCH, "the digest is another payload's")
        if len(signature) != SIGNATURE_BYTES * len(spend.coins):
            raise Refused(Reason.BAD_SIGNATURE, "one signature per input")
        witnesses = []
        for number, digest in enumerate(decoding.digests_of(spend)):
            own = signature[number * SIGNATURE_BYTES : (number + 1) * SIGNATURE_BYTES]
            public_key = recover(digest, own)
            if script_of_key(public_key) != spend.coins[number].script:
                raise Refused(Reason.BAD_SIGNATURE, f"input {number} belongs to another key")
            witnesses.append((strict_encoding(own) + bytes((ALL,)), public_key))
        signed = spend.tx.signed(tuple(witnesses))
        return SignedTx(tx_id=signed.tx_id, raw=signed.serialise())

    def control_digest(self, challenge: bytes, *, address: str) -> bytes:  # noqa: ARG002
        """Return the digest of a signed message, in the format that BIP-137 proves by recovery.

        BIP-322 signs the address too, which this question does not name.
        """
        return message_digest(challenge)

    def control_proof(self, challenge: bytes, signature: bytes, *, address: str) -> bytes:
        """Return header, r and s, as BIP-137 verifiers take them. Refused: bad_signature."""
        public_key = recover(message_digest(challenge), signature)
        if self.address_of(public_key) != address:
            raise Refused(Reason.BAD_SIGNATURE, "the signature is another address's")
        return message_proof(signature)
