"""A wallet of several owners over the seam (chains.multisig.CoinWallet). Holds no key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from chains.base import Coin, FeeRate, SignedTx, SpendIntent, SpendKind, UnsignedTx
from chains.bitcoin import cosign, psbt_text
from chains.bitcoin.address import address_of_script, script_of_key
from chains.bitcoin.cosign import Cosigned, read_cosigned
from chains.bitcoin.descriptor import read
from chains.bitcoin.params import BitcoinParams
from chains.bitcoin.treasury import Judged, Treasury, judge, read_judged
from chains.bitcoin.treasury_build import COINS_MAX, Funding, build
from chains.bitcoin.verify import check_signed
from core.errors import Reason, Refused


class OwnedCoins:
    """The wallet at one address, as its descriptor says."""

    def __init__(
        self,
        treasury: Treasury,
        *,
        previous_of: Callable[[str], bytes],
        height: Callable[[], int],
    ) -> None:
        self._treasury = treasury
        self._previous_of = previous_of
        self._height = height

    @cached_property
    def owners(self) -> tuple[str, ...]:
        """Return the address of each owner's key, in the script's order."""
        return tuple(map(self._address, self._treasury.keys))

    @property
    def threshold(self) -> int:
        """Return how many owners sign."""
        return self._treasury.descriptor.threshold

    def draft(self, intent: SpendIntent, coins: Sequence[Coin], *, rate: FeeRate) -> UnsignedTx:
        """Build with the largest coins, as few as pay for it; see chains.multisig."""
        for coin in coins:
            if coin.owner != self._treasury.address:
                raise Refused(Reason.FOREIGN_INPUT, coin.outpoint)
        ordered = sorted(coins, key=lambda coin: (-coin.amount, coin.outpoint))
        if intent.kind is SpendKind.CANCELLATION:
            return self._drafted(intent, ordered, rate)
        held = 0
        for count, coin in enumerate(ordered[:COINS_MAX], 1):
            held += coin.amount
            if held < intent.amount:
                continue
            try:
                return self._drafted(intent, ordered[:count], rate)
            except Refused as refused:
                if refused.reason is not Reason.EXCEEDS_AVAILABLE:
                    raise
        raise Refused(Reason.EXCEEDS_AVAILABLE, f"{held} in coins do not pay for {intent.amount}")

    def judge(self, unsigned: UnsignedTx, intent: SpendIntent) -> None:
        """Return when the intent explains a payload completely; see chains.multisig."""
        judged = judge(unsigned.payload, intent, self._treasury, height=self._height)
        if judged.tx.tx_hash != unsigned.digest:
            raise Refused(Reason.INTENT_MISMATCH, "the digest is another payload's")

    def coins_of(self, unsigned: UnsignedTx) -> tuple[Coin, ...]:
        """Return the coins that a payload uses up."""
        judged = self._read(unsigned)
        return tuple(
            Coin(spent.outpoint.text, self._treasury.address, coin.amount)
            for spent, coin in zip(judged.tx.inputs, judged.coins, strict=True)
        )

    def take(self, unsigned: UnsignedTx, returned: bytes) -> tuple[tuple[str, bytes], ...]:
        """Return (owner, signature) of everybody who signed; see chains.multisig."""
        found = cosign.take(self._read(unsigned), returned)
        return tuple((self._address(one.public_key), one.serialise()) for one in found)

    def owner_of(self, unsigned: UnsignedTx, signature: bytes) -> str:
        """Return whose a signature is; see chains.multisig."""
        one = cosign.verified(self._read(unsigned), _cosigned(signature))
        return self._address(one.public_key)

    def joined(self, unsigned: UnsignedTx, signatures: Sequence[bytes]) -> bytes:
        """Return the payload with signatures in it."""
        judged = self._read(unsigned)
        given = [cosign.verified(judged, _cosigned(one)) for one in signatures]
        return cosign.with_signatures(unsigned.payload, judged, given)

    def finalise(self, unsigned: UnsignedTx, signatures: Sequence[bytes]) -> SignedTx:
        """Return the signed transaction, run through a second library's script engine."""
        judged = self._read(unsigned)
        signed = cosign.finalise(judged, map(_cosigned, signatures))
        check_signed(signed.raw, judged.coins)
        return signed

    def shown(self, payload: bytes) -> list[str]:
        """Return texts for QR codes; see chains.bitcoin.psbt_text."""
        return psbt_text.to_parts(payload)

    def seen(self, texts: Sequence[str]) -> bytes:
        """Return the payload of such texts."""
        return psbt_text.from_parts(texts)

    def _drafted(self, intent: SpendIntent, coins: Sequence[Coin], rate: FeeRate) -> UnsignedTx:
        made = build(
            intent, self._treasury, coins=[self._funding(coin) for coin in coins],
            rate=rate.max_rate,
        )  # fmt: skip
        self.judge(made, intent)
        if set(self.coins_of(made)) != set(coins):
            raise Refused(Reason.UNPROVEN_AMOUNT, "a coin holds another amount than was said")
        return made

    def _funding(self, coin: Coin) -> Funding:
        tx_id, _, index = coin.outpoint.partition(":")
        if len(tx_id) != 64 or not (index.isascii() and index.isdigit()):
            raise Refused(Reason.MALFORMED, "a coin is named `transaction id:index`")
        return Funding(tx_id, int(index), self._previous_of(tx_id))

    def _read(self, unsigned: UnsignedTx) -> Judged:
        judged = read_judged(unsigned.payload, self._treasury)
        if judged.tx.tx_hash != unsigned.digest:
            raise Refused(Reason.INTENT_MISMATCH, "the digest is another payload's")
        return judged

    def _address(self, public_key: bytes) -> str:
        place = self._treasury.params.place
        address = address_of_script(script_of_key(public_key), place)
        assert address is not None, "a key's script has an address"
        return address


def open_wallet(
    address: str,
    descriptor: str,
    params: BitcoinParams,
    *,
    previous_of: Callable[[str], bytes],
    height: Callable[[], int],
) -> OwnedCoins:
    """Return the wallet at an address. Refused: malformed, wrong_network, owner_change."""
    treasury = Treasury(read(descriptor, params.place), params)
    if treasury.address != address:
        raise Refused(Reason.OWNER_CHANGE, f"the descriptor is that of {treasury.address}")
    return OwnedCoins(treasury, previous_of=previous_of, height=height)


def _cosigned(signature: bytes) -> Cosigned:
    try:
        return read_cosigned(signature)
    except Refused as refused:
        raise Refused(Reason.BAD_SIGNATURE, "not how owners' signatures are kept") from refused
