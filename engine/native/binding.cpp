// The Python face of the engine: bytes in, bytes out. Errors in our own records are ValueError.
#include <nanobind/nanobind.h>

#include "dump.hpp"

namespace nb = nanobind;
using namespace strongroom;

namespace {

constexpr u64 few_bytes = 16 * record_bytes;  // giving up the interpreter lock costs more than these

struct Bytes {  // borrowed from any object with a contiguous buffer
    Py_buffer view;
    std::vector<u64> copy;  // of bytes that do not begin where a number may
    explicit Bytes(nb::handle from) {
        if (PyObject_GetBuffer(from.ptr(), &view, PyBUF_SIMPLE) != 0) nb::raise_python_error();
        if (reinterpret_cast<std::uintptr_t>(view.buf) % alignof(u64) == 0) return;
        copy.resize((size() + 7) / 8);
        std::memcpy(copy.data(), view.buf, size());
    }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;
    ~Bytes() { PyBuffer_Release(&view); }
    const u8* at() const {
        return copy.empty() ? static_cast<const u8*>(view.buf) : reinterpret_cast<const u8*>(copy.data());
    }
    u64 size() const { return u64(view.len); }
};

nb::bytes to_bytes(const std::string& rows) { return nb::bytes(rows.data(), rows.size()); }

class Core {
  public:
    Core(u64 open_orders, u64 per_customer, u64 remembered, u64 levels)
        : engine_(Limits{open_orders, per_customer, remembered, levels}) {}

    nb::bytes apply(nb::handle records, u64 first_sequence, i64 time_ns) {
        const Bytes in(records);
        if (in.size() % record_bytes) throw nb::value_error("records are not whole");
        const u64 count = in.size() / record_bytes;
        const char* wrong;
        if (in.size() <= few_bytes) {
            wrong = engine_.apply(in.at(), count, first_sequence, time_ns);
        } else {
            const nb::gil_scoped_release without_lock;
            wrong = engine_.apply(in.at(), count, first_sequence, time_ns);
        }
        if (wrong == out_of_memory) throw std::bad_alloc();
        if (wrong) throw nb::value_error(wrong);
        return nb::bytes(reinterpret_cast<const char*>(engine_.events()), engine_.event_bytes());
    }
    bool has_room(u64 commands) { return engine_.has_room(commands); }
    void check(nb::handle records, u64 first_sequence, i64 time_ns) {
        const Bytes in(records);
        if (in.size() % record_bytes) throw nb::value_error("records are not whole");
        const char* wrong = engine_.unfit(in.at(), in.size() / record_bytes, first_sequence, time_ns);
        if (wrong == out_of_memory) throw std::bad_alloc();
        if (wrong) throw nb::value_error(wrong);
    }
    void load(nb::handle data) {
        const Bytes in(data);
        if (const char* wrong = Dump(engine_).load(in.at(), in.size())) throw nb::value_error(wrong);
    }
    nb::bytes depth(u16 market_no, bool asks, u64 levels) {
        return to_bytes(Dump(engine_).depth(market_no, asks, levels));
    }
    u64 order_of(u32 customer, u64 client_low, u64 client_high) {
        return Dump(engine_).order_of(customer, u128(client_high) << 64 | client_low);
    }
    template <std::string (Dump::*rows)()> nb::bytes all() { return to_bytes((Dump(engine_).*rows)()); }
    template <auto rows, class Key> nb::bytes of(Key key) { return to_bytes((Dump(engine_).*rows)(key)); }

    const Engine& engine() const { return engine_; }

  private:
    Engine engine_;
};

}  // namespace

NB_MODULE(_core, module) {
    module.attr("RECORD_VERSION") = record_version;
    module.attr("RECORD_BYTES") = record_bytes;
    module.attr("BATCH_MAX") = batch_most;
    nb::class_<Core>(module, "Core")
        .def(nb::init<u64, u64, u64, u64>())
        .def("apply", &Core::apply)
        .def("has_room", &Core::has_room)
        .def("check", &Core::check)
        .def("load", &Core::load)
        .def("depth", &Core::depth)
        .def("order_of", &Core::order_of)
        .def("dump", &Core::all<&Dump::whole>)
        .def("assets", &Core::all<&Dump::assets>)
        .def("markets", &Core::all<&Dump::markets>)
        .def("balances", &Core::all<&Dump::balances>)
        .def("orders", &Core::all<&Dump::orders>)
        .def("holds", &Core::all<&Dump::holds>)
        .def("totals", &Core::of<&Dump::totals, u16>)
        .def("balances_of", &Core::of<&Dump::balances_of, u32>)
        .def("orders_of", &Core::of<&Dump::orders_of, u32>)
        .def("order", &Core::of<&Dump::order, u64>)
        .def_prop_ro("sequence", [](const Core& core) { return core.engine().sequence(); })
        .def_prop_ro("time_ns", [](const Core& core) { return core.engine().time_ns(); })
        .def_prop_ro("funding_number", [](const Core& core) { return core.engine().funding_number(); })
        .def_prop_ro("config_sequence", [](const Core& core) { return core.engine().config_sequence(); });
}
