"""What blocks of the fake chain hold and how transactions change balances. No I/O, no history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chains.base import NATIVE, Coin, ItemStatus, Payment, SpendIntent
from chains.fake.coin_tx import SignedCoinTx
from chains.fake.tx import FakeTx, SignedFakeTx
from core.money import PPM, ceil_div

UNITS_NATIVE = 21
UNITS_TOKEN = 65
UNITS_BATCH = 30
"""Of a batch besides its items, each of which takes what it would alone."""


@dataclass(frozen=True, slots=True)
class Output:
    """One movement of an arrival, delivered <= claimed.

    Silent money makes no event: native coin is then found by its balance and unexplained, a token
    is not seen at all.
    """

    to: str
    asset_key: str
    delivered: int
    claimed: int
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody else's transaction: money from outside the world, no signature, no nonce."""

    tx_id: str
    from_address: str
    outputs: tuple[Output, ...]
    fails: bool = False
    uses: str = ""
    """An outsider's coin: of the arrivals that use the same one, a branch holds one at most."""


Tx = SignedFakeTx | SignedCoinTx | Arrival


@dataclass(frozen=True, slots=True)
class Token:
    """A token contract: what it keeps of each transfer and whether it is willing to move at all."""

    key: str
    symbol: str
    scale: int
    listed: bool
    kept_ppm: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Laws:
    """Everything besides the transactions that decides how a block turns out."""

    base_rate: int
    tokens: Mapping[str, Token]
    refusing: frozenset[str] = frozenset()
    """Destinations to which every transfer reverts."""
    contracts: frozenset[str] = frozenset()
    """Addresses where code stands instead of a key."""
    spends_coins: bool = False
    """Money in the native asset is coins, which transactions use up."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a transaction did in a block. Failed ones pay nobody and still cost their fee."""

    tx_id: str
    sender: str | None
    nonce: int | None
    succeeded: bool
    fee: int
    effect_amount: int
    payments: tuple[Payment, ...]
    items: tuple[ItemStatus, ...] = ()
    used: tuple[str, ...] = ()
    """The coins it used up."""


@dataclass(slots=True)
class State:
    """Balances by (address, asset) and the number of spent nonces by sender, after one block.

    Where coins are spent, they add up to the native balances.
    """

    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    nonces: dict[str, int] = field(default_factory=dict)
    coins: dict[str, Coin] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    """Outsiders' coins that arrivals have used."""

    def copy(self) -> State:
        """Return a state that can change without this one."""
        return State(dict(self.balances), dict(self.nonces), dict(self.coins), set(self.outside))

    def balance(self, address: str, asset_key: str) -> int:
        """Return a balance in minor units."""
        return self.balances.get((address, asset_key), 0)

    def move(self, address: str, asset_key: str, delta: int) -> None:
        """Change one balance; the world never lets it become negative."""
        balance = self.balance(address, asset_key) + delta
        assert balance >= 0, f"{address} would own {balance} of {asset_key}"
        self.balances[address, asset_key] = balance


def execute(tx: Tx, state: State, laws: Laws) -> Receipt | None:
    """Apply a transaction to the state. None, and no change, when it cannot be included now."""
    if isinstance(tx, Arrival):
        return None if tx.uses in state.outside else _arrive(tx, state, laws)
    return spend_coins(tx, state, laws) if isinstance(tx, SignedCoinTx) else _spend(tx, state, laws)


def native_needed(signed: SignedFakeTx) -> int:
    """Return the native units a sender must own before nodes take the transaction."""
    return signed.tx.fee_max + (signed.tx.amount if signed.tx.asset_key == NATIVE else 0)


def spend_coins(signed: SignedCoinTx, state: State, laws: Laws) -> Receipt | None:
    """Use up coins and make new ones. None, and no change, when one of them is not there."""
    tx = signed.tx
    if tx.rate < laws.base_rate or not has_coins(signed, state):
        return None
    owners = {coin.owner for coin in tx.inputs}
    for coin in tx.inputs:
        del state.coins[coin.outpoint]
        state.move(coin.owner, NATIVE, -coin.amount)
    for position, (to, amount) in enumerate(tx.outputs):
        make_coin(state, signed.tx_id, position, to, amount)
    paid = [amount for to, amount in tx.outputs if to not in owners]
    return Receipt(
        signed.tx_id, tx.inputs[0].owner, None, succeeded=True, fee=tx.fee,
        effect_amount=sum(paid), payments=coin_payments(signed),
        items=tuple(ItemStatus(paid=True, amount=amount) for amount in paid),
        used=tuple(coin.outpoint for coin in tx.inputs),
    )  # fmt: skip


def has_coins(signed: SignedCoinTx, state: State) -> bool:
    """Return whether everything that a transaction uses up is there."""
    return all(state.coins.get(coin.outpoint) == coin for coin in signed.tx.inputs)


def make_coin(state: State, tx_id: str, position: int, to: str, amount: int) -> None:
    """Put a new coin where a transaction's output says."""
    name = f"{tx_id}:{position}"
    state.coins[name] = Coin(name, to, amount)
    state.move(to, NATIVE, amount)


def coin_payments(signed: SignedCoinTx) -> tuple[Payment, ...]:
    """Return what a transaction pays, change included."""
    return tuple(
        _payment(
            signed.tx_id, position, NATIVE, to=to, sender=signed.tx.inputs[0].owner,
            delivered=amount, claimed=amount,
        )
        for position, (to, amount) in enumerate(signed.tx.outputs)
    )  # fmt: skip


def arrival_payments(tx: Arrival) -> tuple[Payment, ...]:
    """Return what an outsider's transaction says that it pays."""
    return tuple(
        _payment(
            tx.tx_id, position, output.asset_key, to=output.to, sender=tx.from_address,
            delivered=output.delivered, claimed=output.claimed,
        )
        for position, output in enumerate(() if tx.fails else tx.outputs)
    )  # fmt: skip


def _arrive(tx: Arrival, state: State, laws: Laws) -> Receipt:
    payments = []
    if tx.uses:
        state.outside.add(tx.uses)
    for position, output in enumerate(() if tx.fails else tx.outputs):
        if laws.spends_coins and output.asset_key == NATIVE:
            make_coin(state, tx.tx_id, position, output.to, output.delivered)
            payments.append(arrival_payments(tx)[position])
            continue
        state.move(output.to, output.asset_key, output.delivered)
        if output.silent and output.asset_key == NATIVE and output.delivered:
            payments.append(_unexplained(tx.tx_id, output))
        elif output.claimed and not output.silent:
            payments.append(
                _payment(
                    tx.tx_id,
                    position,
                    output.asset_key,
                    to=output.to,
                    sender=tx.from_address,
                    delivered=output.delivered,
                    claimed=output.claimed,
                )
            )
    return Receipt(
        tx_id=tx.tx_id,
        sender=None,
        nonce=None,
        succeeded=not tx.fails,
        fee=0,
        effect_amount=sum(payment.amount for payment in payments),
        payments=tuple(payments),
    )


def _spend(signed: SignedFakeTx, state: State, laws: Laws) -> Receipt | None:
    tx, sender = signed.tx, signed.sender
    if tx.nonce != state.nonces.get(sender, 0) or tx.max_rate < laws.base_rate:
        return None
    if state.balance(sender, NATIVE) < native_needed(signed):
        return None
    needed = units_of(tx.asset_key, len(tx.items))
    fee = min(tx.max_rate, laws.base_rate + tx.tip_rate) * min(tx.units, needed)
    state.nonces[sender] = tx.nonce + 1
    state.move(sender, NATIVE, -fee)
    if tx.units < needed:
        return Receipt(signed.tx_id, sender, tx.nonce, succeeded=False, fee=fee, effect_amount=0,
                       payments=())  # fmt: skip
    payments: list[Payment] = []
    items: list[ItemStatus] = []
    for position, (to, amount) in enumerate(tx.items or ((tx.to, tx.amount),)):
        is_paid = pays(state, laws, sender, to, tx.asset_key, amount)
        delivered = _move(state, laws, tx, sender, to, amount) if is_paid else 0
        items.append(ItemStatus(is_paid, delivered))
        if is_paid and amount and to != sender:
            payments.append(
                _payment(
                    signed.tx_id, position, tx.asset_key, to=to, sender=sender,
                    delivered=delivered, claimed=amount,
                )
            )  # fmt: skip
    return Receipt(
        signed.tx_id,
        sender,
        tx.nonce,
        succeeded=bool(tx.items) or items[0].paid,
        fee=fee,
        effect_amount=sum(item.amount for item in items),
        payments=tuple(payments),
        items=tuple(items) if tx.items else (),
    )


def units_of(asset_key: str, items: int) -> int:
    """Return the units that a transaction takes; items 0: it is no batch."""
    each = UNITS_NATIVE if asset_key == NATIVE else UNITS_TOKEN
    return UNITS_BATCH + items * each if items else each


def pays(state: State, laws: Laws, sender: str, to: str, asset_key: str, amount: int) -> bool:
    """Return whether one transfer succeeds on a state."""
    token = laws.tokens.get(asset_key)
    moves = asset_key == NATIVE or (token is not None and not token.paused)
    return moves and to not in laws.refusing and state.balance(sender, asset_key) >= amount


def payable(intent: SpendIntent, state: State, laws: Laws) -> tuple[bool, ...]:
    """Return which items of a batch would be paid; uses the state up."""
    found = []
    for one in intent.items:
        found.append(
            pays(state, laws, intent.source, one.destination, intent.asset_key, one.amount)
        )
        if found[-1]:
            state.move(intent.source, intent.asset_key, -one.amount)
    return tuple(found)


def _move(state: State, laws: Laws, tx: FakeTx, sender: str, to: str, amount: int) -> int:
    token = laws.tokens.get(tx.asset_key)
    delivered = amount - (ceil_div(amount * token.kept_ppm, PPM) if token else 0)
    state.move(sender, tx.asset_key, -amount)
    state.move(to, tx.asset_key, delivered)
    return delivered


def _unexplained(tx_id: str, output: Output) -> Payment:
    return Payment(
        tx_id=tx_id,
        position=f"balance:{output.to}",
        asset_key=NATIVE,
        to_address=output.to,
        from_address=None,
        amount=output.delivered,
        claimed=0,
        anomaly="unexplained_balance",
    )


def _payment(
    tx_id: str,
    position: int,
    asset_key: str,
    *,
    to: str,
    sender: str,
    delivered: int,
    claimed: int,
) -> Payment:
    anomaly = None
    if delivered < claimed:
        anomaly = "delivered_less" if delivered else "not_delivered"
    return Payment(
        tx_id=tx_id,
        position=str(position),
        asset_key=asset_key,
        to_address=to,
        from_address=sender,
        amount=delivered,
        claimed=claimed,
        anomaly=anomaly,
    )
