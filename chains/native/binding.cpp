// The Python face of the kernel of coins' blocks: bytes in, bytes out.
#include <nanobind/nanobind.h>

#include "blocks.hpp"
#include "keys.hpp"

namespace nb = nanobind;
using namespace strongroom;

namespace {

struct Bytes {  // borrowed from any object with a contiguous buffer
    Py_buffer view;
    explicit Bytes(nb::handle from, int how = PyBUF_SIMPLE) {
        if (PyObject_GetBuffer(from.ptr(), &view, how) != 0) throw nb::python_error();
    }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;
    ~Bytes() { PyBuffer_Release(&view); }
    const u8* at() const { return static_cast<const u8*>(view.buf); }
    u64 size() const { return u64(view.len); }
    Table table() const { return {static_cast<Entry*>(view.buf), size() / sizeof(Entry)}; }
};

struct Factor {
    u64 words[factor_words];
    explicit Factor(nb::bytes from) {
        if (from.size() != sizeof words) throw std::invalid_argument("a factor has 48 bytes");
        std::memcpy(words, from.c_str(), sizeof words);
    }
};

template <class T>
nb::bytes to_bytes(const std::vector<T>& from) {
    return nb::bytes(reinterpret_cast<const char*>(from.data()), from.size() * sizeof(T));
}

nb::tuple walk(nb::bytes raw, u64 place, u64 count) {
    Walk found(reinterpret_cast<const u8*>(raw.c_str()), raw.size(), place);
    found.transactions(count);
    return nb::make_tuple(found.at - found.start, found.stripped, to_bytes(found.hashes),
        to_bytes(found.outputs), to_bytes(found.outputs_end), to_bytes(found.inputs),
        to_bytes(found.inputs_end));
}

nb::bytes merkle_root(nb::bytes hashes) {
    const auto* from = reinterpret_cast<const u8*>(hashes.c_str());
    std::vector<u8> level(from, from + hashes.size() / 32 * 32);
    root_of(level);
    return nb::bytes(reinterpret_cast<const char*>(level.data()), 32);
}

u64 add(nb::handle into, nb::bytes factor, nb::list texts) {
    const Bytes buffer(into, PyBUF_WRITABLE);
    const Factor by(factor);
    Table table = buffer.table();
    u64 fresh = 0;
    for (nb::handle text : texts) {
        const Bytes from(text);
        if (from.size() > longest) throw std::invalid_argument("too long");
        fresh += table.put(entry_of(by.words, from.at(), from.size()));
    }
    return fresh;
}

void move(nb::handle from, nb::handle into) {
    const Bytes old(from), fresh(into, PyBUF_WRITABLE);
    Table table = fresh.table();
    const Table before = old.table();
    for (u64 at = 0; at < before.room; at++)
        if (!before.entries[at].is_free()) table.put(before.entries[at]);
}

bool has(nb::handle in, nb::bytes factor, nb::bytes text) {
    const Bytes buffer(in);
    if (text.size() > longest) return false;
    const auto* from = reinterpret_cast<const u8*>(text.c_str());
    return buffer.table().has(entry_of(Factor(factor).words, from, text.size()));
}

// Which of these places have a text of the set. What is behind the front of the queue has been asked
// of memory while others were hashed.
class Search {
    static constexpr u64 ahead = 16;
    const Factor by_;
    const Table table_;
    struct { Entry entry; u64 number; } queue_[ahead];
    u64 asked_ = 0, answered_ = 0;

    void answer() {
        const auto& next = queue_[answered_++ % ahead];
        if (table_.has(next.entry)) found.append(next.number);
    }

  public:
    nb::list found;
    Search(const Table& table, nb::bytes factor) : by_(factor), table_(table) {}
    void ask(u64 number, const u8* text, u64 size) {
        if (size > longest || !table_.room) return;
        const Entry entry = entry_of(by_.words, text, size);
        __builtin_prefetch(table_.entries + table_.home(entry));
        queue_[asked_++ % ahead] = {entry, number};
        if (asked_ - answered_ == ahead) answer();
    }
    nb::list end() {
        while (answered_ < asked_) answer();
        return found;
    }
};

u64 short_number(const u8*& at, const u8* end) {
    const u8 first = *at++;
    const u64 size = first < 0xFD ? 0 : u64(1) << (first - 0xFC);
    u64 found = first;
    if (size > u64(end - at)) throw std::invalid_argument("beyond the end");
    if (size) found = 0, std::memcpy(&found, at, size);
    at += size;
    return found;
}

nb::list paid(nb::bytes raw, nb::handle places, nb::handle in, nb::bytes factor) {
    const Bytes table(in), outputs(places);
    Search search(table.table(), factor);
    const auto* start = reinterpret_cast<const u8*>(raw.c_str());
    const u8* const end = start + raw.size();
    for (u64 n = 0; n < outputs.size() / 4; n++) {
        u32 place;
        std::memcpy(&place, outputs.at() + 4 * n, 4);
        if (u64(place) + 9 > raw.size()) throw std::invalid_argument("beyond the end");
        const u8* at = start + place + 8;
        const u64 size = short_number(at, end);
        if (size > u64(end - at)) throw std::invalid_argument("beyond the end");
        search.ask(n, at, size);
    }
    return search.end();
}

nb::list used(nb::bytes raw, nb::handle places, nb::handle in, nb::bytes factor) {
    const Bytes table(in), inputs(places);
    Search search(table.table(), factor);
    const auto* start = reinterpret_cast<const u8*>(raw.c_str());
    for (u64 n = 0; n < inputs.size() / 4; n++) {
        u32 place;
        std::memcpy(&place, inputs.at() + 4 * n, 4);
        if (u64(place) + 36 > raw.size()) throw std::invalid_argument("beyond the end");
        search.ask(n, start + place, 36);
    }
    return search.end();
}

nb::bytes sha256(nb::bytes data, bool portable) {  // for the tests of both ways
    const bool before = is_fast;
    is_fast = is_fast && !portable;
    u8 out[32];
    Sha256().add(reinterpret_cast<const u8*>(data.c_str()), data.size()).end(out);
    is_fast = before;
    return nb::bytes(reinterpret_cast<const char*>(out), 32);
}

}  // namespace

NB_MODULE(_blocks, m) {
    m.def("walk", &walk);
    m.def("merkle_root", &merkle_root);
    m.def("add", &add);
    m.def("move", &move);
    m.def("has", &has);
    m.def("paid", &paid);
    m.def("used", &used);
    m.def("sha256", &sha256);
}
