// The textbook's engine, to be measured against: std::map of prices, std::list of orders, hash tables
// from the standard library for everything else. It answers the workloads' commands (place, cancel,
// replace, credit, configuration) with the same bytes, and knows nothing that they do not ask for.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <unordered_map>
#include <vector>

#include "events.hpp"

namespace bench {
using namespace strongroom;

class Textbook {
  public:
    void apply(const u8* records, u64 count, u64 first_sequence, i64 time_ns) {
        out_.clear();
        time_ns_ = time_ns;
        for (u64 n = 0; n < count; ++n, records += record_bytes) {
            sequence_ = first_sequence + n;
            execute(records);
        }
    }
    const std::vector<Simple>& events() const { return out_; }

  private:
    struct Order { u64 id; u32 customer; i64 lots, total; u8 stp; u128 client; };
    using Queue = std::list<Order>;
    using Levels = std::map<i64, Queue>;
    struct Book { Config is; Levels sides[2]; };
    struct Where { u16 market; bool sells; i64 key; Queue::iterator at; };
    struct Money { u128 available = 0, locked = 0; };
    struct Client { u128 id; u32 customer; bool operator==(const Client&) const = default; };
    struct Hash {
        std::size_t operator()(const Client& is) const {
            return (u64(is.id) ^ u64(is.id >> 64) * 31 ^ is.customer) * 0x9E3779B97F4A7C15u;
        }
    };

    void execute(const u8* record) {
        const auto& command = as<Command>(record);
        switch (command.kind) {
            case Kind::add_asset: emit<Simple>(Said::asset_added, command.no, 0); break;
            case Kind::add_market: add_market(as<Config>(record)); break;
            case Kind::credit: credit(as<Fund>(record)); break;
            case Kind::place_order: place(as<Place>(record)); break;
            case Kind::cancel_order: cancel(as<OfOrder>(record)); break;
            case Kind::replace_order: replace(as<OfOrder>(record)); break;
            default: std::abort();
        }
    }
    void add_market(const Config& is) {
        books_[is.no].is = is;
        auto& event = emit<MarketAdded>(Said::market_added, is.no, 0);
        event.base = is.base, event.quote = is.quote, event.maker_ppm = is.maker_ppm;
        event.taker_ppm = is.taker_ppm, event.tick = is.tick, event.lot = is.lot;
    }
    void credit(const Fund& is) {
        money(is.customer, is.no).available += is.amount;
        auto& event = emit<Funded>(Said::credited, is.no, is.customer);
        event.number = is.number, event.amount = is.amount;
    }
    void place(const Place& is) {
        Book& book = books_.at(is.no);
        const bool sells = is.side == sell;
        const Client client{is.client, is.customer};
        Order order{0, is.customer, is.lots, is.lots, is.stp, is.client};
        if (clients_.count(client) || money(is.customer, given(book, sells)).available < lock(book, sells, is.price, is.lots))
            std::abort();
        if (free_.empty()) order.id = sequence_ << 24 | top_++;
        else order.id = sequence_ << 24 | free_.back(), free_.pop_back();
        clients_[client] = order.id;
        auto& event = emit<Accepted>(Said::order_accepted, is.no, is.customer);
        event.order = order.id, event.client = is.client, event.price = is.price, event.lots = is.lots;
        event.side = is.side, event.type = is.type, event.tif = is.tif, event.stp = is.stp;
        if (!match(book, order, sells, is.price) || !order.lots) return;
        if (is.tif == gtc) {
            ++open_[is.customer];
            return rest(book, order, sells, is.price);
        }
        close(order);
        emit_closed(Said::order_cancelled, is.no, order, order.lots, Cancelled::unfilled);
    }
    // Returns whether the order is still open or has nothing left.
    bool match(Book& book, Order& order, bool sells, i64 price) {
        Levels& levels = book.sides[!sells];
        const i64 limit_key = sells ? -price : price;
        while (order.lots && !levels.empty() && levels.begin()->first <= limit_key) {
            const i64 key = levels.begin()->first, at = sells ? -key : key;
            Queue& queue = levels.begin()->second;
            Order& maker = queue.front();
            if (maker.customer == order.customer) {
                close(order);
                emit_closed(Said::order_cancelled, book.is.no, order, order.lots, Cancelled::self_trade);
                return false;
            }
            const i64 lots = std::min(order.lots, maker.lots);
            const u128 give = lock(book, !sells, at, lots), take = lock(book, sells, at, lots);
            money(maker.customer, given(book, !sells)).locked -= give;
            money(maker.customer, given(book, sells)).available += take - fee(take, book.is.maker_ppm);
            money(order.customer, given(book, sells)).available -= take;
            money(order.customer, given(book, !sells)).available += give - fee(give, book.is.taker_ppm);
            order.lots -= lots, maker.lots -= lots;
            auto& event = emit<Trade>(Said::trade, book.is.no, order.customer);
            event.taker = order.id, event.maker = maker.id, event.price = at, event.lots = lots;
            event.maker_customer = maker.customer, event.taker_side = sells ? sell : buy;
            event.taker_ppm = book.is.taker_ppm, event.maker_ppm = book.is.maker_ppm;
            if (maker.lots) continue;
            close(maker);
            --open_[maker.customer];
            orders_.erase(maker.id);
            emit_closed(Said::order_filled, book.is.no, maker, 0, Cancelled(0));
            queue.pop_front();
            if (queue.empty()) levels.erase(levels.begin());
        }
        if (order.lots) return true;
        close(order);
        emit_closed(Said::order_filled, book.is.no, order, 0, Cancelled(0));
        return true;
    }
    void rest(Book& book, const Order& order, bool sells, i64 price) {
        const u128 amount = lock(book, sells, price, order.lots);
        money(order.customer, given(book, sells)).available -= amount;
        money(order.customer, given(book, sells)).locked += amount;
        const i64 key = sells ? price : -price;
        Queue& queue = book.sides[sells][key];
        queue.push_back(order);
        orders_[order.id] = {book.is.no, sells, key, std::prev(queue.end())};
    }
    Order unrest(const Where& where) {
        Book& book = books_.at(where.market);
        Levels& levels = book.sides[where.sells];
        const Order order = *where.at;
        const u128 amount = lock(book, where.sells, where.sells ? where.key : -where.key, order.lots);
        money(order.customer, given(book, where.sells)).locked -= amount;
        money(order.customer, given(book, where.sells)).available += amount;
        const auto level = levels.find(where.key);
        level->second.erase(where.at);
        if (level->second.empty()) levels.erase(level);
        return order;
    }
    void cancel(const OfOrder& is) {
        const auto found = orders_.find(is.order);
        if (found == orders_.end() || found->second.at->customer != is.customer) std::abort();
        const Where where = found->second;
        const Order order = unrest(where);
        orders_.erase(found);
        --open_[order.customer];
        close(order);
        emit_closed(Said::order_cancelled, where.market, order, order.lots, Cancelled::requested);
    }
    void replace(const OfOrder& is) {
        const Where where = orders_.at(is.order);
        Book& book = books_.at(where.market);
        Order& order = *where.at;
        const i64 price = where.sells ? where.key : -where.key, done = order.total - order.lots;
        if (is.lots <= done) {
            auto& event = emit<Rejected>(Said::order_rejected, where.market, is.customer);
            event.order = is.order, event.why = Why::invalid_quantity, event.command = is.kind;
            return;
        }
        const i64 lots = is.lots - done;
        const bool keeps = is.price == price && lots < order.lots;
        auto& event = emit<Changed>(Said::order_replaced, where.market, is.customer);
        event.order = is.order, event.price_or_reduced = is.price, event.total_or_remaining = is.lots;
        event.remaining = lots, event.kept = keeps;
        if (keeps) {
            const u128 less = lock(book, where.sells, price, order.lots - lots);
            money(order.customer, given(book, where.sells)).locked -= less;
            money(order.customer, given(book, where.sells)).available += less;
            order.lots = lots, order.total = is.lots;
            return;
        }
        Order again = unrest(where);
        orders_.erase(is.order);
        again.lots = lots, again.total = is.lots;
        if (match(book, again, where.sells, is.price) && again.lots) rest(book, again, where.sells, is.price);
        else --open_[again.customer];
    }
    void close(const Order& order) {
        free_.push_back(u32(order.id & 0xFFFFFF));
        closed_.push_back({time_ns_, {order.client, order.customer}});
    }
    static u16 given(const Book& book, bool sells) { return sells ? book.is.base : book.is.quote; }
    static u128 lock(const Book& book, bool sells, i64 price, i64 lots) {
        return sells ? u128(lots) * book.is.lot : u128(price) * u128(lots) * book.is.tick;
    }
    static u128 fee(u128 received, u32 ppm) { return (received * ppm + 999'999) / 1'000'000; }
    Money& money(u32 customer, u16 asset) { return money_[u64(customer) << 16 | asset]; }
    template <class E> E& emit(Said kind, u16 no, u32 customer) {
        out_.emplace_back();
        E& event = reinterpret_cast<E&>(out_.back());
        static_cast<Event&>(event) = {kind, record_version, no, customer, sequence_};
        return event;
    }
    void emit_closed(Said kind, u16 no, const Order& order, i64 lots, Cancelled why) {
        auto& event = emit<Closed>(kind, no, order.customer);
        event.order = order.id, event.lots = lots, event.why = u16(why);
    }

    u64 sequence_ = 0;
    i64 time_ns_ = 0;
    u32 top_ = 0;
    std::unordered_map<u16, Book> books_;
    std::unordered_map<u64, Where> orders_;
    std::unordered_map<u64, Money> money_;
    std::unordered_map<u32, u32> open_;
    std::unordered_map<Client, u64, Hash> clients_;
    std::deque<std::pair<i64, Client>> closed_;
    std::vector<u32> free_;
    std::vector<Simple> out_;
};

}  // namespace bench
