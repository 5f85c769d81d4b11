// Memory that never moves and never fails half-way. Address space is reserved once; before a batch
// begins, room for all that it could need is committed, so that nothing is allocated while it runs.
// Everything is found by a 32-bit index; index 0 is nothing.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <new>
#include <utility>

#include "records.hpp"

#ifndef STRONGROOM_TOUCH
#define STRONGROOM_TOUCH(at)  // the benchmark's floor notes the lines of memory that are touched
#endif

namespace strongroom {

constexpr u64 small_step = 64 << 10, large_step = 2 << 20;  // of what is committed at a time

// The empty statement keeps gcc from taking functions that only prefetch for ones without effect.
inline void prefetch(const void* at) {
    __builtin_prefetch(at);
    asm volatile("" : : "r"(at));
}

class Arena {  // address space; what is not committed costs nothing
  public:
    static constexpr u64 bytes = u64(1) << 41;
    Arena() {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void* const got = mmap(nullptr, bytes, PROT_NONE, flags, -1, 0);
        if (got == MAP_FAILED) throw std::bad_alloc();
        at_ = static_cast<u8*>(got);
    }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() { munmap(at_, bytes); }
    u8* carve(u64 size) {  // null when nothing is left; in whole large pages
        const u64 from = (u64(at_) + carved_ + large_step - 1) / large_step * large_step - u64(at_);
        if (from + size > bytes) return nullptr;
        carved_ = from + size;
        return at_ + from;
    }
    static bool commit(u8* at, u64 size) { return mprotect(at, size, PROT_READ | PROT_WRITE) == 0; }
    // The pages are given by the system at once and not when they are first touched, and large ones
    // where it has any. EINVAL: a system that cannot do this yet.
    static bool populate(u8* at, u64 size) {
        if (size >= large_step) madvise(at, size, MADV_HUGEPAGE);
        return madvise(at, size, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
    }

  private:
    u8* at_;
    u64 carved_ = 0;
};

template <class T> struct Pool {  // entries of which the freed ones are linked by T::next
    T* at = nullptr;
    u64 top = 1, end = 1, ready = 0;  // the first never used; behind the last; bytes committed
    u32 free = 0;                     // the one freed last

    void place(u8* memory, u64 first, u64 most) {
        at = reinterpret_cast<T*>(memory), top = first, end = first + most;
        ready = first * sizeof(T) / small_step * small_step;
    }
    T& operator[](u64 index) const {
        assert(index < top);
        STRONGROOM_TOUCH(at + index);
        return at[index];
    }
    // Whether there is memory for so many more: 64 kB at a time while the pool is small, then 2 MB.
    bool room(u64 more, bool now = true) {
        const u64 needed = std::min(top + more, end) * sizeof(T);
        if (needed <= ready) return true;
        const u64 step = needed < large_step ? small_step : large_step;
        const u64 size = (needed + step - 1) / step * step - ready;
        u8* const from = reinterpret_cast<u8*>(at) + ready;
        if (!Arena::commit(from, size) || (now && !Arena::populate(from, size))) return false;
        ready += size;
        return true;
    }
    u32 take() {
        if (!free) return u32(top++);
        const u32 index = free;
        free = (*this)[index].next;
        return index;
    }
    void give_back(u32 index) {
        (*this)[index].next = free;
        free = index;
    }
};

class Table {  // open addressing: hash << 32 | index, in order of the hash; an empty place is 0
  public:
    explicit Table(Arena& arena) : arena_(arena) {}

    template <class Is> u32 find(u32 hash, Is is, u64* empty = nullptr) const {
        for (u64 at = hash >> shift_;; ++at) {
            STRONGROOM_TOUCH(places_ + (at & mask_));
            const u64 place = places_[at & mask_];
            if (!place && empty) *empty = at & mask_;  // where it may be put
            if (!place || (place >> 32 == hash && is(u32(place)))) return u32(place);
        }
    }
    void put(u64 empty, u32 hash, u32 index) {
        places_[empty] = u64(hash) << 32 | index;
        ++count;
    }
    void add(u32 hash, u32 index) {
        u64 at = hash >> shift_;
        while (places_[at & mask_]) ++at;
        put(at & mask_, hash, index);
    }
    void drop(u32 hash, u32 index) {  // what follows moves up, as far as it lies nearer to its home
        u64 hole = hash >> shift_;
        while (places_[hole & mask_] != (u64(hash) << 32 | index)) ++hole;
        for (u64 at = hole + 1; const u64 place = places_[at & mask_]; ++at) {
            const u64 home = place >> 32 >> shift_;
            if (((at - home) & mask_) < ((at - hole) & mask_)) continue;
            places_[hole & mask_] = place;
            hole = at;
        }
        places_[hole & mask_] = 0;
        --count;
    }
    bool room(u64 more) {  // at most half of the places are taken
        while ((count + more) * 2 >= mask_)
            if (!grow()) return false;
        return true;
    }
    void prefetch_place(u32 hash) const { prefetch(places_ + (hash >> shift_)); }
    u32 guess(u32 hash) const { return u32(places_[hash >> shift_]); }

    u64 count = 0;

  private:
    bool grow() {
        const u64 mask = mask_ * 2 + 1 < 1023 ? 1023 : mask_ * 2 + 1, bytes = (mask + 1) * 8;
        u8* const found = mask >> 32 ? nullptr : arena_.carve(bytes);
        if (!found || !Arena::commit(found, bytes) || !Arena::populate(found, bytes)) return false;
        u64* const old = std::exchange(places_, reinterpret_cast<u64*>(found));
        const u64 old_mask = std::exchange(mask_, mask);
        shift_ = 32 - u32(std::countr_one(mask)), count = 0;
        for (u64 at = 0; old && at <= old_mask; ++at)
            if (old[at]) add(u32(old[at] >> 32), u32(old[at]));
        if (old) madvise(old, (old_mask + 1) * 8, MADV_DONTNEED);
        return true;
    }

    Arena& arena_;
    u64* places_ = nullptr;
    u64 mask_ = 0;
    u32 shift_ = 31;
};

inline u32 hash_of(u64 key) { return u32(key * 0x9E3779B97F4A7C15u >> 32); }
inline u64 mixed(u64 a, u64 b) {
    const u128 product = u128(a) * b;
    return u64(product) ^ u64(product >> 64);
}

}  // namespace strongroom
