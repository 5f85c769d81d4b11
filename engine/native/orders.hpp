// Orders: admit, match, rest, cancel, replace, and keep a customer from trading with themselves.
// The second half of engine.hpp.
#pragma once

#include "engine.hpp"

namespace strongroom {

// ------------------------------------------------------------------------ place

inline void Engine::place(const Place& command) {
    const u32 hash = client_hash(command.customer, command.client);
    u64 empty = 0;
    const u32 known = remembered(command.customer, command.client, hash, empty);
    if (known && is_same(memories_[known], command)) {
        auto& event = emit<Rejected>(Said::order_duplicate, command.no, command.customer);
        event.order = memories_[known].order, event.client = command.client;
        return;
    }
    Market* market = market_of(command.no);
    Why why = why_malformed(command, market, known != 0);
    u32 customer = 0;
    if (why == Why::nothing) {
        customer = risk_.customer(command.customer);
        why = why_not_now(command, *market, customer);
    }
    if (why != Why::nothing) return emit_rejected(command, command.no, command.client, 0, why);
    const bool sells = command.side == sell;
    Taker taker{book_.take(), risk_.account(customer, sells ? market->base : market->quote),
                risk_.open_account(customer, sells ? market->quote : market->base), memories_.take(), 0, market,
                sells, command.stp, command.price, command.lots, true, false};
    taker.order = sequence_ << slot_bits | (taker.index - 1);
    by_client_.put(empty, hash, taker.memory);
    remember(command, taker);
    if (market->sides[!sells].takes(sells ? -command.price : command.price)) match(taker);
    if (!taker.is_open) return;
    if (command.tif == gtc) {
        rest(taker);
        return join_customer(taker.index, customer);
    }
    end(taker);
    emit_closed(Said::order_cancelled, *market, command.customer, taker.order, taker.lots,
                u16(Cancelled::unfilled));
}

inline Why Engine::why_malformed(const Place& command, const Market* market, bool is_known) const {
    const i128 age_ns = i128(time_ns_) - command.issued_ns;
    if (market && market->is_too_large(command.price, command.lots)) return Why::amount_out_of_range;
    if (is_known) return Why::duplicate_other_content;
    if (age_ns > issue_age_limit_ns) return Why::issued_too_long_ago;
    if (age_ns < -issue_lead_limit_ns) return Why::issued_in_future;
    if (!market) return Why::unknown_market;
    if (market->status == Market::retired) return Why::market_retired;
    if (market->status == Market::halted) return Why::market_halted;
    if (command.price <= 0) return Why::invalid_price;
    if (market->is_outside_collar(command.price)) return Why::outside_collar;
    if (command.lots <= 0) return Why::invalid_quantity;
    const bool fits = command.post_only ? command.type == limit && command.tif == gtc
                                        : command.type == limit || command.tif == ioc;
    return fits ? Why::nothing : Why::invalid_combination;
}

inline Why Engine::why_not_now(const Place& command, Market& market, u32 customer) {
    if (open_orders_ >= limits_.open_orders || by_client_.count() >= limits_.remembered_orders ||
        (customer ? risk_.customers[customer].open_orders : 0) >= limits_.open_orders_per_customer)
        return Why::too_many_orders;
    const bool sells = command.side == sell;
    if (command.tif == gtc && market.has_no_level_left(sells, command.price, limits_.levels_per_side))
        return Why::too_many_levels;
    const Side& opposite = market.sides[!sells];
    if (command.post_only && opposite.takes(sells ? -command.price : command.price))
        return Why::would_cross;
    if (command.tif == fok && !can_fill(command, opposite, customer)) return Why::would_not_fill;
    const u32 given = customer ? risk_.account(customer, sells ? market.base : market.quote) : 0;
    const u128 available = given ? risk_.accounts[given].available : 0;
    const u128 lock = market.lock(sells, command.price, command.lots);
    return lock > available ? Why::exceeds_available : Why::nothing;
}

// Own orders never fill, and most ways of self-trade prevention end the taker when it meets them.
inline bool Engine::can_fill(const Place& command, const Side& opposite, u32 customer) const {
    const i64 limit_key = command.side == sell ? -command.price : command.price;
    i64 missing = command.lots;
    for (auto at = opposite.best(); at.level && at.key <= limit_key; at = opposite.after(at.key))
        for (u32 maker = book_[at.level].next; maker != at.level; maker = book_[maker].next) {
            if (risk_.accounts[book_[maker].given].customer == customer) {
                if (command.stp != cancel_oldest) return false;
                continue;
            }
            if (book_[maker].lots >= missing) return true;
            missing -= book_[maker].lots;
        }
    return false;
}

inline void Engine::remember(const Place& command, const Taker& taker) {
    Memory& memory = memories_[taker.memory];
    memory = {command.customer, command.no, options_of(command), flags_of(command), taker.order, command.price,
              command.lots, 0, command.client, {command.lots}};
    auto& event = emit<Accepted>(Said::order_accepted, command.no, command.customer);
    event.order = taker.order, event.client = command.client;
    event.price = command.price, event.lots = command.lots;
    event.side = command.side, event.type = command.type, event.tif = command.tif;
    event.post_only = command.post_only, event.stp = command.stp;
}

// ------------------------------------------------------------------------ match

// The taker's own money moves once, at the end: nothing of it is locked before it rests.
inline void Engine::match(Taker& taker) {
    Market& market = *taker.market;
    Side& side = market.sides[!taker.sells];
    const i64 limit_key = taker.sells ? -taker.price : taker.price;
    const u32 customer = risk_.accounts[taker.given].customer_no;
    u128 paid = 0, got = 0, taker_fees = 0, maker_fees = 0;
    while (taker.lots && side.takes(limit_key)) {
        const u32 index = book_[side.best_level].next;
        Node& maker = book_[index];
        if (maker.given == taker.received) {  // only a customer's own order gives from there
            if (!prevent_self_trade(taker, index)) break;
            continue;
        }
        if (taker.lots > maker.lots) prefetch_maker(maker.next);
        const i64 price = price_of(index), lots = std::min(taker.lots, maker.lots);
        market.last_ticks = price;
        const u128 give = market.lock(!taker.sells, price, lots), take = market.lock(taker.sells, price, lots);
        const u128 maker_fee = Risk::fee(take, market.maker_ppm), taker_fee = Risk::fee(give, market.taker_ppm);
        Account &giving = risk_.accounts[maker.given], &getting = risk_.accounts[book_.links[index].received];
        giving.locked -= give;
        getting.available += take - maker_fee;
        paid += take, got += give - taker_fee, maker_fees += maker_fee, taker_fees += taker_fee;
        maker.lots -= lots, taker.lots -= lots;
        auto& event = emit<Trade>(Said::trade, market.no, customer);
        event.taker = taker.order, event.maker = maker.id, event.price = price, event.lots = lots;
        event.maker_customer = giving.customer_no, event.taker_side = taker.sells ? sell : buy;
        event.taker_ppm = market.taker_ppm, event.maker_ppm = market.maker_ppm;
        if (!maker.lots) {
            const u64 order = maker.id;
            book_.unrest(side, index);
            leave_customer(index);
            close(index, book_.links[index].memory);
            emit_closed(Said::order_filled, market, giving.customer_no, order, 0, 0);
        }
    }
    if (paid) {
        risk_.accounts[taker.given].available -= paid;
        risk_.accounts[taker.received].available += got;
        risk_.asset(taker.sells ? market.quote : market.base).fees += taker_fees;
        risk_.asset(taker.sells ? market.base : market.quote).fees += maker_fees;
    }
    if (taker.lots || !taker.is_open) return;
    end(taker);
    emit_closed(Said::order_filled, market, customer, taker.order, 0, 0);
}

// Acts as the taker asked; returns whether it goes on matching.
inline bool Engine::prevent_self_trade(Taker& taker, u32 index) {
    const u32 customer = customer_no(index);
    const auto end_taker = [&] {
        end(taker);
        emit_closed(Said::order_cancelled, *taker.market, customer, taker.order, taker.lots,
                    u16(Cancelled::self_trade));
        return false;
    };
    if (taker.stp != decrement) {
        if (taker.stp != cancel_newest) cancel_resting(index, Cancelled::self_trade);
        return taker.stp == cancel_oldest || end_taker();
    }
    Node& maker = book_[index];
    const i64 reduced = std::min(taker.lots, maker.lots);
    unlock(maker.given, taker.market->lock(!taker.sells, price_of(index), reduced));
    maker.lots -= reduced, taker.lots -= reduced;
    memories_[book_.links[index].memory].closed_ns += reduced;
    memories_[taker.memory].closed_ns += reduced;
    emit_reduced(*taker.market, customer, maker.id, reduced, maker.lots);
    if (!maker.lots) cancel_resting(index, Cancelled::self_trade);
    emit_reduced(*taker.market, customer, taker.order, reduced, taker.lots);
    return taker.lots || end_taker();
}

inline void Engine::rest(const Taker& taker) {
    Market& market = *taker.market;
    const u128 lock = market.lock(taker.sells, taker.price, taker.lots);
    Account& account = risk_.accounts[taker.given];
    account.available -= lock;
    account.locked += lock;
    Node& order = book_[taker.index];
    order.id = taker.order, order.lots = taker.lots, order.given = taker.given;
    book_.links[taker.index].memory = taker.memory;
    book_.links[taker.index].received = taker.received;
    book_.rest(market.sides[taker.sells], taker.index, taker.price, u32(market.no) << 1 | taker.sells);
}

// --------------------------------------------------------------- cancel, replace

inline u32 Engine::order_index(u64 order) const {
    const u32 index = index_of(order);
    return order && index < book_.orders.top && book_[index].id == order ? index : 0;
}

inline u32 Engine::own_order(const OfOrder& command) const {
    const u32 index = order_index(command.order);
    return index && customer_no(index) == command.customer ? index : 0;
}

inline void Engine::cancel_order(const OfOrder& command) {
    if (const u32 index = own_order(command)) return cancel_resting(index, Cancelled::requested);
    emit_rejected(command, 0, {}, command.order, Why::unknown_order);
}

inline u32 Engine::cancel_all(u32 customer_no, u16 market_no, Cancelled why) {  // oldest first
    const u32 customer = risk_.customer(customer_no);
    u32 index = customer ? risk_.customers[customer].newest_order : 0, count = 0;
    while (index && book_.links[index].older) index = book_.links[index].older;
    while (index) {
        const u32 newer = book_.links[index].newer;
        if (!market_no || market_of_order(index).no == market_no) cancel_resting(index, why), ++count;
        index = newer;
    }
    return count;
}

inline void Engine::replace(const OfOrder& command) {
    const u32 index = own_order(command);
    if (!index) return emit_rejected(command, 0, {}, command.order, Why::unknown_order);
    Market& market = market_of_order(index);
    const Why why = why_not_replace(command, index);
    if (why != Why::nothing) return emit_rejected(command, market.no, {}, command.order, why);
    Node& order = book_[index];
    Memory& memory = memories_[book_.links[index].memory];
    const bool is_sell = sells(index);
    const i64 price = price_of(index), before = order.lots, lots = command.lots - (memory.total - before);
    const bool keeps_priority = command.price == price && lots < before;
    memory.total = command.lots;
    unlock(order.given, market.lock(is_sell, price, keeps_priority ? before - lots : before));
    if (keeps_priority) order.lots = lots;
    else book_.unrest(market.sides[is_sell], index);
    auto& event = emit<Changed>(Said::order_replaced, market.no, command.customer);
    event.order = command.order, event.price_or_reduced = command.price;
    event.total_or_remaining = command.lots, event.remaining = lots, event.kept = keeps_priority;
    if (keeps_priority) return;
    Taker taker{};
    taker.index = index, taker.given = order.given, taker.received = book_.links[index].received;
    taker.memory = book_.links[index].memory, taker.order = command.order, taker.market = &market;
    taker.sells = is_sell, taker.stp = memory.flags >> 1, taker.price = command.price, taker.lots = lots;
    taker.is_open = taker.is_listed = true;
    if (market.sides[!is_sell].takes(is_sell ? -command.price : command.price)) match(taker);
    if (taker.is_open) rest(taker);
}

inline Why Engine::why_not_replace(const OfOrder& command, u32 index) {
    const Market& market = market_of_order(index);
    const Node& order = book_[index];
    const Memory& memory = memories_[book_.links[index].memory];
    const bool is_sell = sells(index);
    const i64 done = memory.total - order.lots;
    if (market.is_too_large(command.price, command.lots)) return Why::amount_out_of_range;
    if (market.status == Market::halted) return Why::market_halted;
    if (command.price <= 0) return Why::invalid_price;
    if (market.is_outside_collar(command.price)) return Why::outside_collar;
    if (command.lots <= done) return Why::invalid_quantity;
    if (market.has_no_level_left(is_sell, command.price, limits_.levels_per_side)) return Why::too_many_levels;
    if (memory.flags & 1 && market.sides[!is_sell].takes(is_sell ? -command.price : command.price))
        return Why::would_cross;
    const u128 free = risk_.accounts[order.given].available;
    const u128 locked = market.lock(is_sell, price_of(index), order.lots);
    const u128 lock = market.lock(is_sell, command.price, command.lots - done);
    return lock > free + locked ? Why::exceeds_available : Why::nothing;
}

// ----------------------------------------------------------- the life of an order

inline void Engine::cancel_resting(u32 index, Cancelled why) {
    const Node& order = book_[index];
    Market& market = market_of_order(index);
    const bool is_sell = sells(index);
    const u32 customer = customer_no(index);
    const u64 id = order.id;
    const i64 lots = order.lots;
    unlock(order.given, market.lock(is_sell, price_of(index), lots));
    book_.unrest(market.sides[is_sell], index);
    leave_customer(index);
    close(index, book_.links[index].memory);
    emit_closed(Said::order_cancelled, market, customer, id, lots, u16(why));
}

inline void Engine::join_customer(u32 index, u32 customer) {
    Customer& who = risk_.customers[customer];
    book_.links[index].older = who.newest_order;
    book_.links[index].newer = 0;
    if (who.newest_order) book_.links[who.newest_order].newer = index;
    who.newest_order = index;
    ++who.open_orders, ++open_orders_;
}

inline void Engine::leave_customer(u32 index) {
    Customer& who = risk_.customers[risk_.accounts[book_[index].given].customer];
    const Links& links = book_.links[index];
    if (links.older) book_.links[links.older].newer = links.newer;
    if (links.newer) book_.links[links.newer].older = links.older;
    else who.newest_order = links.older;
    --who.open_orders, --open_orders_;
}

inline void Engine::end(Taker& taker) {
    if (taker.is_listed) leave_customer(taker.index);
    close(taker.index, taker.memory);
    taker.is_open = false;
}

inline void Engine::close(u32 index, u32 memory) {
    book_[index].id = 0;
    book_.orders.give_back(index);
    memories_[memory].closed_ns = time_ns_;
    remember_closed(memory);
}

inline void Engine::remember_closed(u32 memory) {
    memories_[memory].next = 0;
    if (closed_last_) memories_[closed_last_].next = memory;
    else closed_first_ = memory;
    closed_last_ = memory;
}

inline void Engine::forget_before(i64 time_ns) {
    while (closed_first_) {
        const u32 index = closed_first_;
        const Memory& memory = memories_[index];
        if (i128(memory.closed_ns) + remember_ns >= time_ns) return;
        by_client_.drop(client_hash(memory.customer, memory.client), index);
        closed_first_ = memory.next;
        if (!closed_first_) closed_last_ = 0;
        memories_.give_back(index);
    }
}

}  // namespace strongroom
