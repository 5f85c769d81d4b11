// The events that the workloads ask for, as engine/records.py lays them out; written down here once
// more, so that the textbook twin does not share the native core's way of writing them.
#pragma once

#include "../../../engine/native/engine.hpp"

namespace bench {
using namespace strongroom;

struct Event { Said kind; u8 version; u16 no; u32 customer; u64 sequence; };
struct Simple : Event { u64 zero[6]; };
struct MarketAdded : Event { u16 base, quote; u32 maker_ppm, taker_ppm, zero; Wide tick, lot; };
struct Accepted : Event {
    u64 order; Wide client; i64 price, lots; u8 side, type, tif, post_only, stp, zero[3];
};
struct Rejected : Event { u64 order; Wide client; Why why; Kind command; u8 zero[21]; };
struct Trade : Event {
    u64 taker, maker; i64 price, lots; u32 maker_customer, taker_ppm, maker_ppm; u8 taker_side, zero[3];
};
struct Changed : Event { u64 order; i64 price_or_reduced, total_or_remaining, remaining; u8 kept, zero[15]; };
struct Closed : Event { u64 order; i64 lots; u16 why; u8 zero[30]; };
struct Funded : Event { u64 number, hold; Wide amount, more; };

constexpr Limits limits{1 << 24, 1 << 24, 1 << 24, 1 << 20};

}  // namespace bench
