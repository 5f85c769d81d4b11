// The state machine of engine/reference.py over native memory: a batch of commands in, events out.
#pragma once

#include <sys/random.h>

#include <memory>

#include "book.hpp"
#include "risk.hpp"

namespace strongroom {

constexpr i64 second_ns = 1'000'000'000, day_ns = 86'400 * second_ns;
constexpr i64 issue_age_limit_ns = day_ns, issue_lead_limit_ns = 60 * second_ns;
constexpr i64 remember_ns = issue_age_limit_ns + issue_lead_limit_ns;
constexpr u64 slot_bits = 24, sequence_limit = u64(1) << (64 - slot_bits), batch_most = 1 << 16;
constexpr u128 amount_limit = u128(1) << 96, supply_limit = u128(1) << 127;
constexpr u32 ppm_limit = 1'000'000, collar_limit = 100 * ppm_limit;
// Bits 1..7, 16..19 and 32..36: the numbers of Kind.
constexpr u64 known_kinds = u64(127) << 1 | u64(15) << 16 | u64(31) << 32;
constexpr const char* out_of_memory = "out of memory";

struct Limits { u64 open_orders, open_orders_per_customer, remembered_orders, levels_per_side; };

struct Memory {  // an accepted order as its customer sent it, kept for a day after it is closed
    u32 customer; u16 market; u8 options, flags; u64 order; i64 price, lots;
    i64 closed_ns;     // while the order is open: lots that self-trade prevention took off
    Wide client;
    union { i64 total; u32 next; };  // while it is open: present quantity; then the one closed next
};
static_assert(sizeof(Memory) == 64);
inline u8 options_of(const Place& is) { return u8(is.side | is.type << 2 | is.tif << 4); }
inline u8 flags_of(const Place& is) { return u8(is.post_only | is.stp << 1); }
inline bool is_same(const Memory& was, const Place& is) {
    return was.market == is.no && was.options == options_of(is) && was.flags == flags_of(is) &&
           was.price == is.price && was.lots == is.lots;
}

struct Market {
    explicit Market(Pool<FarCell>* cells) : sides{Side(cells), Side(cells)} {}
    enum Status : u8 { trading, halted, retired };
    bool is_open = false;
    u8 status = trading;
    u16 no = 0, base = 0, quote = 0;
    u32 maker_ppm = 0, taker_ppm = 0, collar_ppm = 0;
    i64 last_ticks = 0;  // price of the last trade, or the one a command put in its place
    u128 tick = 0, lot = 0, notional_most = 0, lots_most = 0;  // the last two: of an amount < 2^96
    Side sides[2];  // bids, asks

    void open(const AddMarket& as) {
        is_open = true, no = as.no, base = as.base, quote = as.quote;
        maker_ppm = as.maker_ppm, taker_ppm = as.taker_ppm, tick = as.tick, lot = as.lot;
        notional_most = (amount_limit - 1) / tick, lots_most = (amount_limit - 1) / lot;
    }
    bool is_too_large(i64 price, i64 quantity) const {  // one of its amounts is 2^96 or more
        if (price <= 0 || quantity <= 0) return false;
        return u128(price) * u128(quantity) > notional_most || u128(quantity) > lots_most;
    }
    bool is_outside_collar(i64 price) const {
        if (!collar_ppm || !last_ticks) return false;
        const u128 away = u64(price > last_ticks ? price - last_ticks : last_ticks - price);
        return away * ppm_limit > u128(collar_ppm) * u64(last_ticks);
    }
    bool has_no_level_left(bool sells, i64 price, u64 most) const {
        return sides[sells].level_count >= most && !sides[sells].has(sells ? price : -price);
    }
    u128 lock(bool sells, i64 price, i64 quantity) const {
        return sells ? u128(quantity) * lot : u128(price) * u128(quantity) * tick;
    }
};

struct Taker {
    u32 index, given, received, memory;
    u64 order;
    Market* market;
    bool sells;
    u8 stp;
    i64 price, lots;
    bool is_open, is_listed;  // listed: among the customer's open orders, because it is replaced
};

struct Ahead {  // some of the commands to come, and what is guessed of them
    static constexpr u64 size = 16;
    const Place* places[size + 1];
    u32 orders[size + 1], customers[size];
    const Market* markets[size];
    const u32* levels[size];
    u32 place_count, order_count;
};

class Engine {
  public:
    explicit Engine(const Limits& limits);

    // Why the batch cannot be applied (nothing of it was then), or null: `events()` holds the answer.
    const char* apply(const u8* records, u64 count, u64 first_sequence, i64 time_ns);
    const char* unfit(const u8* records, u64 count, u64 first_sequence, i64 time_ns);  // as apply would say
    const u8* events() const { return out_memory_.at(); }
    u64 event_bytes() const { return u64(reinterpret_cast<const u8*>(out_) - out_memory_.at()); }
    u64 sequence() const { return sequence_; }
    i64 time_ns() const { return time_ns_; }
    u64 funding_number() const { return number_; }
    u64 config_sequence() const { return config_sequence_; }
    bool has_room(u64 count) { return count <= batch_most && make_room(count); }

  private:
    friend class Dump;
    struct alignas(64) Slot { u8 bytes[64]; };

    bool make_room(u64 count);
    bool prepare_market(u16 no);
    void look_at_records(Ahead& ahead, const u8* records, u64 group, u64 count) const;
    void look_at_customers(Ahead& ahead) const;
    void look_at_places(Ahead& ahead) const;
    void look_at_accounts(const Ahead& ahead) const;
    void prefetch_maker(u32 index) const {
        prefetch(book_.links.address(index));
        prefetch(risk_.accounts.address(book_.orders.address(index)->given));
    }
    void execute(const u8* record);
    // configuration
    void add_asset(const Command& command);
    void add_market(const AddMarket& command);
    void set_market(const AddMarket& command);
    void set_collar(const SetCollar& command);
    void retire(const Command& command);
    void refuse_config(const Command& command, Why why);
    // money
    void fund(const Fund& command);
    Why why_not_fund(const Fund& command, u32 hold);
    // orders
    void place(const Place& command);
    Why why_malformed(const Place& command, const Market* market, bool is_known) const;
    Why why_not_now(const Place& command, Market& market, u32 customer);
    bool can_fill(const Place& command, const Side& opposite, u32 given) const;
    void remember(const Place& command, const Taker& taker);
    void match(Taker& taker);
    bool prevent_self_trade(Taker& taker, u32 maker);
    void rest(const Taker& taker);
    void cancel_order(const OfOrder& command);
    u32 cancel_all(u32 customer_no, u16 market_no, Cancelled why);
    void replace(const OfOrder& command);
    Why why_not_replace(const OfOrder& command, u32 index);
    static u32 index_of(u64 order) { return u32(order & ((1 << slot_bits) - 1)) + 1; }
    u32 order_index(u64 order) const;
    u32 own_order(const OfOrder& command) const;
    // the life of an order
    void cancel_resting(u32 index, Cancelled why);
    void join_customer(u32 index, u32 customer);
    void leave_customer(u32 index);
    void end(Taker& taker);
    void close(u32 index, u32 memory);
    void remember_closed(u32 memory);
    void forget_before(i64 time_ns);

    Market* market_of(u16 no) const { return markets_[no] && markets_[no]->is_open ? markets_[no].get() : nullptr; }
    Market& market_of_order(u32 index) { return *markets_[book_[book_[index].level].level >> 1]; }
    bool sells(u32 index) const { return book_[book_[index].level].level & 1; }
    i64 price_of(u32 index) const { return i64(book_[book_[index].level].id); }
    u32 customer_no(u32 index) const { return risk_.accounts[book_[index].given].customer_no; }
    u32 client_hash(u32 customer, Wide client) const {
        const u128 mixed = u128(client.low ^ seed_[0]) * (client.high ^ customer ^ seed_[1]);
        return hash_of(u64(mixed >> 64) ^ u64(mixed) ^ client.low * 3 ^ customer);
    }
    u32 remembered(u32 customer, Wide client, u32 hash, u64& empty) const {
        return by_client_.find(hash, [&](u32 index) {
            const Memory& is = memories_[index];
            return is.client.low == client.low && is.client.high == client.high && is.customer == customer;
        }, empty);
    }
    void unlock(u32 account, u128 amount) {
        risk_.accounts[account].locked -= amount;
        risk_.accounts[account].available += amount;
    }

    template <class E> E& emit(Said kind, u16 no, u32 customer) {
        E& event = *new (out_++) E{};
        static_cast<Event&>(event) = {kind, record_version, no, customer, sequence_};
        return event;
    }
    void emit_closed(Said kind, const Market& market, u32 customer, u64 order, i64 lots, u16 why) {
        auto& event = emit<Closed>(kind, market.no, customer);
        event.order = order, event.lots = lots, event.why = why;
    }
    void emit_rejected(const Command& to, u16 market, Wide client, u64 order, Why why) {
        auto& event = emit<Rejected>(Said::order_rejected, market, to.customer);
        event.order = order, event.client = client, event.why = why, event.command = to.kind;
    }
    void emit_reduced(const Market& market, u32 customer, u64 order, i64 reduced, i64 remaining) {
        auto& event = emit<Changed>(Said::order_reduced, market.no, customer);
        event.order = order, event.price_or_reduced = reduced, event.total_or_remaining = remaining;
    }

    const Limits limits_;
    u64 sequence_ = 0, number_ = 0, config_sequence_ = 0, open_orders_ = 0;
    i64 time_ns_ = 0;
    u64 seed_[2];  // for the hash of what customers choose; nothing that can be seen depends on it
    Book book_;
    Pool<Memory> memories_;
    Table by_client_;
    u32 closed_first_ = 0, closed_last_ = 0;
    Risk risk_;
    std::unique_ptr<std::unique_ptr<Market>[]> markets_;
    Reserved out_memory_;
    Slot* out_;
    u64 out_ready_ = 0;
};

// ---------------------------------------------------------------------- a batch

inline Engine::Engine(const Limits& limits)
    : limits_(limits), book_(limits.open_orders), memories_(limits.remembered_orders), markets_(new std::unique_ptr<Market>[65536]()),
      out_memory_((3 * (limits.open_orders + batch_most) + 8 * batch_most) * sizeof(Slot), false),
      out_(reinterpret_cast<Slot*>(out_memory_.at())) {
    if (getrandom(seed_, sizeof seed_, 0) != sizeof seed_) throw std::bad_alloc();
    if (!make_room(0)) throw std::bad_alloc();
}

inline const char* Engine::apply(const u8* records, u64 count, u64 first_sequence, i64 time_ns) {
    out_ = reinterpret_cast<Slot*>(out_memory_.at());
    if (const char* why = unfit(records, count, first_sequence, time_ns)) return why;
    if (!make_room(count)) return out_of_memory;
    if (count) time_ns_ = time_ns, forget_before(time_ns);
    Ahead ring[5];
    const u64 groups = (count + Ahead::size - 1) / Ahead::size;
    for (u64 at = 0; at < groups + 4; ++at) {
        if (at < groups) look_at_records(ring[at % 5], records, at, count);
        if (at >= 1 && at - 1 < groups) look_at_customers(ring[(at - 1) % 5]);
        if (at >= 2 && at - 2 < groups) look_at_places(ring[(at - 2) % 5]);
        if (at >= 3 && at - 3 < groups) look_at_accounts(ring[(at - 3) % 5]);
        if (at < 4) continue;
        const u64 end = std::min(count, (at - 3) * Ahead::size);
        for (u64 n = (at - 4) * Ahead::size; n < end; ++n) {
            sequence_ = first_sequence + n;
            execute(records + n * record_bytes);
        }
    }
    return nullptr;
}

// What later commands will touch is asked of the memory while earlier ones are executed, in four steps,
// each when what the one before asked for has arrived. Nothing is decided by these guesses. Orders and
// what is done to orders are looked at apart, because a branch that nobody can foresee costs more.
inline void Engine::look_at_records(Ahead& ahead, const u8* records, u64 group, u64 count) const {
    const u8* end = records + std::min(count, (group + 1) * Ahead::size) * record_bytes;
    ahead.place_count = ahead.order_count = 0;
    for (const u8* at = records + group * Ahead::size * record_bytes; at < end; at += record_bytes) {
        const Kind kind = as<Command>(at).kind;
        ahead.places[ahead.place_count] = &as<Place>(at);
        ahead.place_count += kind == Kind::place_order;
        const u32 index = index_of(as<OfOrder>(at).order);
        ahead.orders[ahead.order_count] = index;
        const bool is_order = (kind == Kind::cancel_order) | (kind == Kind::replace_order);
        ahead.order_count += is_order & (index < book_.orders.top);
    }
    for (u32 n = 0; n < ahead.place_count; ++n) {
        const Place& is = *ahead.places[n];
        by_client_.prefetch_place(client_hash(is.customer, is.client));
        risk_.prefetch_customer_place(is.customer);
        prefetch(memories_.address(memories_.top + 32 + n));
    }
    for (u32 n = 0; n < ahead.order_count; ++n) {
        prefetch(book_.orders.address(ahead.orders[n]));
        prefetch(book_.links.address(ahead.orders[n]));
    }
}

inline void Engine::look_at_customers(Ahead& ahead) const {
    for (u32 n = 0; n < ahead.place_count; ++n) {
        const Place& is = *ahead.places[n];
        ahead.customers[n] = risk_.prefetch_customer(is.customer);
        const Market* market = ahead.markets[n] = market_of(is.no);
        if (!market) continue;
        ahead.levels[n] = market->sides[is.side == sell].place(is.side == sell ? is.price : -is.price);
        prefetch(ahead.levels[n]);
        prefetch(book_.orders.address(book_.orders.address(market->sides[is.side == buy].best_level)->next));
    }
    for (u32 n = 0; n < ahead.order_count; ++n) {
        const Node& order = *book_.orders.address(ahead.orders[n]);
        const Links& links = *book_.links.address(ahead.orders[n]);
        prefetch(book_.orders.address(order.level));
        prefetch(book_.orders.address(order.prev));
        prefetch(book_.orders.address(order.next));
        prefetch(risk_.accounts.address(order.given));
        prefetch(memories_.address(links.memory));
        prefetch(book_.links.address(links.older));
        prefetch(book_.links.address(links.newer));
    }
}

inline void Engine::look_at_places(Ahead& ahead) const {
    for (u32 n = 0; n < ahead.place_count; ++n) {
        const Market* market = ahead.markets[n];
        if (!market) continue;
        if (ahead.levels[n]) prefetch(book_.orders.address(*ahead.levels[n]));
        prefetch_maker(book_.orders.address(market->sides[ahead.places[n]->side == buy].best_level)->next);
        risk_.prefetch_account_place(ahead.customers[n], market->base);
        risk_.prefetch_account_place(ahead.customers[n], market->quote);
    }
    for (u32 n = 0; n < ahead.order_count; ++n) {
        const u32 given = book_.orders.address(ahead.orders[n])->given;
        prefetch(risk_.customers.address(risk_.accounts.address(given)->customer));
    }
}

inline void Engine::look_at_accounts(const Ahead& ahead) const {
    for (u32 n = 0; n < ahead.place_count; ++n) {
        const Market* market = ahead.markets[n];
        if (!market) continue;
        if (ahead.levels[n]) prefetch(book_.orders.address(book_.orders.address(*ahead.levels[n])->prev));
        const bool sells = ahead.places[n]->side == sell;
        prefetch(book_.links.address(risk_.customers.address(ahead.customers[n])->newest_order));
        risk_.prefetch_account(ahead.customers[n], sells ? market->base : market->quote, true);
        risk_.prefetch_account(ahead.customers[n], sells ? market->quote : market->base, false);
    }
}

inline const char* Engine::unfit(const u8* records, u64 count, u64 first_sequence, i64 time_ns) {
    if (count > batch_most) return "more than 65536 records in a batch";
    if (first_sequence != sequence_ + 1) return "a gap in the sequence";
    if (first_sequence + count > sequence_limit) return "the sequence has reached its limit";
    if (time_ns < time_ns_) return "time goes back";
    u64 number = number_;
    for (u64 n = 0; n < count; ++n, records += record_bytes) {
        const auto& is = as<Place>(records);  // no branch depends on whether it is one
        const bool is_order = is.kind == Kind::place_order;
        const bool fits = (u8(is.side - 1) < 2) & (u8(is.type - 1) < 2) & (u8(is.tif - 1) < 3) &
                          (is.post_only < 2) & (u8(is.stp - 1) < 4);
        const bool is_known = (u8(is.kind) < 64) & (known_kinds >> (u8(is.kind) & 63) & 1);
        if ((is.version != record_version) | !is_known) return "a record of another kind or version";
        if (is_order & !fits) return "an order with a number outside its list";
        if (is.kind >= Kind::credit) {
            const auto& fund = as<Fund>(records);
            if (fund.amount >= amount_limit) return "an amount of 2^96 or more";
            if (fund.number > number + 1) return "a gap in the funding numbers";
            number = std::max(number, fund.number);
        } else if (is.kind == Kind::add_market) {
            const auto& market = as<AddMarket>(records);
            if (market.tick >= amount_limit || market.lot >= amount_limit) return "an amount of 2^96 or more";
            if (!prepare_market(market.no)) return out_of_memory;
        }
    }
    return nullptr;
}

inline bool Engine::prepare_market(u16 no) {
    try {
        if (!markets_[no]) markets_[no] = std::make_unique<Market>(&book_.far_cells);
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

inline bool Engine::make_room(u64 count) {
    // An order that is closed causes at most three events, and every command a few of its own.
    const u64 bytes = (3 * (open_orders_ + count) + 8 * count + 1) * sizeof(Slot);
    return commit(out_memory_.at(), bytes, out_memory_.bytes(), out_ready_) && book_.room(count) &&
           memories_.room_at_most(count) &&
           by_client_.room(count) && risk_.room(count);
}

inline void Engine::execute(const u8* record) {
    const auto& command = as<Command>(record);
    switch (command.kind) {
        case Kind::add_asset: return add_asset(command);
        case Kind::add_market: return add_market(as<AddMarket>(record));
        case Kind::set_market_collar: return set_collar(as<SetCollar>(record));
        case Kind::retire_market: return retire(command);
        case Kind::set_market_fees: case Kind::halt_market: case Kind::resume_market:
            return set_market(as<AddMarket>(record));
        case Kind::place_order: return place(as<Place>(record));
        case Kind::cancel_order: return cancel_order(as<OfOrder>(record));
        case Kind::cancel_all: {
            const u32 count = cancel_all(command.customer, command.no, Cancelled::requested);
            emit<Counted>(Said::orders_cancelled, command.no, command.customer).count = count;
            return;
        }
        case Kind::replace_order: return replace(as<OfOrder>(record));
        case Kind::credit: case Kind::debit: case Kind::hold: case Kind::capture: case Kind::release:
            return fund(as<Fund>(record));
    }
}

// ---------------------------------------------------------------- configuration

inline void Engine::refuse_config(const Command& command, Why why) {
    auto& event = emit<ConfigRefused>(Said::config_refused, command.no, 0);
    event.why = why, event.command = command.kind;
}

inline void Engine::add_asset(const Command& command) {
    risk_.asset(command.no).is_known = true;
    config_sequence_ = sequence_;
    emit<Simple>(Said::asset_added, command.no, 0);
}

inline void Engine::add_market(const AddMarket& command) {
    Market& market = *markets_[command.no];
    if (!command.no || !command.tick || !command.lot || command.maker_ppm > ppm_limit ||
        command.taker_ppm > ppm_limit)
        return refuse_config(command, Why::amount_out_of_range);
    const bool is_same = market.base == command.base && market.quote == command.quote &&
                         market.tick == command.tick && market.lot == command.lot &&
                         market.maker_ppm == command.maker_ppm && market.taker_ppm == command.taker_ppm;
    if (market.is_open && !is_same) return refuse_config(command, Why::exists_with_other_content);
    if (!risk_.asset(command.base).is_known || !risk_.asset(command.quote).is_known)
        return refuse_config(command, Why::unknown_asset);
    if (market.status == Market::retired) return refuse_config(command, Why::market_retired);
    if (command.base == command.quote) return refuse_config(command, Why::invalid_combination);
    if (!market.is_open) market.open(command);
    config_sequence_ = sequence_;
    auto& event = emit<MarketAdded>(Said::market_added, command.no, 0);
    event.base = command.base, event.quote = command.quote;
    event.maker_ppm = command.maker_ppm, event.taker_ppm = command.taker_ppm;
    event.tick = command.tick, event.lot = command.lot;
}

inline void Engine::set_market(const AddMarket& command) {  // fees, halt, resume
    Market* market = market_of(command.no);
    const bool sets_fees = command.kind == Kind::set_market_fees;
    if (sets_fees && (command.maker_ppm > ppm_limit || command.taker_ppm > ppm_limit))
        return refuse_config(command, Why::amount_out_of_range);
    if (!market) return refuse_config(command, Why::unknown_market);
    if (market->status == Market::retired) return refuse_config(command, Why::market_retired);
    config_sequence_ = sequence_;
    if (!sets_fees) {
        const bool halts = command.kind == Kind::halt_market;
        market->status = halts ? Market::halted : Market::trading;
        emit<Simple>(halts ? Said::market_halted : Said::market_resumed, command.no, 0);
        return;
    }
    auto& event = emit<FeesSet>(Said::market_fees_set, command.no, 0);
    event.maker_ppm = market->maker_ppm = command.maker_ppm;
    event.taker_ppm = market->taker_ppm = command.taker_ppm;
}

inline void Engine::set_collar(const SetCollar& command) {
    Market* market = market_of(command.no);
    if (command.collar_ppm > collar_limit || command.reference_ticks < 0)
        return refuse_config(command, Why::amount_out_of_range);
    if (!market) return refuse_config(command, Why::unknown_market);
    if (market->status == Market::retired) return refuse_config(command, Why::market_retired);
    config_sequence_ = sequence_;
    if (command.reference_ticks) market->last_ticks = command.reference_ticks;
    auto& event = emit<CollarSet>(Said::market_collar_set, command.no, 0);
    event.collar_ppm = market->collar_ppm = command.collar_ppm;
    event.reference_ticks = market->last_ticks;
}

// Its orders are closed in order of acceptance. They are sorted where the answer has room for three
// events of each, behind the one event that each needs.
inline void Engine::retire(const Command& command) {
    Market* market = market_of(command.no);
    if (!market) return refuse_config(command, Why::unknown_market);
    if (market->status == Market::retired) return refuse_config(command, Why::market_retired);
    config_sequence_ = sequence_;
    u64* const orders = reinterpret_cast<u64*>(out_ + open_orders_ + 1);
    u64* end = orders;
    for (const Side& side : market->sides)
        for (auto at = side.best(); at.level; at = side.after(at.key))
            for (u32 index = book_[at.level].next; index != at.level; index = book_[index].next)
                *end++ = book_[index].id;
    std::sort(orders, end);
    for (const u64* order = orders; order != end; ++order)
        cancel_resting(index_of(*order), Cancelled::market_retired);
    market->status = Market::retired;
    emit<Simple>(Said::market_retired, command.no, 0);
}

// ------------------------------------------------------------------------ money

inline void Engine::fund(const Fund& command) {
    const auto answer = [&](Said kind, u64 hold, u128 amount, u128 more) {
        auto& event = emit<Funded>(kind, command.no, command.customer);
        event.number = command.number, event.hold = hold, event.amount = amount, event.more = more;
    };
    if (command.number <= number_) return answer(Said::funding_repeated, 0, 0, 0);
    number_ = command.number;
    const bool ends = command.kind == Kind::capture || command.kind == Kind::release;
    const u32 hold = ends ? risk_.hold(command.hold) : 0;
    if (const Why why = why_not_fund(command, hold); why != Why::nothing)
        return answer(Said::funding_refused, ends ? command.hold : 0, command.amount,
                      u128(why) | u128(command.kind) << 16);
    Asset& asset = risk_.asset(command.no);
    const u128 amount = command.amount;
    if (command.kind == Kind::credit) {
        asset.supply += amount;
        const u32 account = risk_.open_account(risk_.open_customer(command.customer), command.no);
        risk_.accounts[account].available += amount;
        return answer(Said::credited, 0, amount, 0);
    }
    if (command.kind == Kind::debit) cancel_all(command.customer, 0, Cancelled::debit);
    const u32 customer = risk_.customer(command.customer);
    const u32 index = customer ? risk_.account(customer, command.no) : 0;
    if (command.kind == Kind::debit) {
        u128 taken = 0;
        if (index) {
            taken = std::min(amount, risk_.accounts[index].available);
            risk_.accounts[index].available -= taken;
            asset.supply -= taken;
        }
        return answer(Said::debited, 0, taken, amount - taken);
    }
    Account& account = risk_.accounts[index];
    if (command.kind == Kind::hold) {
        account.available -= amount;
        account.held += amount;
        risk_.open_hold(command.number, index, amount);
        return answer(Said::held, 0, amount, 0);
    }
    account.held -= amount;
    if (command.kind == Kind::capture) asset.supply -= amount;
    else account.available += amount;
    risk_.close_hold(hold);
    answer(command.kind == Kind::capture ? Said::captured : Said::released, command.hold, amount, 0);
}

inline Why Engine::why_not_fund(const Fund& command, u32 hold_index) {
    if (command.kind == Kind::capture || command.kind == Kind::release) {
        if (!hold_index) return Why::unknown_hold;
        const Hold& hold = risk_.holds[hold_index];
        const Account& account = risk_.accounts[hold.account];
        const bool is_same = account.customer_no == command.customer && account.asset == command.no &&
                             hold.amount == command.amount;
        return is_same ? Why::nothing : Why::exists_with_other_content;
    }
    const Asset& asset = risk_.asset(command.no);
    if (!asset.is_known) return Why::unknown_asset;
    if (!command.amount) return Why::zero_amount;
    if (command.kind == Kind::hold) {
        const u32 customer = risk_.customer(command.customer);
        const u32 index = customer ? risk_.account(customer, command.no) : 0;
        return index && command.amount <= risk_.accounts[index].available ? Why::nothing
                                                                          : Why::exceeds_available;
    }
    // No balance exceeds the supply, so bounding the supply bounds every balance and every sum.
    if (command.kind == Kind::credit && asset.supply + command.amount >= supply_limit)
        return Why::balance_overflow;
    return Why::nothing;
}

}  // namespace strongroom

#include "orders.hpp"
