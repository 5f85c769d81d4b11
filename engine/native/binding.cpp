// The Python face of the engine: bytes in, bytes out.
#include <nanobind/nanobind.h>

#include <cstdlib>
#include <memory>

#include "state.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace strongroom;

namespace {

constexpr u64 few_bytes = 16 * record_bytes;  // giving up the interpreter lock costs more
PyObject *corrupt, *unavailable;              // core.errors

[[noreturn]] void fail(PyObject* kind, const char* what) {
    PyErr_SetString(kind, what);
    throw nb::python_error();
}

struct Bytes {  // borrowed from any object with a contiguous buffer
    Py_buffer view;
    std::unique_ptr<u64[]> copy;  // of bytes that do not begin where a number may
    explicit Bytes(nb::handle from) {
        if (PyObject_GetBuffer(from.ptr(), &view, PyBUF_SIMPLE) != 0)
            PyErr_Clear(), fail(corrupt, "no bytes");
        if (reinterpret_cast<std::uintptr_t>(view.buf) % alignof(u64) == 0) return;
        copy.reset(new u64[size() / 8 + 1]);
        std::memcpy(copy.get(), view.buf, size());
    }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;
    ~Bytes() { PyBuffer_Release(&view); }
    const u8* at() const { return static_cast<const u8*>(copy ? copy.get() : view.buf); }
    u64 size() const { return u64(view.len); }
    u64 records() const {
        if (size() % record_bytes) fail(corrupt, "records are not whole");
        return size() / record_bytes;
    }
};

nb::bytes to_bytes(const void* at, u64 size) {
    return nb::bytes(static_cast<const char*>(at), size);
}

nb::bytes read(const View& view, u64 first, u64 count) {
    first = std::clamp(first, view.first, view.top);
    return to_bytes(view.at + (first - view.first) * view.size,
        std::min(count, view.top - first) * view.size);
}

struct Image {  // a copy of the state, in large pages: most of the pause is the system giving pages
    struct Free { void operator()(u8* at) const { std::free(at); } };
    std::array<View, 8> views;
    std::array<i64, 6> counters;
    std::unique_ptr<u8, Free> memory;
    explicit Image(const State& state) : views(state.views()), counters(state.counters()) {
        u64 size = 0;
        views[7].top = 0;  // customers are known by their balances and orders
        for (const View& view : views) size += (view.top - view.first) * view.size;
        size = (size / large_step + 1) * large_step;
        memory.reset(static_cast<u8*>(std::aligned_alloc(large_step, size)));
        if (!memory) throw std::bad_alloc();
        madvise(memory.get(), size, MADV_HUGEPAGE);
        u8* into = memory.get();
        for (View& view : views) {
            size = (view.top - view.first) * view.size;
            view.at = static_cast<const u8*>(std::memcpy(into, view.at, size));
            into += size;
        }
    }
};

class Core : public Engine {
  public:
    Core(u64 open_orders, u64 per_customer, u64 remembered, u64 levels)
        : Engine({open_orders, per_customer, remembered, levels}) {}

    nb::bytes apply_records(nb::handle records, u64 first_sequence, i64 time_ns) {
        const Bytes in(records);
        const u64 count = in.records();
        const char* wrong;
        if (in.size() <= few_bytes) {
            wrong = apply(in.at(), count, first_sequence, time_ns);
        } else {
            const nb::gil_scoped_release without_lock;
            wrong = apply(in.at(), count, first_sequence, time_ns);
        }
        if (wrong) fail(corrupt, wrong);
        return to_bytes(answer(), answer_bytes());
    }
    void check_records(nb::handle records, u64 first_sequence, i64 time_ns) {
        const Bytes in(records);
        if (const char* wrong = unfit(in.at(), in.records(), first_sequence, time_ns))
            fail(wrong == out_of_memory ? unavailable : corrupt, wrong);
    }
    void load(nb::handle data) {
        if (const char* wrong = State(*this).load(Bytes(data).at())) fail(corrupt, wrong);
    }
};

nb::tuple to_tuple(const std::array<i64, 6>& is) {
    return nb::make_tuple(is[0], is[1], is[2], is[3], is[4], is[5]);
}

}  // namespace

NB_MODULE(_core, module) {
    nb::set_leak_warnings(false);  // what an exception holds when Python ends is no leak
    module.attr("RECORD_VERSION") = record_version;
    module.attr("RECORD_BYTES") = record_bytes;
    module.attr("BATCH_MAX") = batch_most;
    module.attr("MARKET_BYTES") = sizeof(Market);
    const nb::module_ errors = nb::module_::import_("core.errors");
    corrupt = errors.attr("Corrupt").ptr(), unavailable = errors.attr("Unavailable").ptr();
    nb::class_<Core>(module, "Core")
        .def(nb::init<u64, u64, u64, u64>())
        .def("apply_records", &Core::apply_records, "records"_a, nb::kw_only(), "first_sequence"_a,
            "time_ns"_a)
        .def("check_records", &Core::check_records, "records"_a, nb::kw_only(), "first_sequence"_a,
            "time_ns"_a)
        .def("has_room", [](Core& core, i64 commands) {
            return commands >= 0 && u64(commands) <= batch_most && core.room(u64(commands));
        })
        .def("reserve", [](Core& core, u64 orders) { return core.reserve(orders); })
        .def("load_rows", &Core::load)
        .def("image", [](Core& core) { return new Image(State(core)); })
        .def("order_of", [](Core& core, u32 customer, u64 low, u64 high) {
            return State(core).order_of(customer, low, high);
        })
        .def("levels", [](Core& core, u16 market, u32 side, u64 most) {
            const auto found = State(core).levels(market, side, most);
            return to_bytes(found.data(), found.size() * sizeof(u32));
        })
        .def("read", [](Core& core, u32 what, u64 first, u64 count) {
            return read(State(core).views().at(what), first, count);
        })
        .def_prop_ro("counters", [](Core& core) { return to_tuple(State(core).counters()); })
        .def_prop_ro("sequence", &Core::sequence)
        .def_prop_ro("time_ns", [](Core& core) { return State(core).counters()[1]; })
        .def_prop_ro("funding_number", [](Core& core) { return State(core).counters()[2]; })
        .def_prop_ro("config_sequence", [](Core& core) { return State(core).config_sequence(); });
    nb::class_<Image>(module, "Image")
        .def("read", [](Image& image, u32 what, u64 first, u64 count) {
            return read(image.views.at(what), first, count);
        })
        .def_prop_ro("counters", [](Image& image) { return to_tuple(image.counters); });
}
