// Balances: what of each customer and asset is available, locked by open orders, or held. All amounts
// are below 2^127 because the supply of an asset is, so no sum of them overflows.
#pragma once

#include "memory.hpp"

namespace strongroom {

struct alignas(64) Account {  // one cache line
    u128 available, locked, held;
    u32 customer_no, customer;  // its number and its index
    u32 next;                   // the customer's next account
    u16 asset;
};
struct alignas(64) Customer {
    u32 no, open_orders, newest_order;  // the orders are linked by Links
    u32 accounts;                       // the first one of a chain
    u32 near_account[8];                // by the lowest bits of the asset: spares most searches
    u16 near_asset[8];
};
static_assert(sizeof(Account) == 64 && sizeof(Customer) == 64);

struct Asset { u128 supply, fees; bool is_known; };
struct Hold { u64 number; u128 amount; u32 account, next; };

class Risk {
  public:
    static constexpr u64 accounts_most = u64(1) << 27, customers_most = u64(1) << 26, holds_most = 1 << 24;

    Risk() : accounts(accounts_most), customers(customers_most), holds(holds_most),
             asset_memory_(65536 * sizeof(Asset), true) {}

    Asset& asset(u16 no) { return reinterpret_cast<Asset*>(asset_memory_.at())[no]; }
    const Asset& asset(u16 no) const { return reinterpret_cast<const Asset*>(asset_memory_.at())[no]; }

    bool room(u64 more) {
        return accounts.room(more) && customers.room(more) && holds.room(more) &&
               by_asset_.room(more) && by_no_.room(more) && by_number_.room(more);
    }
    u32 customer(u32 no) const {
        return by_no_.find(hash_of(no), [&](u32 index) { return customers[index].no == no; });
    }
    u32 open_customer(u32 no) {
        if (const u32 found = customer(no)) return found;
        const u32 index = customers.add();
        customers[index] = Customer{};
        customers[index].no = no;
        by_no_.add(hash_of(no), index);
        return index;
    }
    u32 account(u32 customer, u16 asset) {
        if (const u32 found = near(customer, asset)) return found;
        const u32 found = by_asset_.find(hash_of(u64(customer) << 16 | asset), [&](u32 index) {
            return accounts[index].customer == customer && accounts[index].asset == asset;
        });
        Customer& who = customers[customer];
        if (found) who.near_account[asset & 7] = found, who.near_asset[asset & 7] = asset;
        return found;
    }
    u32 open_account(u32 customer, u16 asset) {
        if (const u32 found = account(customer, asset)) return found;
        Customer& who = customers[customer];
        const u32 index = accounts.add();
        accounts[index] = {0, 0, 0, who.no, customer, who.accounts, asset};
        who.accounts = index;
        by_asset_.add(hash_of(u64(customer) << 16 | asset), index);
        return index;
    }
    u32 hold(u64 number) const {
        return by_number_.find(hash_of(number), [&](u32 index) { return holds[index].number == number; });
    }
    void open_hold(u64 number, u32 account, u128 amount) {
        const u32 index = holds.take();
        holds[index] = {number, amount, account, 0};
        by_number_.add(hash_of(number), index);
    }
    void close_hold(u32 index) {
        by_number_.drop(hash_of(holds[index].number), index);
        holds[index].number = 0;
        holds.give_back(index);
    }
    u64 live_holds() const { return by_number_.count(); }
    // The steps from a customer's number to the accounts, each when the one before has arrived.
    void prefetch_customer_place(u32 no) const { by_no_.prefetch_place(hash_of(no)); }
    u32 prefetch_customer(u32 no) const {
        const u32 customer = by_no_.guess(hash_of(no));
        prefetch(customers.address(customer));
        return customer;
    }
    void prefetch_account_place(u32 customer, u16 asset) const {
        if (!near(customer, asset)) by_asset_.prefetch_place(hash_of(u64(customer) << 16 | asset));
    }
    void prefetch_account(u32 customer, u16 asset, bool even_if_near) const {
        const u32 found = near(customer, asset);
        if (found && !even_if_near) return;
        prefetch(accounts.address(found ? found : by_asset_.guess(hash_of(u64(customer) << 16 | asset))));
    }

    static u128 fee(u128 received, u32 ppm) {  // rounded up; received is below 2^96
        const u128 product = received * ppm + 999'999;
        const u64 high = u64(product >> 64), middle = u64(product) >> 32, low = u32(product);
        if (!high) return u64(product) / 1'000'000;
        const u64 rest = high % 1'000'000 << 32 | middle;
        const u64 last = rest % 1'000'000 << 32 | low;
        return (u128(high / 1'000'000) << 64) + (u128(rest / 1'000'000) << 32) + last / 1'000'000;
    }

    Pool<Account> accounts;
    Pool<Customer> customers;
    Pool<Hold> holds;

  private:
    u32 near(u32 customer, u16 asset) const {
        const Customer& who = *customers.address(customer);
        return who.near_asset[asset & 7] == asset ? who.near_account[asset & 7] : 0;
    }

    Table by_asset_, by_no_, by_number_;
    Reserved asset_memory_;
};

}  // namespace strongroom
