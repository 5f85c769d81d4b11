// The books of all markets. Orders and price levels are nodes of one pool; a level is the sentinel of
// the circular queue of its orders. A side finds its levels by price through a window of 2^18 ticks
// with three layers of bits over it; what lies outside the window stands in a map.
#pragma once

#include <algorithm>
#include <map>
#include <utility>

#include "memory.hpp"

namespace strongroom {

struct Node {
    u64 id;          // of an order; of a level: its price
    i64 lots;        // what remains of an order
    u32 prev, next;  // in the queue; a level's are its newest and its oldest order
    u32 level;       // of an order; of a level: market << 1 | is_asks
    u32 given;       // the account that the order's lock is on
};
struct Links { u32 older, newer, memory, received; };  // of an order: seldom needed with the rest
static_assert(sizeof(Node) == 32 && sizeof(Links) == 16);

struct FarCell { alignas(16) u8 bytes[56]; u32 next; };

template <class T> struct FarMemory {  // std::map's nodes, from a pool that always has room
    using value_type = T;
    Pool<FarCell>* pool;
    explicit FarMemory(Pool<FarCell>* from) : pool(from) {}
    template <class U> FarMemory(const FarMemory<U>& other) : pool(other.pool) {}
    T* allocate(u64) noexcept {
        static_assert(sizeof(T) <= sizeof(FarCell::bytes));
        return reinterpret_cast<T*>((*pool)[pool->take()].bytes);
    }
    void deallocate(T* at, u64) noexcept {
        pool->give_back(u32(reinterpret_cast<FarCell*>(at) - pool->address(0)));
    }
    template <class U> bool operator==(const FarMemory<U>& other) const { return pool == other.pool; }
};
using FarLevels = std::map<i64, u32, std::less<i64>, FarMemory<std::pair<const i64, u32>>>;

class Side {  // a key is the price of an ask or minus the price of a bid: the smallest is the best
  public:
    static constexpr i64 window = 1 << 18;

    explicit Side(Pool<FarCell>* far_cells)
        : far_(FarMemory<std::pair<const i64, u32>>(far_cells)),
          memory_(window * sizeof(u32) + window / 8, true),
          levels_(reinterpret_cast<u32*>(memory_.at())),
          words_(reinterpret_cast<u64*>(memory_.at() + window * sizeof(u32))) {}

    bool takes(i64 limit) const { return best_level && best_key <= limit; }
    // The level of this price, which `open` makes if there is none.
    template <class Open> u32 find_or_add(i64 key, Open open) {
        if (!best_level) move_window(key);
        u32 level;
        if (covers(key)) {
            STRONGROOM_TOUCH(levels_ + (key - base_));
            level = levels_[key - base_];
            if (level) return level;
            put_inside(key - base_, level = open());
        } else {
            const auto [far, is_new] = far_.try_emplace(key, 0);
            if (!is_new) return far->second;
            level = far->second = open();
            // A level that a better window would hold: one day moving it is cheaper than not.
            if (u64(key) - u64(base_for(best_key)) < u64(window) && ++missed_ > inside_ + 64)
                move_window(best_key);
        }
        if (!best_level || key < best_key) best_key = key, best_level = level;
        return level;
    }
    void remove(i64 key) {
        if (covers(key)) take_outside(key - base_);
        else far_.erase(key);
        if (key != best_key) return;
        const Found next = after(key);
        best_key = next.key;
        best_level = next.level;
    }
    struct Found { i64 key; u32 level; };
    Found best() const { return {best_key, best_level}; }
    Found after(i64 key) const {  // the next worse level; 0 when there is none
        const i64 from = key < base_ ? 0 : covers(key) ? key - base_ + 1 : window;
        const i64 at = occupied(from);
        if (at < window && (far_.empty() || base_ + at < far_.begin()->first))
            return {base_ + at, levels_[at]};
        const auto far = far_.upper_bound(key);
        if (at < window && (far == far_.end() || base_ + at < far->first))
            return {base_ + at, levels_[at]};
        return far == far_.end() ? Found{0, 0} : Found{far->first, far->second};
    }
    bool has(i64 key) const { return covers(key) ? levels_[key - base_] != 0 : far_.count(key) != 0; }
    const u32* place(i64 key) const { return covers(key) ? levels_ + (key - base_) : nullptr; }

    i64 best_key = 0;
    u32 best_level = 0;
    u64 level_count = 0;

  private:
    bool covers(i64 key) const { return u64(key) - u64(base_) < u64(window); }
    static i64 base_for(i64 key) { return std::max(key, INT64_MIN + window) - window / 4; }
    void put_inside(i64 at, u32 level) {
        levels_[at] = level;
        words_[at >> 6] |= u64(1) << (at & 63);
        groups_[at >> 12] |= u64(1) << (at >> 6 & 63);
        all_ |= u64(1) << (at >> 12);
        ++inside_;
    }
    void take_outside(i64 at) {
        levels_[at] = 0;
        --inside_;
        if (words_[at >> 6] &= ~(u64(1) << (at & 63))) return;
        if (groups_[at >> 12] &= ~(u64(1) << (at >> 6 & 63))) return;
        all_ &= ~(u64(1) << (at >> 12));
    }
    i64 occupied(i64 from) const {  // the first occupied place from here on, window if there is none
        if (from >= window) return window;
        u64 word = u64(from) >> 6, group = word >> 6;
        u64 bits = words_[word] & ~u64(0) << (from & 63);
        if (!bits) {
            bits = groups_[group] & ~u64(1) << (word & 63);
            if (!bits) {
                bits = all_ & ~u64(1) << group;
                if (!bits) return window;
                group = u64(std::countr_zero(bits));
                bits = groups_[group];
            }
            word = group << 6 | u64(std::countr_zero(bits));
            bits = words_[word];
        }
        return i64(word << 6 | u64(std::countr_zero(bits)));
    }
    void move_window(i64 around) {
        for (i64 at = occupied(0); at < window; at = occupied(at)) {
            far_.emplace(base_ + at, levels_[at]);
            take_outside(at);
        }
        base_ = base_for(around);
        missed_ = 0;
        for (auto far = far_.lower_bound(base_); far != far_.end() && covers(far->first);) {
            put_inside(far->first - base_, far->second);
            far = far_.erase(far);
        }
    }

    FarLevels far_;
    Reserved memory_;
    u32* levels_;
    u64* words_;
    u64 groups_[64] = {}, all_ = 0;
    i64 base_ = 0;
    u64 inside_ = 0, missed_ = 0;
};

class Book {  // the nodes of all markets: orders first, levels behind them
  private:
    static constexpr u64 per_page = page_bytes / sizeof(Node);
    u64 first_level_;
    Reserved memory_;

  public:
    // Every level holds an order, so there are never more levels than orders.
    explicit Book(u64 orders_most)
        : first_level_((orders_most / per_page + 1) * per_page),
          memory_((2 * first_level_ + per_page) * sizeof(Node), false), orders(memory_.at(), orders_most),
          links(orders_most), levels(memory_.at() + first_level_ * sizeof(Node), orders_most),
          far_cells(orders_most) {}

    const Node& operator[](u32 index) const {
        STRONGROOM_TOUCH(orders.address(index));
        return *orders.address(index);
    }
    Node& operator[](u32 index) { return const_cast<Node&>(std::as_const(*this)[index]); }
    bool room(u64 more) {
        return orders.room_at_most(more) && links.room_at_most(more) && levels.room_at_most(more) &&
               far_cells.room_at_most(more);
    }
    u32 take() {
        const u32 index = orders.take();
        links.top = orders.top;
        return index;
    }
    void rest(Side& side, u32 index, i64 price, u32 tag) {  // last in the queue of its price
        const i64 key = tag & 1 ? price : -price;
        const u32 level = side.find_or_add(key, [&] {
            const u32 opened = u32(first_level_) + levels.take();
            ++side.level_count;
            (*this)[opened] = {u64(price), 0, opened, opened, tag, 0};
            return opened;
        });
        Node &order = (*this)[index], &sentinel = (*this)[level];
        order.level = level;
        order.prev = sentinel.prev;
        order.next = level;
        (*this)[sentinel.prev].next = index;
        sentinel.prev = index;
    }
    void unrest(Side& side, u32 index) {  // an empty level goes with its last order
        const Node& order = (*this)[index];
        (*this)[order.prev].next = order.next;
        (*this)[order.next].prev = order.prev;
        const Node& level = (*this)[order.level];
        if (level.next != order.level) return;
        --side.level_count;
        side.remove(level.level & 1 ? i64(level.id) : -i64(level.id));
        levels.give_back(order.level - u32(first_level_));
    }

    Pool<Node> orders;
    Pool<Links> links;
    Pool<Node> levels;
    Pool<FarCell> far_cells;
};

}  // namespace strongroom
