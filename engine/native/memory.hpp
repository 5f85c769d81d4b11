// Memory that never moves and never fails half-way. Address space is reserved once; before a batch
// begins, room for all it could need is committed, so that nothing is allocated while it runs.
// Everything is found by a 32-bit index; index 0 is nothing.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <new>
#include <optional>

#include "records.hpp"

#ifndef STRONGROOM_TOUCH
#define STRONGROOM_TOUCH(at)  // the benchmark's floor counts the lines of memory that are touched
#endif

namespace strongroom {

constexpr u64 page_bytes = 4096, small_bytes = 4 << 20;

// The empty statement keeps gcc from taking functions that only prefetch for functions without effect.
inline void prefetch(const void* at) {
    __builtin_prefetch(at);
    asm volatile("" : : "r"(at));
}

// What is small stays small: 4 kB pages up to 4 MB, beyond that pages of 2 MB if the system has any.
inline void prefer_large_pages(void* at, u64 bytes) {
    if (bytes >= small_bytes) madvise(at, bytes, MADV_HUGEPAGE);
}
inline bool commit(void* at, u64 needed, u64 most, u64& committed) {
    if (needed <= committed) return true;
    const u64 step = needed < small_bytes ? small_bytes / 4 : small_bytes * 16;
    const u64 up_to = std::min((needed + step - 1) / step * step, most);
    if (mprotect(at, up_to, PROT_READ | PROT_WRITE) != 0) return false;
    prefer_large_pages(at, up_to);
    committed = up_to;
    return true;
}

class Reserved {  // zeroed pages that cost nothing until they are touched
  public:
    Reserved(u64 bytes, bool is_usable) : bytes_(bytes) {
        const int rights = is_usable ? PROT_READ | PROT_WRITE : PROT_NONE;
        at_ = mmap(nullptr, bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at_ == MAP_FAILED) throw std::bad_alloc();
    }
    Reserved(const Reserved&) = delete;
    Reserved& operator=(const Reserved&) = delete;
    ~Reserved() { munmap(at_, bytes_); }
    u8* at() const { return static_cast<u8*>(at_); }
    u64 bytes() const { return bytes_; }

  private:
    void* at_;
    u64 bytes_;
};

template <class T> class Pool {  // entries 1.. of a reservation, the freed ones linked by T::next
  public:
    explicit Pool(u64 most) : own_(std::in_place, (most + 1) * sizeof(T), false), at_(own_->at()), most_(most) {}
    Pool(u8* at, u64 most) : at_(at), most_(most) {}  // in a reservation of somebody else's
    T& operator[](u32 index) {
        assert(index && index < top);
        STRONGROOM_TOUCH(at_ + index * sizeof(T));
        return reinterpret_cast<T*>(at_)[index];
    }
    const T& operator[](u32 index) const { return const_cast<Pool&>(*this)[index]; }
    T* address(u32 index) const { return reinterpret_cast<T*>(at_) + index; }
    u64 most() const { return most_; }
    bool room(u64 more) {  // whether `more` can be taken from now on without asking the system
        if (top + more > most_ + 1) return false;
        const u64 whole = ((most_ + 1) * sizeof(T) + page_bytes - 1) / page_bytes * page_bytes;
        return commit(at_, (top + more) * sizeof(T), whole, committed_);
    }
    bool room_at_most(u64 more) { return room(more < most_ + 1 - top ? more : most_ + 1 - top); }
    u32 take() {
        if (!free) return add();
        const u32 index = free;
        free = (*this)[index].next;
        return index;
    }
    u32 add() {
        assert(u64(top + 1) * sizeof(T) <= committed_);
        return top++;
    }
    void give_back(u32 index) {
        (*this)[index].next = free;
        free = index;
    }

    u32 top = 1, free = 0;  // the first index never used; the one freed last

  private:
    std::optional<Reserved> own_;
    u8* at_;
    u64 most_, committed_ = 0;
};

class Table {  // open addressing: hash << 32 | index, in order of the hash, an empty place is 0
  public:
    Table() = default;
    Table(const Table&) = delete;
    Table& operator=(const Table&) = delete;
    ~Table() { release(places_, mask_); }

    template <class Is> u32 find(u32 hash, Is is) const {
        u64 empty;
        return find(hash, is, empty);
    }
    template <class Is> u32 find(u32 hash, Is is, u64& empty) const {  // if 0: where it may be put
        for (u64 at = hash >> shift_;; ++at) {
            STRONGROOM_TOUCH(places_ + (at & mask_));
            const u64 place = places_[at & mask_];
            if (!place) return empty = at & mask_, 0;
            if (place >> 32 == hash && is(u32(place))) return u32(place);
        }
    }
    void put(u64 empty, u32 hash, u32 index) {
        places_[empty] = u64(hash) << 32 | index;
        ++count_;
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
        --count_;
    }
    bool room(u64 more) {
        while ((count_ + more) * 2 > mask_ + 1 || !places_)
            if (!grow()) return false;
        return true;
    }
    void prefetch_place(u32 hash) const {
        prefetch(places_ + (hash >> shift_));
        prefetch(places_ + (hash >> shift_) + 3);  // the search may go on in the next line
    }
    u32 guess(u32 hash) const {  // 0, or what is very likely meant
        for (u64 at = hash >> shift_;; ++at) {
            const u64 place = places_[at & mask_];
            if (!place || place >> 32 == hash) return u32(place);
        }
    }
    u64 count() const { return count_; }

  private:
    bool grow() {
        const u64 mask = places_ ? mask_ * 2 + 1 : 1023;
        if (mask >> 32) return false;
        void* found = mmap(nullptr, (mask + 1) * 8, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (found == MAP_FAILED) return false;
        prefer_large_pages(found, (mask + 1) * 8);
        u64* old = places_;
        const u64 old_mask = mask_;
        places_ = static_cast<u64*>(found);
        mask_ = mask;
        shift_ = old ? shift_ - 1 : 22;
        count_ = 0;
        for (u64 at = 0; old && at <= old_mask; ++at)
            if (old[at]) add(u32(old[at] >> 32), u32(old[at]));
        release(old, old_mask);
        return true;
    }
    static void release(u64* places, u64 mask) {
        if (places) munmap(places, (mask + 1) * 8);
    }

    u64* places_ = nullptr;
    u64 mask_ = 0, count_ = 0;
    u32 shift_ = 32;
};

inline u32 hash_of(u64 key) { return u32(key * 0x9E3779B97F4A7C15u >> 32); }

}  // namespace strongroom
