"""An independent engine in the most naive way: one list of orders, everything recomputed.

Shares no code with engine/reference*.py: no levels, no queues, no running locks or holds. Locks are
summed over the open orders whenever somebody asks, and whom an order meets is found by sorting all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine import commands as c
from engine.base import Limits
from engine.enums import OrderKind, SelfTrade, Side, TimeInForce

Row = tuple[object, ...]
DAY, MINUTE, LIMIT = 86_400 * 10**9, 60 * 10**9, 1 << 96


@dataclass
class Open:
    """One line of the list."""

    serial: int
    arrived: int
    who: int
    client: int
    market: int
    buys: bool
    price: int
    size: int
    left: int
    how: SelfTrade
    post: bool


class Naive:
    """Answers each command with plain rows; orders are named by (customer, client id)."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now = self.serial = self.number = 0
        self.assets: set[int] = set()
        self.markets: dict[int, dict[str, int]] = {}
        self.halted: set[int] = set()
        self.retired: set[int] = set()
        self.collars: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.cash: dict[tuple[int, int], int] = {}
        self.entered: dict[int, int] = {}
        self.holds: dict[int, tuple[int, int, int]] = {}
        self.book: list[Open] = []
        self.seen: dict[tuple[int, int], tuple[c.PlaceOrder, int | None]] = {}
        self.names: dict[int, tuple[int, int]] = {}
        self.rows: list[Row] = []

    # ---- money

    def lock(self, market: int, buys: bool, price: int, lots: int) -> tuple[int, int]:
        m = self.markets[market]
        return (m["quote"], price * lots * m["tick"]) if buys else (m["base"], lots * m["lot"])

    def locked(self, who: int, asset: int) -> int:
        locks = [self.lock(o.market, o.buys, o.price, o.left) for o in self.book if o.who == who]
        return sum(amount for of, amount in locks if of == asset)

    def held(self, who: int, asset: int) -> int:
        return sum(h[2] for h in self.holds.values() if h[:2] == (who, asset))

    def free(self, who: int, asset: int) -> int:
        return self.cash.get((who, asset), 0) - self.locked(who, asset) - self.held(who, asset)

    def move(self, who: int, asset: int, amount: int) -> None:
        self.cash[who, asset] = self.cash.get((who, asset), 0) + amount

    # ---- entry

    def apply(self, command: c.Command, now: int) -> list[Row]:
        self.now, self.rows = now, []
        self.serial += 1
        limit = now - DAY - MINUTE
        late = [key for key, (_, closed) in self.seen.items() if closed and closed < limit]
        for key in late:
            del self.seen[key]
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(command).__name__).lower()
        getattr(self, f"on_{name}")(command)
        return self.rows

    def say(self, *row: object) -> None:
        self.rows.append(row)

    def on_add_asset(self, k: c.AddAsset) -> None:
        self.assets.add(k.asset_no)
        self.say("config", "")

    def on_add_market(self, k: c.AddMarket) -> None:
        m = {
            "base": k.base_asset_no, "quote": k.quote_asset_no, "tick": k.tick_minor,
            "lot": k.lot_minor, "maker": k.maker_ppm, "taker": k.taker_ppm,
        }  # fmt: skip
        bad = k.maker_ppm > 10**6 or k.taker_ppm > 10**6
        other = self.markets.setdefault(k.market_no, m) != m if not bad else False
        reason = "AMOUNT_OUT_OF_RANGE" if bad else "EXISTS_WITH_OTHER_CONTENT" if other else ""
        self.configured(k.market_no, reason)

    def configured(self, market: int, reason: str) -> bool:
        if not reason and market not in self.markets:
            reason = "UNKNOWN_MARKET"
        if not reason and market in self.retired:
            reason = "MARKET_RETIRED"
        self.say("config", reason)
        return not reason

    def on_set_market_fees(self, k: c.SetMarketFees) -> None:
        bad = k.maker_ppm > 10**6 or k.taker_ppm > 10**6
        if self.configured(k.market_no, "AMOUNT_OUT_OF_RANGE" if bad else ""):
            self.markets[k.market_no] |= {"maker": k.maker_ppm, "taker": k.taker_ppm}

    def on_set_market_collar(self, k: c.SetMarketCollar) -> None:
        bad = k.collar_ppm > 10**8 or k.reference_ticks < 0
        if self.configured(k.market_no, "AMOUNT_OUT_OF_RANGE" if bad else ""):
            self.collars[k.market_no] = k.collar_ppm
            if k.reference_ticks > 0:
                self.last[k.market_no] = k.reference_ticks
            self.rows[-1] += (self.last.get(k.market_no, 0),)

    def on_halt_market(self, k: c.HaltMarket) -> None:
        if self.configured(k.market_no, ""):
            self.halted.add(k.market_no)

    def on_resume_market(self, k: c.ResumeMarket) -> None:
        if self.configured(k.market_no, ""):
            self.halted.discard(k.market_no)

    def on_retire_market(self, k: c.RetireMarket) -> None:
        if self.configured(k.market_no, ""):
            answer = self.rows.pop()
            gone = [o for o in self.book if o.market == k.market_no]
            for order in sorted(gone, key=lambda o: o.serial):
                self.close(order, "MARKET_RETIRED")
            self.retired.add(k.market_no)
            self.rows.append(answer)

    # ---- orders

    def targets(self, market: int, buys: bool, price: int) -> list[Open]:
        """Everything an order would meet, in order."""
        hit = [
            o for o in self.book
            if o.market == market and o.buys != buys
            and (o.price <= price if buys else o.price >= price)
        ]  # fmt: skip
        return sorted(hit, key=lambda o: (o.price if buys else -o.price, o.arrived))

    def on_place_order(self, k: c.PlaceOrder) -> None:
        key = (k.customer_no, k.client_order_id)
        first = self.seen.get(key)
        if first and self.same(first[0], k):
            self.say("duplicate", *key)
            return
        reason = self.refusal(k, first is not None)
        if reason:
            self.say("rejected", reason)
            return
        buys = k.side is Side.BUY
        order = Open(
            self.serial, self.serial, *key, k.market_no, buys, k.price_ticks, k.quantity_lots,
            k.quantity_lots, k.stp, k.post_only,
        )  # fmt: skip
        self.seen[key] = (k, None)
        self.names[self.serial] = key
        self.book.append(order)
        self.say("accepted", *key)
        self.run(order)
        if order.left and order in self.book and k.tif is not TimeInForce.GTC:
            self.close(order, "UNFILLED")

    def same(self, a: c.PlaceOrder, b: c.PlaceOrder) -> bool:
        names = ["market_no", "side", "price_ticks", "quantity_lots"]
        names += ["kind", "tif", "post_only", "stp"]
        return all(getattr(a, name) == getattr(b, name) for name in names)

    def refusal(self, k: c.PlaceOrder, known: bool) -> str:
        m = self.markets.get(k.market_no)
        buys, age = k.side is Side.BUY, self.now - k.issued_ns
        sound = k.price_ticks > 0 and k.quantity_lots > 0
        big = m and sound and self.is_big(m, k)
        gtc, ioc = k.tif is TimeInForce.GTC, k.tif is TimeInForce.IOC
        market_order = k.kind is OrderKind.MARKET
        fixed = {
            "AMOUNT_OUT_OF_RANGE": bool(big),
            "DUPLICATE_OTHER_CONTENT": known,
            "ISSUED_TOO_LONG_AGO": age > DAY,
            "ISSUED_IN_FUTURE": age < -MINUTE,
            "UNKNOWN_MARKET": m is None,
            "MARKET_RETIRED": k.market_no in self.retired,
            "MARKET_HALTED": k.market_no in self.halted,
            "INVALID_PRICE": k.price_ticks <= 0,
            "OUTSIDE_COLLAR": self.is_far(k.market_no, k.price_ticks),
            "INVALID_QUANTITY": k.quantity_lots <= 0,
            "INVALID_COMBINATION": (k.post_only and (market_order or not gtc))
            or (market_order and not ioc),
            "TOO_MANY_ORDERS": self.is_full(k.customer_no),
            "TOO_MANY_LEVELS": gtc and self.is_crowded(k.market_no, buys, k.price_ticks),
        }
        for reason, holds in fixed.items():
            if holds:
                return reason
        met = self.targets(k.market_no, buys, k.price_ticks)
        if k.post_only and met:
            return "WOULD_CROSS"
        if k.tif is TimeInForce.FOK and self.fillable(k, met) < k.quantity_lots:
            return "WOULD_NOT_FILL"
        asset, amount = self.lock(k.market_no, buys, k.price_ticks, k.quantity_lots)
        return "EXCEEDS_AVAILABLE" if amount > self.free(k.customer_no, asset) else ""

    def is_far(self, market: int, price: int) -> bool:
        last, ppm = self.last.get(market, 0), self.collars.get(market, 0)
        low, high = last * (10**6 - ppm), last * (10**6 + ppm)
        return last > 0 and ppm > 0 and not low <= price * 10**6 <= high

    def is_full(self, who: int) -> bool:
        counts = (len(self.book), sum(o.who == who for o in self.book), len(self.seen))
        limits = self.limits
        most = (limits.open_orders, limits.open_orders_per_customer, limits.remembered_orders)
        return any(count >= limit for count, limit in zip(counts, most, strict=True))

    def is_crowded(self, market: int, buys: bool, price: int) -> bool:
        prices = {o.price for o in self.book if (o.market, o.buys) == (market, buys)}
        return price not in prices and len(prices) >= self.limits.levels_per_side

    def is_big(self, m: dict[str, int], k: c.PlaceOrder | c.ReplaceOrder) -> bool:
        quote = k.price_ticks * k.quantity_lots * m["tick"]
        return quote >= LIMIT or k.quantity_lots * m["lot"] >= LIMIT

    def fillable(self, k: c.PlaceOrder, met: list[Open]) -> int:
        total = 0
        for o in met:
            if o.who != k.customer_no:
                total += o.left
            elif k.stp is not SelfTrade.CANCEL_OLDEST:
                break
        return total

    def run(self, taker: Open) -> None:
        for maker in self.targets(taker.market, taker.buys, taker.price):
            if not taker.left or taker not in self.book:
                break
            if maker.who == taker.who:
                self.own(taker, maker)
            else:
                self.trade(taker, maker)
        if taker in self.book and not taker.left:
            self.close(taker, "")

    def own(self, taker: Open, maker: Open) -> None:
        if taker.how is SelfTrade.DECREMENT:
            lots = min(taker.left, maker.left)
            for o in (maker, taker):
                o.left -= lots
                self.say("reduced", o.who, o.client, lots)
                if not o.left:
                    self.close(o, "SELF_TRADE")
            return
        if taker.how in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
            self.close(maker, "SELF_TRADE")
        if taker.how in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH):
            self.close(taker, "SELF_TRADE")

    def trade(self, taker: Open, maker: Open) -> None:
        m, lots = self.markets[taker.market], min(taker.left, maker.left)
        buyer, seller = (taker, maker) if taker.buys else (maker, taker)
        base, quote = lots * m["lot"], lots * maker.price * m["tick"]
        rate = {id(taker): m["taker"], id(maker): m["maker"]}
        base_fee = (base * rate[id(buyer)] + 999_999) // 10**6
        quote_fee = (quote * rate[id(seller)] + 999_999) // 10**6
        self.move(buyer.who, m["quote"], -quote)
        self.move(buyer.who, m["base"], base - base_fee)
        self.move(seller.who, m["base"], -base)
        self.move(seller.who, m["quote"], quote - quote_fee)
        taker.left -= lots
        maker.left -= lots
        self.last[taker.market] = maker.price
        self.say("trade", taker.who, taker.client, maker.who, maker.client, maker.price, lots)
        if not maker.left:
            self.close(maker, "")

    def close(self, order: Open, reason: str) -> None:
        self.book.remove(order)
        key = (order.who, order.client)
        self.seen[key] = (self.seen[key][0], self.now)
        self.say("cancelled", *key, order.left, reason) if reason else self.say("filled", *key)

    def mine(self, who: int, order_id: int) -> Open | None:
        name = self.names.get(order_id >> 24)
        return next((o for o in self.book if (o.who, o.client) == name and o.who == who), None)

    def on_cancel_order(self, k: c.CancelOrder) -> None:
        order = self.mine(k.customer_no, k.order_id)
        self.close(order, "REQUESTED") if order else self.say("rejected", "UNKNOWN_ORDER")

    def on_cancel_all(self, k: c.CancelAll) -> None:
        own = [o for o in self.book if o.who == k.customer_no and k.market_no in (0, o.market)]
        for order in sorted(own, key=lambda o: o.serial):
            self.close(order, "REQUESTED")
        self.say("all", len(own))

    def on_replace_order(self, k: c.ReplaceOrder) -> None:
        order = self.mine(k.customer_no, k.order_id)
        reason = self.no_replace(order, k) if order else "UNKNOWN_ORDER"
        if reason or not order:
            self.say("rejected", reason)
            return
        left = k.quantity_lots - (order.size - order.left)
        stays = k.price_ticks == order.price and left < order.left
        order.price, order.size, order.left = k.price_ticks, k.quantity_lots, left
        self.say("replaced", order.who, order.client, left, stays)
        if not stays:
            order.arrived = self.serial
            self.run(order)

    def no_replace(self, o: Open, k: c.ReplaceOrder) -> str:
        m, left = self.markets[o.market], k.quantity_lots - (o.size - o.left)
        sound = k.price_ticks > 0 and k.quantity_lots > 0
        if sound and self.is_big(m, k):
            return "AMOUNT_OUT_OF_RANGE"
        if o.market in self.halted:
            return "MARKET_HALTED"
        if k.price_ticks <= 0:
            return "INVALID_PRICE"
        if self.is_far(o.market, k.price_ticks):
            return "OUTSIDE_COLLAR"
        if left <= 0:
            return "INVALID_QUANTITY"
        if self.is_crowded(o.market, o.buys, k.price_ticks):
            return "TOO_MANY_LEVELS"
        if o.post and self.targets(o.market, o.buys, k.price_ticks):
            return "WOULD_CROSS"
        asset, old = self.lock(o.market, o.buys, o.price, o.left)
        _, new = self.lock(o.market, o.buys, k.price_ticks, left)
        return "EXCEEDS_AVAILABLE" if new - old > self.free(o.who, asset) else ""

    # ---- funding

    def fund(self, k: c.FundingCommand, reason: str) -> bool:
        """Say why not, or return that the command goes on."""
        if k.number <= self.number:
            self.say("repeated", k.number)
            return False
        self.number += 1
        if reason:
            self.say("refused", k.number, reason)
        return not reason

    def money(self, k: c.Credit | c.Debit | c.Hold) -> str:
        if k.asset_no not in self.assets:
            return "UNKNOWN_ASSET"
        return "" if k.amount else "ZERO_AMOUNT"

    def on_credit(self, k: c.Credit) -> None:
        if self.fund(k, self.money(k)):
            self.move(k.customer_no, k.asset_no, k.amount)
            self.say("credited", k.number, k.amount)

    def on_debit(self, k: c.Debit) -> None:
        if self.fund(k, self.money(k)):
            for order in sorted(self.book, key=lambda o: o.serial):
                if order.who == k.customer_no:
                    self.close(order, "DEBIT")
            taken = min(k.amount, self.free(k.customer_no, k.asset_no))
            self.move(k.customer_no, k.asset_no, -taken)
            self.say("debited", k.number, taken, k.amount - taken)

    def on_hold(self, k: c.Hold) -> None:
        short = k.amount > self.free(k.customer_no, k.asset_no)
        if self.fund(k, self.money(k) or ("EXCEEDS_AVAILABLE" if short else "")):
            self.holds[k.number] = (k.customer_no, k.asset_no, k.amount)
            self.say("held", k.number, k.amount)

    def on_capture(self, k: c.Capture) -> None:
        if self.unhold(k):
            self.move(k.customer_no, k.asset_no, -k.amount)
            self.say("captured", k.number, k.hold_number, k.amount)

    def on_release(self, k: c.Release) -> None:
        if self.unhold(k):
            self.say("released", k.number, k.hold_number, k.amount)

    def unhold(self, k: c.Capture | c.Release) -> bool:
        hold = self.holds.get(k.hold_number)
        same = hold == (k.customer_no, k.asset_no, k.amount)
        reason = "" if same else "EXISTS_WITH_OTHER_CONTENT" if hold else "UNKNOWN_HOLD"
        if not self.fund(k, reason):
            return False
        del self.holds[k.hold_number]
        return True
