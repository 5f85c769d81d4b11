// A flat set of byte texts. The readable twin, which says how and why, is chains/bitcoin/watch.py.
#pragma once
#include <stdexcept>

#include "sha256.hpp"

namespace strongroom {

constexpr u64 factor_words = 6, longest = 8 * factor_words - 1;

struct Entry {
    u64 low, high;
    bool operator==(const Entry&) const = default;
    bool is_free() const { return !low && !high; }
};

inline Entry entry_of(const u64* factor, const u8* text, u64 size) {
    u64 x[factor_words] = {};
    std::memcpy(x, text, size);
    reinterpret_cast<u8*>(x)[size] = 1;
    const u64 used = size / 8 + 1;
    u64 product[factor_words] = {};
    for (u64 i = 0; i < used; i++) {
        u128 carry = 0;
        for (u64 j = 0; i + j < factor_words; j++) {
            carry += u128(x[i]) * factor[j] + product[i + j];
            product[i + j] = u64(carry);
            carry >>= 64;
        }
    }
    return {product[factor_words - 2] | 1, product[factor_words - 1]};
}

struct Table {
    Entry* entries;
    u64 room;

    u64 home(const Entry& entry) const { return u64(u128(entry.high) * room >> 64); }
    u64 after(u64 at) const { return at + 1 == room ? 0 : at + 1; }
    bool has(const Entry& entry) const {
        if (!room) return false;
        u64 at = home(entry);
        for (u64 steps = room; steps && !entries[at].is_free(); steps--, at = after(at))
            if (entries[at] == entry) return true;
        return false;
    }
    bool put(const Entry& entry) {
        if (!room) throw std::invalid_argument("no room");
        u64 at = home(entry);
        for (u64 steps = room; !entries[at].is_free(); steps--, at = after(at)) {
            if (entries[at] == entry) return false;
            if (!steps) throw std::invalid_argument("no room");
        }
        entries[at] = entry;
        return true;
    }
};

}  // namespace strongroom
