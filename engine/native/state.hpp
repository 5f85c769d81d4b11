// The state as it lies in memory, for engine/native/state.py to read; and back from a dump's rows.
#pragma once

#include <array>
#include <vector>

#include "engine.hpp"

namespace strongroom {

struct View {  // some entries of one kind: the first one's index, and the one behind the last
    const u8* at;
    u64 size, first, top;
};
struct Header {  // engine/state_rows.py
    char magic[8]; u64 sequence; i64 time_ns; u64 number; u32 slots, zero;
    u64 limits[4], counts[8];
};
struct OrderRow {
    u64 order; u32 customer; u16 market; u8 side, flags;
    i64 price, total, filled, remaining; Wide client;
};

class State {
  public:
    explicit State(Engine& engine) : is_(engine) {}

    std::array<View, 8> views() const {
        const auto of = [](const auto& pool, u64 first) {
            return View{reinterpret_cast<const u8*>(pool.at + first), sizeof *pool.at, first,
                pool.top};
        };
        return {of(is_.risk_.assets, 0), of(is_.markets_, 0), of(is_.risk_.accounts, 0),
                of(is_.orders_, 0), of(is_.levels_, is_.first_level_), of(is_.records_, 0),
                of(is_.risk_.holds, 0), of(is_.risk_.customers, 0)};
    }
    std::array<i64, 6> counters() const {
        return {i64(is_.sequence_), is_.time_ns_, i64(is_.number_), i64(is_.first_level_),
            is_.orders_.free, is_.closed_first_};
    }
    u64 config_sequence() const { return is_.config_sequence_; }
    u64 order_of(u32 customer, u64 low, u64 high) const {  // 0 if it is not remembered
        const u32 found = is_.remembered(customer, {low, high},
            is_.client_hash(customer, {low, high}), nullptr);
        return found ? is_.records_[found].order : 0;
    }
    // Up to so many of the best levels, each as its index.
    std::vector<u32> levels(u16 market, bool asks, u64 most) const {
        std::vector<u32> found;
        const Side& side = is_.markets_.at[market].sides[asks];
        for (u32 level = side.best; level && found.size() < most;
            level = side.after(is_.node(level).key))
            found.push_back(level);
        return found;
    }

    // Null, or what is wrong with the rows, which stand behind a header that was looked at before.
    // The engine is new and is thrown away when they are wrong. The open orders' client ids come
    // before the orders themselves, because orders point to them.
    const char* load(const u8* data) {
        const auto& header = as<Header>(data);
        const u64* const counts = header.counts;
        u64 rows = header.slots;
        for (int n = 0; n < 7; ++n) rows += counts[n];
        if (header.slots > is_.limits_.open_orders ||
            counts[5] + counts[6] > is_.limits_.remembered_orders ||
                header.sequence >= sequence_limit || !is_.room(rows))
            return "it is too large";
        is_.spare_ = 0;  // the rows take that room
        is_.sequence_ = is_.config_sequence_ = header.sequence;
        is_.time_ns_ = header.time_ns, is_.number_ = header.number,
            is_.orders_.top = header.slots + 1;
        const u8* starts[8] = {data + sizeof header};
        for (int n = 1; n < 8; ++n) starts[n] = starts[n - 1] + counts[n - 1] * record_bytes;
        bool is_sound = true;
        const auto each = [&](int n, auto* row, auto load) {
            row = reinterpret_cast<decltype(row)>(starts[n]);
            for (const auto end = row + counts[n]; row != end && is_sound; ++row)
                is_sound = load(*row);
            return is_sound;
        };
        const Account* const account = nullptr;
        const OrderRow* const order = nullptr;
        const Record* const record = nullptr;
        if (!each(0, (const Asset*)nullptr, [&](const Asset& row) {
                is_.know(row.no), is_.risk_.assets.at[row.no].supply = row.supply,
                    is_.risk_.assets.at[row.no].fees = row.fees;
                return row.supply < supply_limit;
            })) return "an asset is wrong";
        if (!each(1, (const MarketRow*)nullptr, [&](const MarketRow& row) {
                static_cast<MarketRow&>(is_.markets_.at[row.no]) = row;
                return row.no && row.units[0] && row.units[1] && row.status <= retired &&
                    (is_.open_market(row.no), true);
            })) return "a market is wrong";
        if (!each(2, account, [&](const Account& row) { return load_balance(row); }))
            return "a balance is wrong";
        if (is_.is_unsound()) return "its money does not add up";
        if (!each(5, record, [&](const Record& row) { return load_client(row, false); }) ||
            !each(6, record, [&](const Record& row) { return load_client(row, true); }))
            return "a client id is wrong";
        if (!each(3, order, [&](const OrderRow& row) { return load_order(row); }))
            return "an order is wrong";
        if (!each(4, (const Hold*)nullptr, [&](const Hold& row) {
                const u32 account = is_.risk_.account(is_.risk_.customer(row.customer), row.asset);
                if (!account || !row.number || is_.risk_.hold(row.number)) return false;
                is_.risk_.open_hold(row.number, account, row.amount);
                return true;
            })) return "a hold is wrong";
        return each(7, (const u32*)nullptr, [&](u32 slot) { return load_slot(slot); }) ? nullptr
            : "a slot is wrong";
    }

  private:
    bool load_balance(const Account& row) {
        if (!is_.risk_.room_for_customer(row.customer)) return false;
        Account& account = is_.risk_.accounts[is_.risk_.open_account(row.customer, row.asset)];
        account.available = row.available, account.locked = row.locked, account.held = row.held;
        return is_.risk_.assets.at[row.asset].is_known;
    }
    bool load_client(const Record& row, bool is_open) {
        const u32 hash = is_.client_hash(row.customer, row.client);
        u64 empty = 0;
        if (is_.remembered(row.customer, row.client, hash, &empty)) return false;
        const u32 index = is_.records_.take();
        is_.records_[index] = row;
        is_.by_client_.put(empty, hash, index);
        if (!is_open) {
            is_.remember_closed(index);
            return true;
        }
        const u32 order = Engine::index_of(row.order);
        const Market& market = is_.markets_.at[row.market];
        const bool sells = (row.options & 3) == sell;
        Customer& who = is_.risk_.customer(row.customer);
        const u32 given = is_.risk_.account(who, market.assets[!sells]);
        if (!market.lots_most || !given || u8((row.options & 3) - 1) > 1 ||
            order >= is_.orders_.top || is_.node(order).id ||
            is_.node(who.newest_order).id >= row.order)
            return false;
        Node& node = is_.node(order);
        node.id = row.order, node.lots = 0, node.record = index, node.given = given;
        node.received = is_.risk_.open_account(row.customer, market.assets[sells]);
        is_.join(who, order);
        return true;
    }
    bool load_order(const OrderRow& row) {
        const u32 index = Engine::index_of(row.order);
        if (!row.order || index >= is_.orders_.top || is_.node(index).id != row.order ||
            is_.node(index).lots || row.price <= 0 ||
            row.filled < 0 || row.remaining <= 0 || row.total < row.remaining ||
                row.total - row.remaining < row.filled)
            return false;
        Record& record = is_.records_[is_.node(index).record];
        if (record.customer != row.customer || record.market != row.market ||
            (record.options & 3) != row.side ||
            record.flags != row.flags)
            return false;
        record.total = row.total, record.closed_ns = row.total - row.remaining - row.filled;
        is_.node(index).lots = row.remaining;
        Taker taker{};
        taker.market = is_.markets_.at + row.market, taker.index = index,
            taker.sells = row.side == sell;
        taker.key = key_of(taker.sells, row.price);
        is_.queue(taker);
        return true;
    }
    bool load_slot(u32 slot) {
        if (slot + u64(1) >= is_.orders_.top || is_.node(slot + 1).id || is_.node(slot + 1).level)
            return false;
        is_.node(slot + 1).level = 1;  // until it is used again
        is_.orders_.give_back(slot + 1);
        return true;
    }

    Engine& is_;
};

}  // namespace strongroom
