// Seeded workloads: what the engine is asked while it is measured. The engine itself runs along, so
// that orders which are cancelled or replaced are open ones.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "events.hpp"

namespace bench {
using namespace strongroom;

struct Random {  // splitmix64
    u64 state;
    u64 next() {
        u64 z = (state += 0x9E3779B97F4A7C15u);
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        return z ^ z >> 31;
    }
    u64 below(u64 limit) { return u64(u128(next()) * limit >> 64); }
    bool chance(u32 per_mille) { return below(1000) < per_mille; }
};

struct Workload {
    std::vector<u8> opening, timed;  // records
    u64 timed_first_sequence = 1;
    u64 count() const { return timed.size() / record_bytes; }
};
constexpr i64 now_ns = 1'700'000'000'000'000'000;

class Maker {
  public:
    Maker(const std::string& name, u64 seed, u64 count)
        : name_(name), random_{seed}, engine_(new Engine(limits)), count_(count) {}

    Workload make() {
        const u16 markets = name_ == "w100" ? 100 : 1;
        const u32 customers = 10'000;
        const u64 prefill = name_ == "adv" ? 500'000 : name_ == "w100" ? 200'000 : 50'000;
        into_ = &made_.opening;
        say(Command{Kind::add_asset, 1, 1, 0});
        for (u16 no = 1; no <= markets; ++no) {
            say(Command{Kind::add_asset, 1, u16(no + 1), 0});
            say(Config{{Kind::add_market, 1, no, 0}, u16(no + 1), 1, 200, 500, 0, {1000, 0}, {100'000, 0}, 0});
            mids_.push_back(name_ == "adv" ? 500'000 : 20'000);
        }
        for (u32 customer = 1; customer <= customers; ++customer)
            for (u16 asset = 1; asset <= markets + 1; ++asset)
                say(Fund{{Kind::credit, 1, asset, customer}, ++number_, {0, 1 << 16}, 0, {}});
        for (u64 n = 0; n < prefill; ++n) name_ == "adv" ? place_adversarial() : place(0);
        target_ = live_.size();
        made_.timed_first_sequence = engine_->sequence() + 1;
        into_ = &made_.timed;
        for (u64 n = 0; n < count_; ++n) draw();
        return std::move(made_);
    }

  private:
    template <class Record> void say(const Record& record) {
        u8 bytes[record_bytes] = {};
        std::memcpy(bytes, &record, sizeof record);
        into_->insert(into_->end(), bytes, bytes + record_bytes);
        if (engine_->apply(bytes, 1, engine_->sequence() + 1, now_ns)) std::abort();
        const u8* event = engine_->answer();
        for (u64 at = 0; at < engine_->answer_bytes(); at += record_bytes) follow(event + at);
    }
    void follow(const u8* at) {
        const auto& event = as<Closed>(at);
        const u32 slot = u32(event.order & 0xFFFFFF);
        if (event.kind == Said::order_accepted) {
            const auto& accepted = as<Accepted>(at);
            if (slot >= places_.size()) places_.resize(slot + 1);
            places_[slot] = u32(live_.size());
            live_.push_back({event.order, event.customer, accepted.price, accepted.lots});
        } else if (event.kind == Said::order_filled || event.kind == Said::order_cancelled) {
            const u32 place = places_[slot];
            live_[place] = live_.back();
            places_[live_[place].order & 0xFFFFFF] = place;
            live_.pop_back();
        }
    }
    void draw() {
        if (name_ == "adv") return draw_adversarial();
        if (name_ == "crash" && random_.chance(1)) mids_[0] = i64(2'000 + random_.below(36'000));
        const u64 dice = random_.below(1000);
        if (dice < 570) place(0);
        else if (dice < 600) place(1);   // marketable
        else if (dice < 650) place(2);   // immediate or cancel
        else if (dice < 675) place(3);   // market
        else if (dice < 975) cancel();
        else replace();
    }
    u16 market() {  // the n-th is drawn about 1/n as often as the first
        if (mids_.size() == 1) return 1;
        const u64 x = random_.below(1 << 20);
        u64 at = 0;
        static const std::vector<u64> ends = [] {
            std::vector<u64> found;
            double total = 0, so_far = 0;
            for (int n = 1; n <= 100; ++n) total += 1.0 / n;
            for (int n = 1; n <= 100; ++n) so_far += 1.0 / n, found.push_back(u64(so_far / total * (1 << 20)));
            return found;
        }();
        while (at < 99 && x >= ends[at]) ++at;
        return u16(at + 1);
    }
    void place(int kind) {
        const u16 no = market();
        i64& mid = mids_[no - 1];
        if (random_.chance(20)) mid += random_.chance(500) ? 1 : -1;
        const bool sells = random_.chance(500);
        i64 away = 1 + i64(random_.below(random_.chance(300) ? 150 : 40));
        i64 lots = 1 + i64(random_.below(100));
        if (kind) {
            away = -i64(10 + random_.below(30));
            lots = i64(random_.below(live_.size() > target_ && target_ ? 550 : 80)) + 1;
        }
        say(order(no, sells, sells ? mid + away : mid - away, lots, u8(kind == 3 ? strongroom::market : limit),
                  kind >= 2 ? ioc : gtc));
    }
    Place order(u16 no, bool sells, i64 price, i64 lots, u8 type, u8 tif) {
        const u64 client = ++client_;
        return {{Kind::place_order, 1, no, u32(1 + random_.below(10'000))}, {client, random_.next()},
                std::max<i64>(price, 1), lots, now_ns, u8(sells ? sell : buy), type, tif, 0, cancel_newest, {}};
    }
    void cancel() {
        const auto& order = live_[random_.below(live_.size())];
        say(OfOrder{{Kind::cancel_order, 1, 0, order.customer}, order.order, 0, 0, 0, {}});
    }
    void replace() {
        const auto order = live_[random_.below(live_.size())];
        const bool shrinks = random_.chance(500);
        say(OfOrder{{Kind::replace_order, 1, 0, order.customer}, order.order, 0,
                    order.price + (shrinks ? 0 : i64(random_.below(5)) - 2), std::max<i64>(1, order.lots - 1), {}});
    }
    // 10 000 levels on each side, seven ticks apart; one queue of most of the orders; far levels that
    // come and go; cancels from the middle of the queue; sweeps.
    void place_adversarial() {
        const bool sells = random_.chance(500);
        i64 away = 7 * (1 + i64(random_.below(10'000)));
        const u64 dice = random_.below(10);
        if (dice < 6) away = 70'007 - 7;
        else if (dice < 8) away = i64(random_.below(500'000 - 2)) + 1;
        const i64 mid = mids_[0];
        const bool is_wall = dice < 6;
        say(order(1, is_wall ? true : sells, is_wall || sells ? mid + away : mid - away,
                  1 + i64(random_.below(20)), limit, gtc));
    }
    void draw_adversarial() {
        const u64 dice = random_.below(1000);
        if (dice < 480) return place_adversarial();
        if (dice < 960) return cancel();
        const bool sells = random_.chance(500);
        const i64 away = 7 * i64(random_.below(300));
        say(order(1, sells, sells ? mids_[0] - away : mids_[0] + away, 1 + i64(random_.below(200)), limit, ioc));
    }

    struct Live { u64 order; u32 customer; i64 price, lots; };
    std::string name_;
    Random random_;
    std::unique_ptr<Engine> engine_;
    u64 count_, number_ = 0, client_ = 0, target_ = 0;
    std::vector<i64> mids_;
    std::vector<Live> live_;
    std::vector<u32> places_;
    std::vector<u8>* into_ = nullptr;
    Workload made_;
};

}  // namespace bench
