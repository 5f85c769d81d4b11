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
static_assert(std::endian::native == std::endian::little,
    "records are written as they lie in memory");

enum class Kind : u8 {
    add_asset = 1, add_market, set_market_fees, halt_market, resume_market, retire_market,
    set_market_collar, place_order = 16, cancel_order, cancel_all, replace_order,
    credit = 32, debit, hold, capture, release,
};
constexpr u64 known_kinds = u64(127) << 1 | u64(15) << 16 | u64(31) << 32;  // a bit for each
enum class Said : u8 {
    asset_added = 1, market_added, market_fees_set, market_halted, market_resumed, market_retired,
    market_collar_set, config_refused = 15,
    order_accepted, order_rejected, order_duplicate, trade, order_reduced, order_replaced,
    order_filled, order_cancelled, orders_cancelled,
    credited = 32, debited, held, captured, released, funding_refused, funding_repeated,
};
enum class Why : u16 {  // ascending numbers are the order of precedence
    nothing = 0, amount_out_of_range = 20, exists_with_other_content = 30,
        duplicate_other_content = 40,
    issued_too_long_ago = 50, issued_in_future = 60, unknown_asset = 80, unknown_market = 90,
    unknown_order = 100, unknown_hold = 110, market_retired = 130, market_halted = 140,
    invalid_price = 150, outside_collar = 155, invalid_quantity = 160, invalid_combination = 170,
    too_many_orders = 190, too_many_levels = 195, would_cross = 200, would_not_fill = 210,
    zero_amount = 230, exceeds_available = 250, balance_overflow = 260,
};
enum class Cancelled : u16 { requested = 1, unfilled, self_trade, debit, market_retired };
enum : u8 { buy = 1, sell = 2, limit = 1, market = 2, gtc = 1, ioc = 2, fok = 3 };
enum : u8 { cancel_newest = 1, cancel_oldest, cancel_both, decrement };
enum Status : u8 { open, halted, retired };  // of a market

struct Wide {  // a 128-bit number wherever it stands
    u64 low = 0, high = 0;
    operator u128() const { return u128(high) << 64 | low; }
    static Wide of(u128 value) { return {u64(value), u64(value >> 64)}; }
    void operator+=(u128 more) { *this = of(*this + more); }
    void operator-=(u128 less) { *this = of(*this - less); }
};

struct Command { Kind kind; u8 version; u16 no; u32 customer; };  // no: of an asset or a market
struct Config : Command {
    u16 base, quote; u32 maker_ppm, taker_ppm, zero; Wide tick, lot; u64 end;
    u32 collar_ppm() const { return taker_ppm; }  // of set_market_collar, as is the next one
    i64 reference() const { return i64(tick.low); }
};
struct Place : Command {
    Wide client; i64 price, lots, issued_ns; u8 side, type, tif, post_only, stp, zero[11];
};
struct OfOrder : Command { u64 order, zero; i64 price, lots; u64 end[3]; };
struct Fund : Command { u64 number; Wide amount; u64 hold, zero[3]; };
static_assert(sizeof(Config) == 64 && sizeof(Place) == 64 && sizeof(OfOrder) == 64 &&
    sizeof(Fund) == 64);

// The price of an ask, minus the price of a bid; and back. Any number may be given, and no branch
// depends on the side, because that is a toss-up.
inline i64 minus(i64 any) { return i64(0 - u64(any)); }
inline i64 key_of(bool sells, i64 price) { return i64((u64(price) ^ (u64(sells) - 1)) + !sells); }
template <class Record> const Record& as(const void* at) { return *static_cast<const Record*>(at); }

}  // namespace strongroom
