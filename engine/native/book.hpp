// The books of all markets. Orders and price levels are nodes of one array; a level is the sentinel
// of the circular queue of its orders, so nothing branches at a queue's ends. A side finds its
// levels by price through a window of 2^20 ticks with layers of bits over it; what lies outside the
// window hangs in a treap, whose links are in the levels themselves.
#pragma once

#include "memory.hpp"

namespace strongroom {

struct Node {
    union { u64 id; i64 key; };       // of an order, 0: not open; of a level: its key
    // remaining lots; a far level's children, the better one first
    union { i64 lots; u32 far[2]; };
    u32 prev, next;                  // in the queue; a level's are its newest and its oldest order
    u32 level;                   // of an order; of a level: market << 1 | is_asks
    u32 given, received;         // the account that the order's lock is on, and the other one
    u32 record;                  // what the customer sent
    u32 older, newer;            // the same customer's open orders
};
static_assert(sizeof(Node) == 48);

class Side {  // a key is the price of an ask or minus the price of a bid: the smallest is the best
  public:
    static constexpr u64 window = 1 << 20, layers = 4;
    static constexpr u64 starts[layers + 1] = {0, 0x4000, 0x4100, 0x4104, 0x4105};  // of the layers
    static constexpr u64 bytes = window * sizeof(u32) + starts[layers] * sizeof(u64);

    i64 best_key = 0;
    u32 best = 0, count = 0;  // the best level, and how many there are

    void open(Node* nodes, u8* memory, u64 seed) {  // without memory every level is a far one
        nodes_ = nodes, seed_ = seed;
        const u64 whole = (bytes + large_step - 1) / large_step * large_step;
        if (!memory || !Arena::commit(memory, whole)) return;
        slots_ = reinterpret_cast<u32*>(memory);
        bits_ = reinterpret_cast<u64*>(memory + window * sizeof(u32));
    }
    bool takes(i64 limit) const { return best && best_key <= limit; }
    const u32* slot(i64 key) const { return covers(key) ? slots_ + (key - base_) : nullptr; }
    u32 find(i64 key) const {
        if (!covers(key)) {
            const u32 found = far_after(key - 1);
            return found && nodes_[found].key == key ? found : 0;
        }
        STRONGROOM_TOUCH(slots_ + (key - base_));
        return slots_[key - base_];
    }
    void add(i64 key, u32 level) {
        if (!count++) move_window(key);
        nodes_[level].key = key;
        put(level);
        // When levels that a better window would hold keep coming, moving it costs less than not.
        if (!covers(key) && u64(key) - u64(base_for(best_key)) < window && ++missed_ > inside_ + 64)
            move_window(best_key);
        if (!best || key < best_key) best_key = key, best = level;
    }
    void remove(i64 key) {
        --count;
        if (covers(key)) clear(u64(key - base_));
        else uproot(key);
        if (key != best_key) return;
        best = after(key);
        best_key = best ? nodes_[best].key : 0;
    }
    u32 after(i64 key) const {  // the next worse level
        const u64 at = occupied(key < base_ ? 0 : covers(key) ? u64(key - base_) + 1 : window);
        const u32 far = far_after(key);
        if (at == window) return far;
        return far && nodes_[far].key < base_ + i64(at) ? far : slots_[at];
    }

  private:
    bool covers(i64 key) const { return slots_ && u64(key) - u64(base_) < window; }
    static i64 base_for(i64 key) {
        return std::max(key, INT64_MIN + i64(window)) - i64(window) / 4;
    }
    void put(u32 level) {
        if (!covers(nodes_[level].key)) return plant(level);
        u64 at = u64(nodes_[level].key - base_);
        slots_[at] = level, ++inside_;
        for (u64 layer = 0; layer < layers; ++layer, at >>= 6) {
            u64& word = bits_[starts[layer] + (at >> 6)];
            const bool was_empty = !word;
            word |= u64(1) << (at & 63);
            if (!was_empty) return;
        }
    }
    void clear(u64 at) {
        slots_[at] = 0, --inside_;
        for (u64 layer = 0; layer < layers; ++layer, at >>= 6)
            if (bits_[starts[layer] + (at >> 6)] &= ~(u64(1) << (at & 63))) return;
    }
    u64 occupied(u64 from) const {  // the first occupied slot from here on, or window
        for (u64 layer = 0; inside_ && layer < layers &&
            from >> 6 < starts[layer + 1] - starts[layer]; ++layer) {
            const u64 bits = bits_[starts[layer] + (from >> 6)] >> (from & 63);
            if (bits) {
                from += u64(std::countr_zero(bits));
                while (layer--)
                    from = from << 6 | u64(std::countr_zero(bits_[starts[layer] + from]));
                return from;
            }
            from = (from >> 6) + 1;
        }
        return window;
    }
    void move_window(i64 around) {
        for (u64 at = occupied(0); at < window; at = occupied(at + 1)) {
            plant(slots_[at]);
            clear(at);
        }
        base_ = base_for(around), missed_ = 0;
        for (u32 far; (far = far_after(base_ - 1)) && covers(nodes_[far].key);) {
            uproot(nodes_[far].key);
            put(far);
        }
    }
    // The treap: smaller keys to the left, greater weights above. Weights are secret, so that
    // nobody can choose prices which make it deep.
    u64 weight(u32 level) const {
        return mixed(u64(nodes_[level].key) ^ seed_, 0x9E3779B97F4A7C15u);
    }
    u32 far_after(i64 key) const {
        u32 found = 0;
        for (u32 at = far_; at;) {
            const bool is_worse = nodes_[at].key > key;
            if (is_worse) found = at;
            at = nodes_[at].far[!is_worse];
        }
        return found;
    }
    void plant(u32 level) {
        Node& added = nodes_[level];
        u32* at = &far_;
        while (*at && weight(*at) > weight(level))
            at = &nodes_[*at].far[added.key > nodes_[*at].key];
        u32 rest = std::exchange(*at, level), *ends[2] = {&added.far[0], &added.far[1]};
        while (rest) {
            const bool is_worse = nodes_[rest].key > added.key;
            *ends[is_worse] = rest;
            ends[is_worse] = &nodes_[rest].far[!is_worse];
            rest = *ends[is_worse];
        }
        *ends[0] = *ends[1] = 0;
    }
    void uproot(i64 key) {
        u32* at = &far_;
        while (nodes_[*at].key != key) at = &nodes_[*at].far[key > nodes_[*at].key];
        u32 below[2] = {nodes_[*at].far[0], nodes_[*at].far[1]};
        while (below[0] && below[1]) {
            const bool side = weight(below[1]) > weight(below[0]);
            *at = below[side];
            at = &nodes_[*at].far[!side];
            below[side] = *at;
        }
        *at = below[0] | below[1];
    }

    Node* nodes_ = nullptr;
    u32* slots_ = nullptr;
    u64* bits_ = nullptr;
    u32 far_ = 0;
    i64 base_ = 0;
    u64 inside_ = 0, missed_ = 0, seed_ = 0;
};

struct MarketRow {  // of a dump
    u16 no, assets[2];  // base, quote
    u8 status, zero;
    u32 maker_ppm, taker_ppm;
    Wide units[2];  // tick: minor units per tick and lot; lot: per lot
    u32 collar_ppm, nothing;
    i64 last;  // the price of the last trade; 0: none yet
};
struct Market : MarketRow {
    u128 notional_most;  // of an amount < 2^96
    u64 lots_most;       // likewise; 0: there is no such market
    u64 touched;         // the first sequence of the batch that changed it last
    u16 touched_before;  // another market of that batch; 0: none
    Side sides[2];       // bids, asks

    bool is_too_large(i64 price, i64 lots) const {  // one of its amounts is 2^96 or more
        return price > 0 && lots > 0 &&
            (u64(lots) > lots_most || u128(price) * u128(lots) > notional_most);
    }
    bool is_outside_collar(i64 price) const {
        const u64 away = price > last ? u64(price) - u64(last) : u64(last) - u64(price);
        return collar_ppm && last && u128(away) * 1'000'000 > u128(collar_ppm) * u64(last);
    }
    Why why_not(i64 price, i64 lots, i64 done) const {
        if (status != open) return status == retired ? Why::market_retired : Why::market_halted;
        if (price <= 0) return Why::invalid_price;
        if (is_outside_collar(price)) return Why::outside_collar;
        return lots <= done ? Why::invalid_quantity : Why::nothing;
    }
    bool is_same(const Config& is) const {
        return assets[0] == is.base && assets[1] == is.quote && units[0] == is.tick &&
            units[1] == is.lot &&
               maker_ppm == is.maker_ppm && taker_ppm == is.taker_ppm;
    }
    u128 lock(bool sells, i64 price, i64 lots) const {  // no branch on what is a toss-up
        return u128(u64((price - 1) * !sells + 1)) * u64(lots) * units[sells];
    }
};

}  // namespace strongroom
