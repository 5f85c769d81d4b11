// The state in the canonical form of engine/reference_dump.py, whole or row by row: 64 bytes each.
#pragma once

#include <string>
#include <vector>

#include "engine.hpp"

namespace strongroom {

struct AssetRow { u16 no, zero[3]; Wide supply, fees; u64 end[3]; };
struct MarketRow {
    u16 no, base, quote; u8 status, zero; u32 maker_ppm, taker_ppm; Wide tick, lot; u32 collar_ppm, zero_too;
    i64 last_ticks;
};
struct BalanceRow { u32 customer; u16 asset, zero; Wide available, locked, held; u64 end; };
struct OrderRow {
    u64 order; u32 customer; u16 market; u8 side, flags; i64 price, total, filled, remaining; Wide client;
};
struct HoldRow { u64 number; u32 customer; u16 asset, zero; Wide amount; u64 end[4]; };
struct ClientRow {
    u32 customer; u16 market; u8 options, flags; u64 order; i64 price, lots, closed_ns; Wide client; u64 zero;
};
struct LevelRow { i64 price; Wide lots; u64 orders; };  // of a depth, not of a dump
struct Header {
    char magic[8]; u64 sequence; i64 time_ns; u64 number; u32 slots, zero;
    u64 limits[4], counts[8];
};
static_assert(all_fit<AssetRow, MarketRow, BalanceRow, OrderRow, HoldRow, ClientRow>);
static_assert(sizeof(Header) == 136);

class Dump {
  public:
    explicit Dump(Engine& engine) : is_(engine) {}

    std::string whole() {
        const std::string sections[] = {assets(), markets(), balances(), orders(), holds(),
                                        closed_clients(), open_clients()};
        Header header{{'S', 'R', 'S', 'T', 'A', 'T', 'E', '2'}, is_.sequence_, is_.time_ns_, is_.number_,
                      is_.book_.orders.top - 1, 0,
                      {is_.limits_.open_orders, is_.limits_.open_orders_per_customer,
                       is_.limits_.remembered_orders, is_.limits_.levels_per_side}, {}};
        std::string all(sizeof header, 0);
        for (int n = 0; n < 7; ++n) {
            header.counts[n] = sections[n].size() / record_bytes;
            all += sections[n];
        }
        std::vector<u32> freed;
        for (u32 at = is_.book_.orders.free; at; at = is_.book_[at].next) freed.push_back(at - 1);
        std::reverse(freed.begin(), freed.end());
        header.counts[7] = freed.size();
        all.append(reinterpret_cast<const char*>(freed.data()), freed.size() * sizeof(u32));
        std::memcpy(all.data(), &header, sizeof header);
        return all;
    }
    std::string assets() {
        std::string rows;
        for (u32 no = 0; no < 65536; ++no)
            if (const Asset& asset = is_.risk_.asset(u16(no)); asset.is_known)
                add(rows, AssetRow{u16(no), {}, asset.supply, asset.fees, {}});
        return rows;
    }
    std::string markets() {
        std::string rows;
        for (u32 no = 0; no < 65536; ++no)
            if (const Market* is = is_.market_of(u16(no)))
                add(rows, MarketRow{is->no, is->base, is->quote, is->status, 0, is->maker_ppm,
                                    is->taker_ppm, is->tick, is->lot, is->collar_ppm, 0, is->last_ticks});
        return rows;
    }
    std::string balances() {
        std::vector<BalanceRow> found;
        for (u32 index = 1; index < is_.risk_.accounts.top; ++index) add_balance(found, index);
        return sorted(found);
    }
    std::string balances_of(u32 customer_no) const {
        std::vector<BalanceRow> found;
        const u32 customer = is_.risk_.customer(customer_no);
        for (u32 at = customer ? is_.risk_.customers[customer].accounts : 0; at; at = is_.risk_.accounts[at].next)
            add_balance(found, at);
        return sorted(found);
    }
    std::string totals(u16 asset) const {  // one row: available, locked and held of all customers
        u128 available = 0, locked = 0, held = 0;
        for (u32 index = 1; index < is_.risk_.accounts.top; ++index)
            if (const Account& is = is_.risk_.accounts[index]; is.asset == asset)
                available += is.available, locked += is.locked, held += is.held;
        std::string rows;
        add(rows, BalanceRow{0, asset, 0, available, locked, held, 0});
        return rows;
    }
    std::string orders() {  // market by market, bids then asks, best first, oldest first
        std::string rows;
        for (u32 no = 0; no < 65536; ++no)
            if (Market* market = is_.market_of(u16(no)))
                for (const Side& side : market->sides)
                    for (auto at = side.best(); at.level; at = side.after(at.key))
                        for (u32 index = is_.book_[at.level].next; index != at.level; index = is_.book_[index].next)
                            add(rows, order_row(index));
        return rows;
    }
    std::string orders_of(u32 customer_no) {  // oldest first
        std::string rows;
        const u32 customer = is_.risk_.customer(customer_no);
        u32 at = customer ? is_.risk_.customers[customer].newest_order : 0;
        while (at && is_.book_.links[at].older) at = is_.book_.links[at].older;
        for (; at; at = is_.book_.links[at].newer) add(rows, order_row(at));
        return rows;
    }
    std::string order(u64 id) {  // one row or none
        std::string rows;
        const u32 index = is_.order_index(id);
        if (index) add(rows, order_row(index));
        return rows;
    }
    u64 order_of(u32 customer, u128 client) const {  // 0 if it is not remembered
        u64 empty;
        const u32 found = is_.remembered(customer, client, is_.client_hash(customer, client), empty);
        return found ? is_.memories_[found].order : 0;
    }
    std::string depth(u16 market_no, bool asks, u64 levels) const {
        std::string rows;
        const Market* market = is_.market_of(market_no);
        if (!market) return rows;
        const Side& side = market->sides[asks];
        for (auto at = side.best(); at.level && levels--; at = side.after(at.key)) {
            u128 lots = 0;
            u64 count = 0;
            for (u32 index = is_.book_[at.level].next; index != at.level; index = is_.book_[index].next)
                lots += u128(is_.book_[index].lots), ++count;
            add(rows, LevelRow{asks ? at.key : -at.key, lots, count});
        }
        return rows;
    }
    std::string holds() {
        std::vector<HoldRow> found;
        for (u32 index = 1; index < is_.risk_.holds.top; ++index)
            if (const Hold& hold = is_.risk_.holds[index]; hold.number) {
                const Account& account = is_.risk_.accounts[hold.account];
                found.push_back({hold.number, account.customer_no, account.asset, 0, hold.amount, {}});
            }
        std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.number < b.number; });
        return packed(found);
    }
    // Null, or what is wrong with the bytes; the engine is new and is thrown away when they are wrong.
    const char* load(const u8* data, u64 size);

  private:
    template <class Row> static void add(std::string& rows, const Row& row) {
        rows.append(reinterpret_cast<const char*>(&row), sizeof row);
    }
    template <class Row> static std::string packed(const std::vector<Row>& found) {
        return {reinterpret_cast<const char*>(found.data()), found.size() * sizeof(Row)};
    }
    static std::string sorted(std::vector<BalanceRow>& found) {
        std::sort(found.begin(), found.end(), [](const BalanceRow& a, const BalanceRow& b) {
            return (u64(a.customer) << 16 | a.asset) < (u64(b.customer) << 16 | b.asset);
        });
        return packed(found);
    }
    void add_balance(std::vector<BalanceRow>& found, u32 index) const {
        const Account& is = is_.risk_.accounts[index];
        if (is.available || is.locked || is.held)
            found.push_back({is.customer_no, is.asset, 0, is.available, is.locked, is.held, 0});
    }
    OrderRow order_row(u32 index) {
        const Memory& memory = is_.memories_[is_.book_.links[index].memory];
        const i64 remaining = is_.book_[index].lots;
        return {is_.book_[index].id, memory.customer, memory.market, u8(memory.options & 3), memory.flags,
                is_.price_of(index), memory.total, memory.total - remaining - memory.closed_ns, remaining,
                memory.client};
    }
    static ClientRow client_row(const Memory& is, i64 closed_ns) {
        return {is.customer, is.market, is.options, is.flags, is.order, is.price, is.lots, closed_ns, is.client, 0};
    }
    std::string closed_clients() const {  // by time of closing
        std::string rows;
        for (u32 at = is_.closed_first_; at; at = is_.memories_[at].next)
            add(rows, client_row(is_.memories_[at], is_.memories_[at].closed_ns));
        return rows;
    }
    std::string open_clients() const {  // by order id
        std::vector<ClientRow> found;
        for (u32 index = 1; index < is_.book_.orders.top; ++index)
            if (is_.book_[index].id) found.push_back(client_row(is_.memories_[is_.book_.links[index].memory], 0));
        std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.order < b.order; });
        return packed(found);
    }
    const char* load_rows(const u8* at, const u64* counts);
    const char* load_balance(const BalanceRow& row);
    const char* load_order(const OrderRow& row);
    const char* load_hold(const HoldRow& row);
    const char* load_client(const ClientRow& row, bool is_open);
    const char* load_slot(u32 slot);

    Engine& is_;
};

inline const char* Dump::load(const u8* data, u64 size) {
    Header header;
    if (size < sizeof header) return "state dump is shorter than its header";
    std::memcpy(&header, data, sizeof header);
    if (std::memcmp(header.magic, "SRSTATE2", 8) != 0) return "not a state dump of this version";
    const u64 limits[] = {is_.limits_.open_orders, is_.limits_.open_orders_per_customer,
                          is_.limits_.remembered_orders, is_.limits_.levels_per_side};
    if (std::memcmp(header.limits, limits, sizeof limits) != 0) return "state dumped under other limits";
    u64 rows = 0;
    for (int n = 0; n < 7; ++n) {
        if (header.counts[n] > size) return "state dump has the wrong length";
        rows += header.counts[n];
    }
    if (header.counts[7] > size || size != sizeof header + rows * record_bytes + header.counts[7] * sizeof(u32))
        return "state dump has the wrong length";
    if (header.counts[3] != header.counts[6] || header.counts[7] + header.counts[6] != header.slots)
        return "state dump counts its orders in two ways";
    is_.sequence_ = is_.config_sequence_ = header.sequence;
    is_.time_ns_ = header.time_ns, is_.number_ = header.number;
    if (header.slots > is_.limits_.open_orders || header.sequence >= sequence_limit ||
        !is_.make_room(rows + header.slots))
        return "state dump is too large";
    is_.book_.orders.top = is_.book_.links.top = header.slots + 1;
    return load_rows(data + sizeof header, header.counts);
}

// The open orders' client ids come before the orders themselves, because orders point to them.
inline const char* Dump::load_rows(const u8* at, const u64* counts) {
    const u8* starts[8];
    for (int n = 0; n < 8; ++n) starts[n] = at, at += counts[n] * record_bytes;
    const auto each = [&]<class Row>(int section, Row, auto load) -> const char* {
        for (u64 n = 0; n < counts[section]; ++n)
            if (const char* wrong = load(as<Row>(starts[section] + n * record_bytes))) return wrong;
        return nullptr;
    };
    const char* wrong = each(0, AssetRow{}, [&](const AssetRow& row) -> const char* {
        is_.risk_.asset(row.no) = {row.supply, row.fees, true};
        return row.supply < supply_limit ? nullptr : "state dump has an asset that is too large";
    });
    if (!wrong) wrong = each(1, MarketRow{}, [&](const MarketRow& row) -> const char* {
        const bool is_sound = row.tick && row.lot && row.status <= Market::retired &&
                              row.collar_ppm <= collar_limit && row.last_ticks >= 0;
        if (!is_sound || !is_.prepare_market(row.no)) return "state dump has a wrong market";
        Market& market = *is_.markets_[row.no];
        market.open({{Kind::add_market, 1, row.no, 0}, row.base, row.quote, row.maker_ppm, row.taker_ppm, 0,
                     row.tick, row.lot, 0});
        market.status = row.status, market.collar_ppm = row.collar_ppm, market.last_ticks = row.last_ticks;
        return nullptr;
    });
    if (!wrong) wrong = each(2, BalanceRow{}, [&](const BalanceRow& row) { return load_balance(row); });
    if (!wrong) wrong = each(5, ClientRow{}, [&](const ClientRow& row) { return load_client(row, false); });
    if (!wrong) wrong = each(6, ClientRow{}, [&](const ClientRow& row) { return load_client(row, true); });
    if (!wrong) wrong = each(3, OrderRow{}, [&](const OrderRow& row) { return load_order(row); });
    if (!wrong) wrong = each(4, HoldRow{}, [&](const HoldRow& row) { return load_hold(row); });
    for (u64 n = 0; n < counts[7] && !wrong; ++n) {
        u32 slot;
        std::memcpy(&slot, starts[7] + n * sizeof slot, sizeof slot);
        wrong = load_slot(slot);
    }
    return wrong;
}

inline const char* Dump::load_balance(const BalanceRow& row) {
    const u32 index = is_.risk_.open_account(is_.risk_.open_customer(row.customer), row.asset);
    Account& account = is_.risk_.accounts[index];
    account.available = row.available, account.locked = row.locked, account.held = row.held;
    return is_.risk_.asset(row.asset).is_known ? nullptr : "state dump has a balance of an unknown asset";
}

inline const char* Dump::load_hold(const HoldRow& row) {
    const u32 customer = is_.risk_.customer(row.customer);
    const u32 account = customer ? is_.risk_.account(customer, row.asset) : 0;
    if (!account || !row.number || is_.risk_.hold(row.number)) return "state dump has a wrong hold";
    is_.risk_.open_hold(row.number, account, row.amount);
    return nullptr;
}

inline const char* Dump::load_client(const ClientRow& row, bool is_open) {
    const u32 hash = is_.client_hash(row.customer, row.client);
    u64 empty = 0;
    if (is_.remembered(row.customer, row.client, hash, empty)) return "state dump has a client id twice";
    const u32 index = is_.memories_.take();
    is_.memories_[index] = {row.customer, row.market, row.options, row.flags, row.order, row.price, row.lots,
                            row.closed_ns, row.client, {0}};
    is_.by_client_.put(empty, hash, index);
    if (!is_open) {
        is_.remember_closed(index);
        return nullptr;
    }
    const u64 order = (row.order & ((1 << slot_bits) - 1)) + 1;
    const u32 customer = is_.risk_.customer(row.customer);
    const u32 newest = customer ? is_.risk_.customers[customer].newest_order : 0;
    const Market* market = is_.market_of(row.market);
    if (!customer || !market || !(row.options & 3) || (row.options & 3) > sell || order >= is_.book_.orders.top || is_.book_[u32(order)].id ||
        (newest && is_.book_[newest].id >= row.order))
        return "state dump has a wrong open order";
    const bool sells = (row.options & 3) == sell;
    Node& node = is_.book_[u32(order)];
    node.id = row.order, node.lots = 0;
    node.given = is_.risk_.account(customer, sells ? market->base : market->quote);
    is_.book_.links[u32(order)].memory = index;
    is_.book_.links[u32(order)].received = is_.risk_.open_account(customer, sells ? market->quote : market->base);
    if (!node.given) return "state dump has an open order without its lock";
    is_.join_customer(u32(order), customer);
    return nullptr;
}

inline const char* Dump::load_order(const OrderRow& row) {
    const u32 index = is_.order_index(row.order);
    if (!index || is_.book_[index].lots || row.remaining <= 0 || row.price <= 0 || row.filled < 0 ||
        row.total < row.remaining || row.total - row.remaining < row.filled)
        return "state dump has a wrong order";
    Memory& memory = is_.memories_[is_.book_.links[index].memory];
    const bool is_same = memory.customer == row.customer && memory.market == row.market &&
                         (memory.options & 3) == row.side && memory.flags == row.flags;
    if (!is_same) return "state dump has an order that differs from its client id";
    memory.total = row.total, memory.closed_ns = row.total - row.remaining - row.filled;
    is_.book_[index].lots = row.remaining;
    const bool sells = row.side == sell;
    Market& market = *is_.markets_[row.market];
    is_.book_.rest(market.sides[sells], index, row.price, u32(market.no) << 1 | sells);
    return nullptr;
}

inline const char* Dump::load_slot(u32 slot) {
    if (slot + u64(1) >= is_.book_.orders.top) return "state dump has a wrong slot";
    Node& node = is_.book_[slot + 1];
    if (node.id || node.level) return "state dump has a slot twice";
    node.level = 1;  // marks it, until it is used again
    is_.book_.orders.give_back(slot + 1);
    return nullptr;
}

}  // namespace strongroom
