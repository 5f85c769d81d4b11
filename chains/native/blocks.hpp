// Blocks of coins, walked over once. The readable twin is chains/bitcoin/block.py, class _Walk: it
// says what is asked of a block, and why; whatever this does not take is given to it.
#pragma once
#include <stdexcept>
#include <vector>

#include "sha256.hpp"

namespace strongroom {

constexpr u64 supply_max = 2'100'000'000'000'000;

struct Walk {
    const u8 *start, *at, *end;
    std::vector<u32> outputs, outputs_end, inputs, inputs_end;
    std::vector<u8> hashes;
    u64 stripped = 0;

    Walk(const u8* raw, u64 size, u64 place) : start(raw), at(raw + place), end(raw + size) {
        if (place > size) fail();
    }

    void transactions(u64 count) {
        if (count > u64(end - at) / 60) fail();
        hashes.resize(32 * count);
        for (u64 number = 0; number < count; number++) transaction(hashes.data() + 32 * number);
    }

  private:
    [[noreturn]] static void fail() { throw std::invalid_argument("not understood"); }

    const u8* take(u64 size) {
        if (size > u64(end - at)) fail();
        at += size;
        return at - size;
    }

    u64 number() {  // of variable size, in its shortest form
        const u8 first = *take(1);
        if (first < 0xFD) return first;
        const u64 size = u64(1) << (first - 0xFC);
        u64 found = 0;
        std::memcpy(&found, take(size), size);
        if (found < 0xFD || (size > 2 && !(found >> 4 * size))) fail();
        return found;
    }

    u64 items(u64 smallest) {
        const u64 count = number();
        if (!count || count > u64(end - at) / smallest) fail();
        return count;
    }

    void transaction(u8* hash) {
        const u8* const version = take(4);
        bool marked = false;
        if (at < end && *at == 0) {
            marked = true;
            if (take(2)[1] != 1) fail();
        }
        const u8* const body = at;
        const u64 spent = items(41);
        for (u64 n = 0; n < spent; n++) {
            inputs.push_back(u32(at - start));
            take(36);
            take(number());
            take(4);
        }
        inputs_end.push_back(u32(inputs.size()));
        u128 total = 0;
        for (u64 n = items(9); n; n--) {
            outputs.push_back(u32(at - start));
            u64 amount;
            std::memcpy(&amount, take(8), 8);
            total += amount;
            take(number());
        }
        if (total > supply_max) fail();
        outputs_end.push_back(u32(outputs.size()));
        const u64 size = u64(at - body);
        if (marked) witnesses(spent);
        const u8* const locktime = take(4);
        Sha256().add(version, 4).add(body, size).add(locktime, 4).end_twice(hash);
        stripped += 8 + size;
    }

    void witnesses(u64 spent) {
        u64 items = 0;
        for (u64 n = 0; n < spent; n++) {
            const u64 count = number();
            if (count > u64(end - at)) fail();
            items += count;
            for (u64 item = 0; item < count; item++) take(number());
        }
        if (!items) fail();
    }
};

inline void root_of(std::vector<u8>& level) {  // leaves the root in front
    u64 count = level.size() / 32;
    if (!count) throw std::invalid_argument("nothing");
    while (count > 1) {
        for (u64 place = 0; place + 1 < count; place += 2)
            if (!std::memcmp(&level[32 * place], &level[32 * place + 32], 32))
                throw std::invalid_argument("repeated");
        level.resize(32 * (count + 1));
        if (count % 2) std::memcpy(&level[32 * count], &level[32 * count - 32], 32), count++;
        count /= 2;
        for (u64 place = 0; place < count; place++)
            Sha256().add(&level[64 * place], 64).end_twice(&level[32 * place]);
    }
}

}  // namespace strongroom
