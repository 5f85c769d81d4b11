// Balances: what of each customer and asset is available, locked by open orders, or held. All
// amounts are below 2^127 because the supply of an asset is, so no sum of them overflows.
#pragma once

#include "memory.hpp"

namespace strongroom {

// known: its number is not 0 or it was added; the first 40 bytes are its row in a dump
struct Asset {
    u16 no, zero[3];
    Wide supply, fees;
    u64 is_known;
    // of the present batch: what balances and fees gained more than the supply; must be 0
    Wide drift;
};
struct Account {  // one cache line; but for the end, its row in a dump
    u32 customer;
    u16 asset, zero;
    Wide available, locked, held;
    u32 next, nothing;  // the customer's next account
    u128 sum() const { return available + locked + held; }
};
struct Customer {  // the orders are linked by Node, the accounts by Account
    u32 open_orders, newest_order, accounts;
    u32 height, tree[12];  // to the accounts by asset: of blocks, each for four bits of the number
};
struct Block { u32 entries[16]; };
struct Hold {  // but for the end, its row in a dump; number 0: free
    u64 number;
    u32 customer;
    u16 asset, zero;
    Wide amount;
    u32 account, next;
    u64 end[3];
};
static_assert(sizeof(Asset) == 64 && sizeof(Account) == 64 && sizeof(Customer) == 64 &&
    sizeof(Hold) == 64 &&
              sizeof(Block) == 64);

class Risk {
  public:
    explicit Risk(Arena& arena) : by_number_(arena) {
        assets.place(arena.carve(65536 * sizeof(Asset)), 0, 65536);
        accounts.place(arena.carve(sizeof(Account) << 27), 1, (1 << 27) - 1);
        customers.place(arena.carve(sizeof(Customer) << 32), 0, u64(1) << 32);
        // All of them may be read: unknown ones are zeros that the system keeps only once.
        const bool is_readable = mprotect(customers.at, sizeof(Customer) << 32, PROT_READ) == 0;
        blocks.place(arena.carve(sizeof(Block) << 28), 1, (1 << 28) - 1);
        holds.place(arena.carve(sizeof(Hold) << 24), 1, (1 << 24) - 1);
        if (!is_readable || !assets.room(65536, false)) throw std::bad_alloc();
    }
    bool room(u64 more) {
        return accounts.top + more <= accounts.end && accounts.room(more) &&
               blocks.top + 8 * more <= blocks.end && blocks.room(8 * more, false) &&
               holds.top + more <= holds.end && holds.room(more) && by_number_.room(more) &&
               customers.room(more, false);
    }
    bool room_for_customer(u32 no) {
        return no < customers.top || customers.room(no + u64(1) - customers.top, false);
    }
    Customer& customer(u32 no) const {  // numbers are given without gaps, so they are places
        STRONGROOM_TOUCH(customers.at + no);
        return customers.at[no];
    }
    u32 account(const Customer& who, u16 asset) const {
        const u32 first = asset >> 4 * who.height;
        u32 at = first < std::size(who.tree) ? who.tree[first] : 0;
        for (u32 level = who.height; at && level--;) {
            STRONGROOM_TOUCH(blocks.at + at);
            at = blocks.at[at].entries[asset >> 4 * level & 15];
        }
        return at;
    }
    u32 open_account(u32 customer_no, u16 asset) {
        customers.top = std::max(customers.top, customer_no + u64(1));
        Customer& who = customer(customer_no);
        while (asset >> 4 * who.height >= int(std::size(who.tree))) {  // the tree grows at its root
            std::copy(std::begin(who.tree), std::end(who.tree), blocks.at[blocks.top].entries);
            std::fill(std::begin(who.tree), std::end(who.tree), 0);
            who.tree[0] = u32(blocks.top++), ++who.height;
        }
        u32* at = &who.tree[asset >> 4 * who.height];
        for (u32 level = who.height; level--; at = &blocks.at[*at].entries[asset >> 4 * level & 15])
            if (!*at) *at = u32(blocks.top++);
        if (!*at) {
            *at = u32(accounts.top++);
            accounts[*at] = {customer_no, asset, 0, {}, {}, {}, who.accounts, 0};
            who.accounts = *at;
        }
        return *at;
    }
    void unlock(u32 account, u128 amount) {
        accounts[account].locked -= amount;
        accounts[account].available += amount;
    }
    u32 hold(u64 number) const {
        return by_number_.find(hash_of(number),
            [&](u32 index) { return holds[index].number == number; });
    }
    void open_hold(u64 number, u32 account, u128 amount) {
        const u32 index = holds.take();
        holds[index] = {number, accounts[account].customer, accounts[account].asset, 0,
            Wide::of(amount), account, 0, {}};
        by_number_.add(hash_of(number), index);
    }
    void close_hold(u32 index) {
        by_number_.drop(hash_of(holds[index].number), index);
        holds[index].number = 0;
        holds.give_back(index);
    }
    void prefetch_block(const Customer& who, u16 asset) const {
        const u32 first = asset >> 4 * who.height;
        if (who.height && first < std::size(who.tree)) prefetch(blocks.at + who.tree[first]);
    }

    static u128 fee(u128 received, u32 ppm) {  // rounded up; received is below 2^96
        if (!(received >> 44)) return (u64(received) * ppm + 999'999) / 1'000'000;
        const u128 product = received * ppm + 999'999;
        const u64 high = u64(product >> 64), middle = u64(product) >> 32, low = u32(product);
        const u64 rest = high % 1'000'000 << 32 | middle;
        const u64 last = rest % 1'000'000 << 32 | low;
        return (u128(high / 1'000'000) << 64) + (u128(rest / 1'000'000) << 32) + last / 1'000'000;
    }

    Pool<Asset> assets;
    Pool<Account> accounts;
    Pool<Customer> customers;
    Pool<Hold> holds;
    Pool<Block> blocks;

  private:
    Table by_number_;
};

}  // namespace strongroom
