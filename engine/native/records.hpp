// The 64-byte records of engine/records.py, version 1, little-endian: commands in, events out.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace strongroom {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i64 = std::int64_t;
__extension__ using u128 = unsigned __int128;
__extension__ using i128 = __int128;

constexpr u8 record_version = 1;
constexpr u64 record_bytes = 64;
static_assert(std::endian::native == std::endian::little, "records are written as they lie in memory");

enum class Kind : u8 {
    add_asset = 1, add_market, set_market_fees, halt_market, resume_market, retire_market, set_market_collar,
    place_order = 16, cancel_order, cancel_all, replace_order,
    credit = 32, debit, hold, capture, release,
};
enum class Said : u8 {
    asset_added = 1, market_added, market_fees_set, market_halted, market_resumed, market_retired,
    market_collar_set, config_refused = 15,
    order_accepted, order_rejected, order_duplicate, trade, order_reduced, order_replaced,
    order_filled, order_cancelled, orders_cancelled,
    credited = 32, debited, held, captured, released, funding_refused, funding_repeated,
};
enum class Why : u16 {  // ascending numbers are the order of precedence
    nothing = 0, amount_out_of_range = 20, exists_with_other_content = 30, duplicate_other_content = 40,
    issued_too_long_ago = 50, issued_in_future = 60, unknown_asset = 80, unknown_market = 90,
    unknown_order = 100, unknown_hold = 110, market_retired = 130, market_halted = 140, invalid_price = 150,
    outside_collar = 155,
    invalid_quantity = 160, invalid_combination = 170, too_many_orders = 190, too_many_levels = 195, would_cross = 200,
    would_not_fill = 210, zero_amount = 230, exceeds_available = 250, balance_overflow = 260,
};
enum class Cancelled : u16 { requested = 1, unfilled, self_trade, debit, market_retired };
enum : u8 { buy = 1, sell = 2, limit = 1, market = 2, gtc = 1, ioc = 2, fok = 3 };
enum : u8 { cancel_newest = 1, cancel_oldest, cancel_both, decrement };

struct Wide {  // a 128-bit number wherever it stands
    u64 low, high;
    Wide() = default;
    Wide(u128 value) : low(u64(value)), high(u64(value >> 64)) {}
    operator u128() const { return u128(high) << 64 | low; }
};

// ---- commands

struct Command { Kind kind; u8 version; u16 no; u32 customer; };  // no: of an asset or a market
struct Plain : Command { u8 zero[56]; };
struct AddMarket : Command { u16 base, quote; u32 maker_ppm, taker_ppm, zero; Wide tick, lot; u64 end; };
struct SetCollar : Command { u64 zero; u32 collar_ppm, zero_too; i64 reference_ticks; u64 end[4]; };
struct Place : Command {
    Wide client; i64 price, lots, issued_ns; u8 side, type, tif, post_only, stp, zero[11];
};
struct OfOrder : Command { u64 order; u64 zero; i64 price, lots; u64 end[3]; };
struct Fund : Command { u64 number; Wide amount; u64 hold; u64 zero[3]; };

// ---- events

struct Event { Said kind; u8 version; u16 no; u32 customer; u64 sequence; };
struct Simple : Event { u64 zero[6]; };
struct MarketAdded : Event { u16 base, quote; u32 maker_ppm, taker_ppm, zero; Wide tick, lot; };
struct FeesSet : Event { u32 zero, maker_ppm, taker_ppm, end[9]; };
struct CollarSet : Event { u32 zero, collar_ppm; i64 reference_ticks; u64 end[4]; };
struct ConfigRefused : Event { Why why; Kind command; u8 zero[45]; };
struct Accepted : Event {
    u64 order; Wide client; i64 price, lots; u8 side, type, tif, post_only, stp, zero[3];
};
struct Rejected : Event { u64 order; Wide client; Why why; Kind command; u8 zero[21]; };
struct Trade : Event {
    u64 taker, maker; i64 price, lots; u32 maker_customer, taker_ppm, maker_ppm; u8 taker_side, zero[3];
};
struct Changed : Event { u64 order; i64 price_or_reduced, total_or_remaining, remaining; u8 kept, zero[15]; };
struct Closed : Event { u64 order; i64 lots; u16 why; u8 zero[30]; };  // filled: lots and why are 0
struct Counted : Event { u32 count; u32 zero[11]; };
struct Funded : Event { u64 number, hold; Wide amount; Wide more; };  // more: shortfall, or why | command << 16

template <class... Records> constexpr bool all_fit = ((sizeof(Records) == record_bytes) && ...);
static_assert(all_fit<Plain, AddMarket, SetCollar, Place, OfOrder, Fund>);
static_assert(all_fit<Simple, MarketAdded, FeesSet, CollarSet, ConfigRefused, Accepted, Rejected, Trade, Changed, Closed,
                      Counted, Funded>);

template <class Record> const Record& as(const u8* at) {  // where a record begins; 8-byte aligned
    return *reinterpret_cast<const Record*>(at);
}

}  // namespace strongroom
