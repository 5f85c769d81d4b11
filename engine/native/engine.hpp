// The state machine of engine/reference.py over native memory: a batch of commands in, events out.
#pragma once

#include <sys/random.h>

#include <vector>

#include "book.hpp"
#include "risk.hpp"

namespace strongroom {

constexpr i64 second_ns = 1'000'000'000, day_ns = 86'400 * second_ns;
constexpr i64 issue_age_limit_ns = day_ns, issue_lead_limit_ns = 60 * second_ns;
constexpr i64 remember_ns = issue_age_limit_ns + issue_lead_limit_ns;
constexpr u64 slot_bits = 24, sequence_limit = u64(1) << (64 - slot_bits), batch_most = 1 << 16;
constexpr u128 amount_limit = u128(1) << 96, supply_limit = u128(1) << 127;
constexpr u32 ppm_limit = 1'000'000, collar_limit = 100 * ppm_limit;
constexpr const char *out_of_memory = "out of memory", *broken = "I11: money or a book is broken";

struct Limits { u64 open_orders, open_orders_per_customer, remembered_orders, levels_per_side; };

// an accepted order as it was sent, kept for a day after it is closed; a dump's row
struct Record {
    u32 customer; u16 market; u8 options, flags; u64 order; i64 price, lots;
    i64 closed_ns;  // while the order is open: lots that self-trade prevention took off
    Wide client;
    union { i64 total; u32 next; };  // while it is open: present quantity; then the one closed next
};
struct Answer { u64 words[8]; };
static_assert(sizeof(Record) == 64 && sizeof(Answer) == 64);
inline u8 options_of(const Place& is) { return u8(is.side | is.type << 2 | is.tif << 4); }
inline u8 flags_of(const Place& is) { return u8(is.post_only | is.stp << 1); }

// an order that enters the book: what can be found out before its turn, then the rest
struct Taker {
    const Place* is;   // null: it is replaced
    Market* market;
    const u32* slot;   // where its price stands, if that is in the window
    i64 key;           // of its price on its own side
    u32 hash;          // of its client id
    u32 given, received, index, record;
    bool sells, is_listed, is_open;  // listed: among its customer's open orders
    u8 stp;
    u64 order;
    i64 lots;
    i64 price() const { return key_of(sells, key); }
    Side& own() const { return market->sides[sells]; }
    Side& opposite() const { return market->sides[!sells]; }
    bool crosses() const { return opposite().takes(minus(key)); }
    u16 given_asset() const { return market->assets[!sells]; }
    u16 received_asset() const { return market->assets[sells]; }
};
struct Ahead {  // some of the commands to come
    static constexpr u64 size = 4;  // four groups of them touch half of a first-level cache
    Taker places[size + 1];
    const OfOrder* orders[size + 1];
    u32 place_count = 0, order_count = 0;
};

class Engine {
  public:
    explicit Engine(const Limits& limits) : risk_(arena_), by_client_(arena_), limits_(limits) {
        const u64 most = limits.open_orders;
        first_level_ = (most / (1 << 17) + 1) << 17;  // where a large page begins
        const u64 answers = 3 * (most + batch_most) + 8 * batch_most + 1;
        orders_.place(arena_.carve(2 * first_level_ * sizeof(Node)), 1, most);
        levels_.place(reinterpret_cast<u8*>(orders_.at), first_level_, most);
        records_.place(arena_.carve((limits.remembered_orders + 1) * sizeof(Record)), 1,
            limits.remembered_orders);
        markets_.place(arena_.carve(65536 * sizeof(Market)), 0, 65536);
        answer_.place(arena_.carve(answers * sizeof(Answer)), 0, answers);
        if (getrandom(seed_, sizeof seed_, 0) != sizeof seed_ || !markets_.room(65536, false) ||
            !room(1))
            throw std::bad_alloc();
        out_ = answer_.at->words;
    }

    // Why the batch cannot be applied (nothing of it was then), or null: see answer().
    const char* apply(const u8* records, u64 count, u64 first_sequence, i64 time_ns) {
        if (const char* why = unfit(records, count, first_sequence, time_ns)) return why;
        if (!room(count)) return out_of_memory;
        out_ = answer_.at->words, batch_ = first_sequence, touched_ = 0, spare_ -= count;
        if (count) begin(time_ns);
        // What a group of commands will touch is asked of the memory while the four groups before
        // it are executed, step by step, each when what the step before asked for has arrived.
        Ahead ring[8];
        const u64 groups = (count + Ahead::size - 1) / Ahead::size;
        for (u64 at = 0; at < groups + 4; ++at) {
            look_at_records(ring[at & 7], records, at, count);
            look_at_customers(ring[(groups == 1 ? at : at - 1) & 7]);
            look_at_accounts(ring[(groups == 1 ? at : at - 2) & 7]);
            look_at_queues(ring[(groups == 1 ? at : at - 3) & 7]);
            if (at < 4 && groups > 1) continue;
            const u64 group = groups == 1 ? 0 : at - 4;
            const u64 end = std::min(count, (group + 1) * Ahead::size);
            Taker* taker = ring[group & 7].places;
            for (u64 n = group * Ahead::size; n < end; ++n) {
                sequence_ = first_sequence + n;
                execute(records + n * record_bytes, taker);
#ifndef NDEBUG
                if (is_broken() || (risk_.accounts.top < audited && is_unsound())) return broken;
#endif
            }
            if (groups == 1) break;
        }
#ifndef NDEBUG
        if (is_unsound()) return broken;
#endif
        return is_broken() ? broken : nullptr;
    }
    const u8* answer() const { return reinterpret_cast<const u8*>(answer_.at); }
    u64 answer_bytes() const { return u64(out_ - answer_.at->words) * sizeof(u64); }
    u64 sequence() const { return sequence_; }
    u64 open_orders() const { return open_orders_; }

    const char* unfit(const u8* records, u64 count, u64 first_sequence, i64 time_ns) {
        if (count > batch_most) return "more than 65536 records in a batch";
        if (first_sequence != sequence_ + 1) return "a gap in the sequence";
        if (first_sequence + count > sequence_limit) return "the sequence has reached its limit";
        if (time_ns < time_ns_) return "time goes back";
        u64 number = number_;
        for (u64 n = 0; n < count; ++n, records += record_bytes) {
            const auto& is = as<Place>(records);
            const u8 kind = u8(is.kind);
            if (is.version != record_version || kind >= 64 || !(known_kinds >> kind & 1))
                return "a record of another kind or version";
            // Side, type, tif, post only and stp are five bytes side by side: each less its least
            // number must not be negative, nor more than its greatest.
            const u64 options = (as<u64>(&is.side) & 0xFFFFFFFFFF) - 0x0100010101;
            if (((options | (0x0301020101 - options)) & 0x8080808080) &&
                is.kind == Kind::place_order)
                return "an order with a number outside its list";
            if (is.kind >= Kind::credit) {
                const auto& fund = as<Fund>(records);
                if (fund.amount >= amount_limit) return "an amount of 2^96 or more";
                if (fund.number && fund.number - 1 > number) return "a gap in the funding numbers";
                if (!risk_.room_for_customer(fund.customer)) return out_of_memory;
                number = std::max(number, fund.number);
            } else if (is.kind == Kind::add_market) {
                const auto& market = as<Config>(records);
                if (market.tick >= amount_limit || market.lot >= amount_limit)
                    return "an amount of 2^96 or more";
            }
        }
        return nullptr;
    }
    // Takes memory for so many more orders now, instead of when they come.
    bool reserve(u64 orders) {
        return orders_.room(orders) && levels_.room(orders) && records_.room(orders) &&
            by_client_.room(orders);
    }
    // Whether memory for so many commands is there. It is looked for in advance, so that it is
    // seldom looked for. An order that is closed causes at most three events, and every command a
    // few of its own.
    bool room(u64 count) {
        if (count <= spare_) return true;
        for (const u64 wanted : {count + batch_most / 16, count})
            if (answer_.room(3 * (open_orders_ + wanted) + 8 * wanted + 1, false) &&
                reserve(wanted) && risk_.room(wanted))
                return spare_ = wanted, true;
        return false;
    }

  private:
    friend class State;

    // ---- the look ahead. Nothing is decided by guesses; accounts that were found stay where they
    // are. Orders and what is done to orders are looked at apart: branches that nobody can foresee
    // cost more.

    void look_at_records(Ahead& ahead, const u8* records, u64 group, u64 count) const {
        u32 place_count = 0, order_count = 0;
        for (u64 n = group * Ahead::size; n < std::min(count, (group + 1) * Ahead::size); ++n) {
            const u8* const at = records + n * record_bytes;
            const Kind kind = as<Command>(at).kind;
            ahead.places[place_count].is = &as<Place>(at);
            place_count += kind == Kind::place_order;
            ahead.orders[order_count] = &as<OfOrder>(at);
            order_count += ((kind == Kind::cancel_order) | (kind == Kind::replace_order)) &
                           (index_of(as<OfOrder>(at).order) < orders_.top);
            prefetch(&risk_.customer(as<Command>(at).customer));
        }
        for (u32 n = 0; n < place_count; ++n) {
            Taker& taker = ahead.places[n];
            const Place& is = *taker.is;
            taker.market = markets_.at + is.no, taker.sells = is.side == sell;
            taker.key = key_of(taker.sells, is.price);
            taker.hash = client_hash(is.customer, is.client);
            by_client_.prefetch_place(taker.hash);
        }
        for (u32 n = 0; n < order_count; ++n) {
            const Node* const order = orders_.at + index_of(ahead.orders[n]->order);
            prefetch(order);
            prefetch(&order->newer);  // perhaps in the next line
        }
        ahead.place_count = place_count, ahead.order_count = order_count;
    }
    void look_at_customers(Ahead& ahead) const {
        for (u32 n = 0; n < ahead.place_count; ++n) {
            Taker& taker = ahead.places[n];
            const Customer& who = risk_.customer(taker.is->customer);
            taker.slot = taker.own().slot(taker.key);
            if (taker.slot) prefetch(taker.slot);
            if (taker.crosses()) prefetch(orders_.at + orders_.at[taker.opposite().best].next);
            if (who.height) for (const u16 asset : taker.market->assets)
                risk_.prefetch_block(who, asset);
            prefetch(&orders_.at[who.newest_order].newer);
        }
        for (u32 n = 0; n < ahead.order_count; ++n) {
            const Node& order = orders_.at[index_of(ahead.orders[n]->order)];
            prefetch(orders_.at + order.level);
            prefetch(&orders_.at[order.prev].next);
            prefetch(&orders_.at[order.next].prev);
            prefetch(&orders_.at[order.older].newer);
            prefetch(&orders_.at[order.newer].older);
            prefetch(risk_.accounts.at + order.given);
            prefetch(records_.at + order.record);
        }
    }
    void look_at_accounts(Ahead& ahead) const {
        for (u32 n = 0; n < ahead.place_count; ++n) {
            Taker& taker = ahead.places[n];
            const Customer& who = risk_.customer(taker.is->customer);
            const bool is_opened = taker.market->lots_most;  // if not, nobody knows its assets yet
            taker.given = is_opened ? risk_.account(who, taker.given_asset()) : 0;
            taker.received = is_opened ? risk_.account(who, taker.received_asset()) : 0;
            prefetch(risk_.accounts.at + taker.given);
            if (taker.slot) prefetch(orders_.at + *taker.slot);
            if (taker.crosses()) prefetch_maker(orders_.at[taker.opposite().best].next);
        }
    }
    void look_at_queues(const Ahead& ahead) const {
        for (u32 n = 0; n < ahead.place_count; ++n)
            if (ahead.places[n].slot)
                prefetch(&orders_.at[orders_.at[*ahead.places[n].slot].prev].next);
    }
    void prefetch_maker(u32 index) const {
        prefetch(risk_.accounts.at + orders_.at[index].given);
        prefetch(risk_.accounts.at + orders_.at[index].received);
        prefetch(records_.at + orders_.at[index].record);
    }

    void execute(const u8* record, Taker*& taker) {
        const auto& command = as<Command>(record);
        switch (command.kind) {
            case Kind::place_order: return place(*taker++);
            case Kind::cancel_order: return cancel_order(as<OfOrder>(record));
            case Kind::replace_order: return replace(as<OfOrder>(record));
            case Kind::cancel_all:
                return say(Said::orders_cancelled, command.no, command.customer,
                           cancel_all(command.customer, command.no, Cancelled::requested));
            default: return command.kind >= Kind::credit ? fund(as<Fund>(record))
                : configure(as<Config>(record));
        }
    }

    // ---- events, as eight words

    void say(Said kind, u16 no, u32 customer, u64 a = 0, u64 b = 0, u64 c = 0, u64 d = 0, u64 e = 0,
        u64 f = 0) {
        u64* const at = out_;
        out_ += 8;
        at[0] = u64(kind) | u64(record_version) << 8 | u64(no) << 16 | u64(customer) << 32;
        at[1] = sequence_, at[2] = a, at[3] = b, at[4] = c, at[5] = d, at[6] = e, at[7] = f;
    }
    void reject(const Command& to, u16 market, u64 order, Wide client, Why why) {
        say(Said::order_rejected, market, to.customer, order, client.low, client.high,
            u64(why) | u64(to.kind) << 16);
    }

    // ---- configuration

    void configure(const Config& is) {
        if (is.kind == Kind::add_asset) {
            know(is.no);
            config_sequence_ = sequence_;
            return say(Said::asset_added, is.no, 0);
        }
        Market& market = markets_.at[is.no];
        if (const Why why = why_not_configure(is, market); why != Why::nothing)
            return say(Said::config_refused, is.no, 0, u64(why) | u64(is.kind) << 16);
        config_sequence_ = sequence_;
        const auto fees = [&] { market.maker_ppm = is.maker_ppm, market.taker_ppm = is.taker_ppm; };
        switch (is.kind) {
            case Kind::add_market:
                if (!market.lots_most)
                    fees(), market.assets[0] = is.base, market.assets[1] = is.quote,
                        market.units[0] = is.tick, market.units[1] = is.lot, open_market(is.no);
                return say(Said::market_added, is.no, 0,
                    is.base | is.quote << 16 | u64(is.maker_ppm) << 32,
                           is.taker_ppm, is.tick.low, is.tick.high, is.lot.low, is.lot.high);
            case Kind::set_market_fees:
                fees();
                return say(Said::market_fees_set, is.no, 0, u64(is.maker_ppm) << 32, is.taker_ppm);
            case Kind::set_market_collar:
                market.collar_ppm = is.collar_ppm();
                if (is.reference()) market.last = is.reference();
                return say(Said::market_collar_set, is.no, 0, u64(market.collar_ppm) << 32,
                    u64(market.last));
            case Kind::retire_market: retire(market); break;
            default: break;
        }
        const u8 step = u8(is.kind) - u8(Kind::halt_market);  // halted, resumed, retired
        market.status = step == 1 ? open : step == 0 ? halted : retired;
        say(Said(u8(Said::market_halted) + step), is.no, 0);
    }
    Why why_not_configure(const Config& is, const Market& market) const {
        const bool adds = is.kind == Kind::add_market,
            sets_collar = is.kind == Kind::set_market_collar;
        const bool are_rates = is.maker_ppm <= ppm_limit && is.taker_ppm <= ppm_limit;
        if (adds ? !is.no || !is.tick || !is.lot || !are_rates
                 : sets_collar ? is.collar_ppm() > collar_limit || is.reference() < 0
                               : is.kind == Kind::set_market_fees && !are_rates)
            return Why::amount_out_of_range;
        if (!adds && !market.lots_most) return Why::unknown_market;
        if (adds && market.lots_most && !market.is_same(is)) return Why::exists_with_other_content;
        if (adds && (!risk_.assets.at[is.base].is_known || !risk_.assets.at[is.quote].is_known))
            return Why::unknown_asset;
        if (market.status == retired) return Why::market_retired;
        return adds && is.base == is.quote ? Why::invalid_combination : Why::nothing;
    }
    void know(u16 no) {
        risk_.assets.at[no].no = no, risk_.assets.at[no].is_known = 1;
        risk_.assets.top = std::max<u64>(risk_.assets.top, no + 1);
    }
    void open_market(u16 no) {  // its row is there
        Market& market = markets_.at[no];
        market.no = no;
        market.notional_most = (amount_limit - 1) / market.units[0],
            market.lots_most = u64(std::min<u128>((amount_limit - 1) / market.units[1], INT64_MAX));
        for (Side& side : market.sides) side.open(orders_.at, arena_.carve(Side::bytes), seed_[0]);
        markets_.top = std::max<u64>(markets_.top, no + 1);
    }
    // Its orders are closed in order of acceptance. They are sorted where the answer has room for
    // three events of each, behind the one event that each needs.
    void retire(Market& market) {
        u64 *const ids = out_ + 8 * (open_orders_ + 1), *end = ids;
        for (const Side& side : market.sides)
            for (u32 level = side.best; level; level = side.after(node(level).key))
                for (u32 index = node(level).next; index != level; index = node(index).next)
                    *end++ = node(index).id;
        std::sort(ids, end);
        for (const u64* id = ids; id != end; ++id)
            cancel_resting(index_of(*id), Cancelled::market_retired);
    }

    // ---- money

    void fund(const Fund& is) {
        const auto answer = [&](Said kind, u64 hold, u128 amount, Wide more = {}) {
            say(kind, is.no, is.customer, is.number, hold, u64(amount), u64(amount >> 64), more.low,
                more.high);
        };
        if (is.number <= number_) return answer(Said::funding_repeated, 0, 0);
        number_ = is.number;
        const bool ends = is.kind == Kind::capture || is.kind == Kind::release;
        const u32 hold = ends ? risk_.hold(is.hold) : 0;
        const u128 amount = is.amount;
        if (const Why why = why_not_fund(is, hold); why != Why::nothing)
            return answer(Said::funding_refused, ends ? is.hold : 0, amount,
                          {u64(why) | u64(is.kind) << 16, 0});
        if (is.kind == Kind::debit) cancel_all(is.customer, 0, Cancelled::debit);
        Asset& asset = risk_.assets.at[is.no];
        const u32 index = is.kind == Kind::credit ? risk_.open_account(is.customer, is.no)
                          : hold                  ? risk_.holds[hold].account
                                 : risk_.account(risk_.customer(is.customer), is.no);
        Account& account = risk_.accounts[index];
        const u128 before = account.sum() - asset.supply;
        if (is.kind == Kind::credit) {
            asset.supply += amount, account.available += amount;
            answer(Said::credited, 0, amount);
        } else if (is.kind == Kind::debit) {
            const u128 taken = std::min<u128>(amount, account.available);
            asset.supply -= taken, account.available -= taken;
            answer(Said::debited, 0, taken, Wide::of(amount - taken));
        } else if (is.kind == Kind::hold) {
            account.available -= amount, account.held += amount;
            risk_.open_hold(is.number, index, amount);
            answer(Said::held, 0, amount);
        } else {
            const bool is_captured = is.kind == Kind::capture;
            account.held -= amount;
            (is_captured ? asset.supply : account.available) += is_captured ? -amount : amount;
            risk_.close_hold(hold);
            answer(is_captured ? Said::captured : Said::released, is.hold, amount);
        }
        asset.drift += account.sum() - asset.supply - before;
        is_broken_ |= asset.drift != 0;
    }
    Why why_not_fund(const Fund& is, u32 hold_index) const {
        if (is.kind == Kind::capture || is.kind == Kind::release) {
            if (!hold_index) return Why::unknown_hold;
            const Hold& hold = risk_.holds[hold_index];
            return hold.customer == is.customer && hold.asset == is.no && hold.amount == is.amount
                       ? Why::nothing : Why::exists_with_other_content;
        }
        const Asset& asset = risk_.assets.at[is.no];
        if (!asset.is_known) return Why::unknown_asset;
        if (!is.amount) return Why::zero_amount;
        if (is.kind == Kind::hold &&
            is.amount >
                risk_.accounts.at[risk_.account(risk_.customer(is.customer), is.no)].available)
            return Why::exceeds_available;
        // No balance exceeds the supply, so bounding the supply bounds every balance and every sum.
        return is.kind == Kind::credit && asset.supply + is.amount >= supply_limit
            ? Why::balance_overflow : Why::nothing;
    }

    // ---- place

    void place(Taker& taker) {
        const Place& is = *taker.is;
        const Customer& who = risk_.customer(is.customer);
        u64 empty = 0;
        const u32 known = remembered(is.customer, is.client, taker.hash, &empty);
        if (!taker.given) taker.given = risk_.account(who, taker.given_asset());
        if (known || !is_fine(taker, who)) {
            if (known && is_same(records_[known], is))
                return say(Said::order_duplicate, is.no, is.customer, records_[known].order,
                    is.client.low, is.client.high);
            if (const Why why = why_not_place(taker, who, known); why != Why::nothing)
                return reject(is, is.no, 0, is.client, why);
        }
        if (!taker.received)
            taker.received = risk_.open_account(is.customer, taker.received_asset());
        taker.index = orders_.take(), taker.record = records_.take();
        taker.order = sequence_ << slot_bits | (taker.index - 1), taker.lots = is.lots;
        taker.stp = is.stp, taker.is_listed = false, taker.is_open = true;
        by_client_.put(empty, taker.hash, taker.record);
        new (&records_[taker.record]) Record{is.customer, is.no, options_of(is), flags_of(is),
            taker.order, is.price, is.lots, 0, is.client, {is.lots}};
        say(Said::order_accepted, is.no, is.customer, taker.order, is.client.low, is.client.high,
            u64(is.price), u64(is.lots),
            is.side | is.type << 8 | is.tif << 16 | is.post_only << 24 | u64(is.stp) << 32);
        if (taker.crosses()) match(taker);
        if (!taker.is_open) return;
        if (is.tif == gtc) return rest(taker);
        close(taker.index, taker.record);
        say_cancelled(*taker.market, is.customer, taker.order, taker.lots, Cancelled::unfilled);
    }
    // Most orders are; of the others it remains to be found out why they are not, or that they are.
    bool is_fine(const Taker& taker, const Customer& who) const {
        const Place& is = *taker.is;
        const Market& market = *taker.market;
        return is.price > 0 && u64(is.lots) - 1 < market.lots_most &&
               u128(u64(is.price)) * u64(is.lots) <= market.notional_most &&
               is.issued_ns >= oldest_ns_ && is.issued_ns <= newest_ns_ && market.status == open &&
               !market.is_outside_collar(is.price) && !is.post_only && is.type == limit &&
               is.tif != fok &&
               open_orders_ < limits_.open_orders && by_client_.count < limits_.remembered_orders &&
               who.open_orders < limits_.open_orders_per_customer &&
               taker.own().count < limits_.levels_per_side &&
               market.lock(taker.sells, is.price, is.lots) <= risk_.accounts[taker.given].available;
    }
    static bool is_same(const Record& was, const Place& is) {
        return was.market == is.no && was.options == options_of(is) && was.flags == flags_of(is) &&
            was.price == is.price && was.lots == is.lots;
    }
    Why why_not_place(const Taker& taker, const Customer& who, bool is_known) const {
        const Place& is = *taker.is;
        const Market& market = *taker.market;
        if (market.lots_most && market.is_too_large(is.price, is.lots))
            return Why::amount_out_of_range;
        if (is_known) return Why::duplicate_other_content;
        if (is.issued_ns < oldest_ns_) return Why::issued_too_long_ago;
        if (is.issued_ns > newest_ns_) return Why::issued_in_future;
        if (!market.lots_most) return Why::unknown_market;
        if (const Why why = market.why_not(is.price, is.lots, 0); why != Why::nothing) return why;
        if (is.post_only ? is.type != limit || is.tif != gtc : is.type != limit && is.tif != ioc)
            return Why::invalid_combination;
        if (open_orders_ >= limits_.open_orders || by_client_.count >= limits_.remembered_orders ||
            who.open_orders >= limits_.open_orders_per_customer)
            return Why::too_many_orders;
        if (const Why why = why_not_enter(taker, is.tif == gtc, is.post_only); why != Why::nothing)
            return why;
        if (is.tif == fok && !can_fill(taker)) return Why::would_not_fill;
        const u128 lock = market.lock(taker.sells, is.price, is.lots);
        return lock > risk_.accounts[taker.given].available ? Why::exceeds_available : Why::nothing;
    }
    Why why_not_enter(const Taker& taker, bool may_rest, bool post_only) const {
        if (may_rest && taker.own().count >= limits_.levels_per_side &&
            !taker.own().find(taker.key)) return Why::too_many_levels;
        return post_only && taker.crosses() ? Why::would_cross : Why::nothing;
    }
    // Own orders never fill, and most ways of self-trade prevention end the taker at them.
    bool can_fill(const Taker& taker) const {
        const Side& opposite = taker.opposite();
        const Place& is = *taker.is;
        i64 missing = is.lots;
        for (u32 level = opposite.best; level && node(level).key <= -taker.key;
            level = opposite.after(node(level).key))
            for (u32 maker = node(level).next; maker != level; maker = node(maker).next) {
                if (customer_no(maker) == is.customer) {
                    if (is.stp != cancel_oldest) return false;
                    continue;
                }
                if (node(maker).lots >= missing) return true;
                missing -= node(maker).lots;
            }
        return false;
    }

    // ---- match: the taker's money moves once, at the end; none of it is locked before it rests

    void match(Taker& taker) {
        Market& market = *taker.market;
        Side& side = taker.opposite();
        const u32 customer = risk_.accounts[taker.given].customer;
        u128 gave = 0, got = 0, paid = 0, earned = 0, taker_fees = 0, maker_fees = 0;
        while (taker.lots && side.takes(-taker.key)) {
            const u32 index = node(side.best).next;
            Node& maker = node(index);
            if (maker.given == taker.received) {  // only a customer's own order gives from there
                if (!prevent_self_trade(taker, index)) break;
                continue;
            }
            if (taker.lots > maker.lots) prefetch_maker(maker.next);
            const i64 price = key_of(!taker.sells, side.best_key);
            const i64 lots = std::min(taker.lots, maker.lots);
            const u128 give = market.lock(!taker.sells, price, lots);
            const u128 take = market.lock(taker.sells, price, lots);
            const u128 maker_fee = Risk::fee(take, market.maker_ppm);
            const u128 taker_fee = Risk::fee(give, market.taker_ppm);
            Account& giving = risk_.accounts[maker.given];
            giving.locked -= give;
            risk_.accounts[maker.received].available += take - maker_fee;
            gave += give, got += give - taker_fee, taker_fees += taker_fee;
            paid += take, earned += take - maker_fee, maker_fees += maker_fee;
            maker.lots -= lots, taker.lots -= lots, market.last = price;
            const u64 order = maker.id;
            say(Said::trade, market.no, customer, taker.order, order, u64(price), u64(lots),
                giving.customer | u64(market.taker_ppm) << 32,
                market.maker_ppm | u64(taker.sells ? sell : buy) << 32);
            if (maker.lots) continue;
            take_off(side, index);
            say(Said::order_filled, market.no, giving.customer, order);
        }
        if (paid) {
            risk_.accounts[taker.given].available -= paid;
            risk_.accounts[taker.received].available += got;
            Asset& given = risk_.assets.at[taker.given_asset()];
            Asset& received = risk_.assets.at[taker.received_asset()];
            given.fees += maker_fees, given.drift += earned + maker_fees - paid;
            received.fees += taker_fees, received.drift += got + taker_fees - gave;
            touch(market);
        }
        if (taker.lots || !taker.is_open) return;
        end(taker);
        say(Said::order_filled, market.no, customer, taker.order);
    }
    // Acts as the taker asked; returns whether it goes on matching.
    bool prevent_self_trade(Taker& taker, u32 index) {
        const Market& market = *taker.market;
        const u32 customer = customer_no(index);
        Node& maker = node(index);
        if (taker.stp == decrement) {
            const i64 reduced = std::min(taker.lots, maker.lots);
            risk_.unlock(maker.given, market.lock(!taker.sells, price_of(maker), reduced));
            maker.lots -= reduced, taker.lots -= reduced;
            records_[maker.record].closed_ns += reduced,
                records_[taker.record].closed_ns += reduced;
            say(Said::order_reduced, market.no, customer, maker.id, u64(reduced), u64(maker.lots));
            if (!maker.lots) cancel_resting(index, Cancelled::self_trade);
            say(Said::order_reduced, market.no, customer, taker.order, u64(reduced),
                u64(taker.lots));
            if (taker.lots) return true;
        } else {
            if (taker.stp != cancel_newest) cancel_resting(index, Cancelled::self_trade);
            if (taker.stp == cancel_oldest) return true;
        }
        end(taker);
        say_cancelled(market, customer, taker.order, taker.lots, Cancelled::self_trade);
        return false;
    }
    void rest(const Taker& taker) {
        const u128 lock = taker.market->lock(taker.sells, taker.price(), taker.lots);
        Account& account = risk_.accounts[taker.given];
        account.available -= lock, account.locked += lock;
        Node& order = node(taker.index);
        order.id = taker.order, order.lots = taker.lots;
        order.given = taker.given, order.received = taker.received, order.record = taker.record;
        queue(taker);
        touch(*taker.market);
        if (!taker.is_listed) join(risk_.customer(account.customer), taker.index);
    }
    void queue(const Taker& taker) {  // last at its price
        u32 level = taker.own().find(taker.key);
        if (!level) {
            level = levels_.take();
            Node& opened = node(level);
            opened.prev = opened.next = level,
                opened.level = u32(taker.market->no) << 1 | taker.sells;
            taker.own().add(taker.key, level);
        }
        Node &order = node(taker.index), &at = node(level);
        order.prev = at.prev, order.next = order.level = level;
        node(at.prev).next = taker.index;
        at.prev = taker.index;
    }
    void join(Customer& who, u32 index) {  // node 0 may be written to
        node(index).older = who.newest_order, node(index).newer = 0;
        node(who.newest_order).newer = index;
        who.newest_order = index;
        ++who.open_orders, ++open_orders_;
    }

    // ---- cancel, replace

    void cancel_order(const OfOrder& is) {
        if (const u32 index = own_order(is)) return cancel_resting(index, Cancelled::requested);
        reject(is, 0, is.order, {}, Why::unknown_order);
    }
    u32 cancel_all(u32 customer, u16 market, Cancelled why) {  // oldest first
        u32 index = risk_.customer(customer).newest_order, count = 0;
        while (index && node(index).older) index = node(index).older;
        for (u32 newer; index; index = newer) {
            newer = node(index).newer;
            if (!market || market_of(node(index)).no == market) cancel_resting(index, why), ++count;
        }
        return count;
    }
    void replace(const OfOrder& is) {
        const u32 index = own_order(is);
        if (!index) return reject(is, 0, is.order, {}, Why::unknown_order);
        Node& order = node(index);
        Record& record = records_[order.record];
        Taker taker{};
        taker.market = &market_of(order), taker.sells = is_sell(order),
            taker.stp = u8(record.flags >> 1);
        taker.key = key_of(taker.sells, is.price);
        taker.index = index, taker.given = order.given, taker.received = order.received,
            taker.record = order.record;
        taker.order = is.order, taker.is_listed = taker.is_open = true;
        const Market& market = *taker.market;
        const i64 price = price_of(order), before = order.lots, done = record.total - before;
        if (const Why why = why_not_replace(is, taker, order, done, record.flags & 1);
            why != Why::nothing)
            return reject(is, market.no, is.order, {}, why);
        taker.lots = is.lots - done;
        const bool keeps_priority = is.price == price && taker.lots < before;
        record.total = is.lots;
        const i64 freed = keeps_priority ? before - taker.lots : before;
        risk_.unlock(order.given, market.lock(taker.sells, price, freed));
        if (keeps_priority) order.lots = taker.lots;
        else unrest(taker.own(), order);
        say(Said::order_replaced, market.no, is.customer, is.order, u64(is.price), u64(is.lots),
            u64(taker.lots), keeps_priority);
        if (keeps_priority) return;
        if (taker.crosses()) match(taker);
        if (taker.is_open) rest(taker);
    }
    Why why_not_replace(const OfOrder& is, const Taker& taker, const Node& order, i64 done,
        bool post_only) const {
        const Market& market = *taker.market;
        if (market.is_too_large(is.price, is.lots)) return Why::amount_out_of_range;
        if (const Why why = market.why_not(is.price, is.lots, done); why != Why::nothing)
            return why;
        if (const Why why = why_not_enter(taker, true, post_only); why != Why::nothing) return why;
        const u128 locked = market.lock(taker.sells, price_of(order), order.lots);
        const u128 free = risk_.accounts[order.given].available + locked;
        const u128 lock = market.lock(taker.sells, is.price, is.lots - done);
        return lock > free ? Why::exceeds_available : Why::nothing;
    }

    // ---- the life of an order

    static u32 index_of(u64 order) { return u32(order & ((1 << slot_bits) - 1)) + 1; }
    u32 own_order(const OfOrder& is) const {
        const u32 index = index_of(is.order);
        return is.order && index < orders_.top && node(index).id == is.order &&
            customer_no(index) == is.customer ? index : 0;
    }
    void cancel_resting(u32 index, Cancelled why) {
        Node& order = node(index);
        Market& market = market_of(order);
        const bool sells = is_sell(order);
        const u32 customer = customer_no(index);
        const u64 id = order.id;
        risk_.unlock(order.given, market.lock(sells, price_of(order), order.lots));
        take_off(market.sides[sells], index);
        say_cancelled(market, customer, id, order.lots, why);
    }
    void say_cancelled(const Market& market, u32 customer, u64 order, i64 lots, Cancelled why) {
        say(Said::order_cancelled, market.no, customer, order, u64(lots), u64(why));
    }
    void take_off(Side& side, u32 index) {
        unrest(side, node(index));
        leave(node(index));
        close(index, node(index).record);
    }
    void unrest(Side& side, const Node& order) {  // an empty level goes with its last order
        node(order.prev).next = order.next;
        node(order.next).prev = order.prev;
        if (order.prev != order.next) return;
        side.remove(node(order.level).key);
        levels_.give_back(order.level);
    }
    void leave(const Node& order) {  // its customer's open orders; node 0 may be written to
        Customer& who = risk_.customer(risk_.accounts[order.given].customer);
        node(order.older).newer = order.newer;
        node(order.newer).older = order.older;
        if (!order.newer) who.newest_order = order.older;
        --who.open_orders, --open_orders_;
    }
    void end(Taker& taker) {
        if (taker.is_listed) leave(node(taker.index));
        close(taker.index, taker.record);
        taker.is_open = false;
    }
    void close(u32 index, u32 record) {
        node(index).id = 0;
        orders_.give_back(index);
        records_[record].closed_ns = time_ns_;
        remember_closed(record);
    }
    void remember_closed(u32 record) {
        records_[record].next = 0;
        (closed_first_ ? records_[closed_last_].next : closed_first_) = record;
        closed_last_ = record;
    }
    void begin(i64 time_ns) {  // a batch: what is too old to be sent again is forgotten
        time_ns_ = time_ns;
        oldest_ns_ = std::max(time_ns, INT64_MIN + issue_age_limit_ns) - issue_age_limit_ns;
        newest_ns_ = std::min(time_ns, INT64_MAX - issue_lead_limit_ns) + issue_lead_limit_ns;
        while (closed_first_ && i128(records_[closed_first_].closed_ns) + remember_ns < time_ns) {
            const u32 index = closed_first_;
            by_client_.drop(client_hash(records_[index].customer, records_[index].client), index);
            closed_first_ = records_[index].next;
            records_.give_back(index);
        }
    }
    void touch(Market& market) {
        if (market.touched == batch_) return;
        market.touched = batch_;
        market.touched_before = std::exchange(touched_, market.no);
    }
    bool is_broken() {
        for (u16 no = touched_; no; no = markets_.at[no].touched_before) {
            const Market& market = markets_.at[no];
            const Side &bids = market.sides[0], &asks = market.sides[1];
            is_broken_ |= bids.best && asks.best && -bids.best_key >= asks.best_key;
            is_broken_ |= risk_.assets.at[market.assets[0]].drift ||
                risk_.assets.at[market.assets[1]].drift;
        }
        return is_broken_;
    }
    // I3 and I11 anew from every account, trusting no sum that was kept: asked of a state that is
    // loaded; in debug builds after each batch, and after each command while accounts are few.
    static constexpr u64 audited = 256;
    bool is_unsound() const {
        std::vector<u128> sums(65536);
        for (u64 index = 1; index < risk_.accounts.top; ++index) {
            const Account& is = risk_.accounts.at[index];
            if (is.available >= supply_limit || is.locked >= supply_limit ||
                is.held >= supply_limit)
                return true;
            sums[is.asset] += is.sum();
        }
        for (u64 no = 0; no < risk_.assets.top; ++no) {
            const Asset& asset = risk_.assets.at[no];
            if (sums[no] + asset.fees != asset.supply) return true;
        }
        return false;
    }
    Node& node(u32 index) const {
        STRONGROOM_TOUCH(orders_.at + index);
        return orders_.at[index];
    }
    Market& market_of(const Node& order) const { return markets_.at[node(order.level).level >> 1]; }
    bool is_sell(const Node& order) const { return node(order.level).level & 1; }
    i64 price_of(const Node& order) const { return key_of(is_sell(order), node(order.level).key); }
    u32 customer_no(u32 index) const { return risk_.accounts[node(index).given].customer; }
    u32 client_hash(u32 customer, Wide client) const {
        const u64 key = mixed(client.low ^ seed_[0], customer ^ seed_[1]) ^ client.high;
        return u32(mixed(key, 0x9E3779B97F4A7C15u) >> 32);
    }
    u32 remembered(u32 customer, Wide client, u32 hash, u64* empty) const {
        return by_client_.find(hash, [&](u32 index) {
            const Record& is = records_[index];
            return is.client.low == client.low && is.client.high == client.high &&
                is.customer == customer;
        }, empty);
    }

    Arena arena_;
    Risk risk_;
    Table by_client_;
    Pool<Node> orders_, levels_;
    Pool<Record> records_;
    Pool<Market> markets_;
    Pool<Answer> answer_;
    const Limits limits_;
    u64 first_level_ = 0, sequence_ = 0, number_ = 0, config_sequence_ = 0, open_orders_ = 0,
        batch_ = 0, spare_ = 0;
    i64 time_ns_ = 0, oldest_ns_ = 0, newest_ns_ = 0;  // the last two: of what may be issued
    u64 seed_[2];  // for the hash of what customers choose; nothing that can be seen depends on it
    u64* out_;
    u32 closed_first_ = 0, closed_last_ = 0;
    u16 touched_ = 0;
    bool is_broken_ = false;
};

}  // namespace strongroom
