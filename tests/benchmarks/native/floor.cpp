// floor WORKLOAD COMMANDS ROUNDS: the lines of memory that the engine touches in a run are noted, then
// touched again without any logic: read the command, change each line, write the events. Addresses are
// known beforehand, so the memory is asked long before; nothing that does the same work can be faster.
#include <sys/mman.h>

#include <vector>

#define munmap(at, bytes) (void)(at), (void)(bytes)  // tables that were outgrown are touched again
namespace bench { inline std::vector<const void*>* touched = nullptr; }
#define STRONGROOM_TOUCH(at) (bench::touched ? bench::touched->push_back(at) : void())

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "workload.hpp"

using namespace bench;

namespace {

constexpr u64 ahead = 16;
struct Run { std::vector<u64> lines; std::vector<u32> ends, events; };

double cpu_ns() {
    timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return double(now.tv_sec) * 1e9 + double(now.tv_nsec);
}

Run note(Engine& engine, const Workload& work) {
    Run run;
    u64 first = 1;
    for (u64 at = 0; at < work.opening.size(); at += record_bytes)
        if (engine.apply(work.opening.data() + at, 1, first++, now_ns)) std::exit(1);
    std::vector<const void*> lines;
    for (u64 at = 0; at < work.timed.size(); at += record_bytes) {
        lines.clear();
        touched = &lines;
        if (engine.apply(work.timed.data() + at, 1, first++, now_ns)) std::exit(1);
        touched = nullptr;
        std::vector<u64> once;
        for (const void* line : lines)
            if (line) once.push_back(reinterpret_cast<u64>(line) / 64 * 64);
        std::sort(once.begin(), once.end());
        once.erase(std::unique(once.begin(), once.end()), once.end());
        run.lines.insert(run.lines.end(), once.begin(), once.end());
        run.ends.push_back(u32(run.lines.size()));
        run.events.push_back(u32(engine.answer_bytes() / record_bytes));
    }
    return run;
}

u64 replay(const Run& run, const Workload& work, std::vector<Simple>& out) {
    u64 sum = 0, line = 0, asked = 0;
    const u64 count = work.count();
    const u32 batch = 1024;
    Simple* into = out.data();
    for (u64 n = 0; n < count; ++n) {
        const u64 later = run.ends[std::min(n + ahead, count - 1)];
        for (; asked < later; ++asked) __builtin_prefetch(reinterpret_cast<void*>(run.lines[asked]), 1);
        const auto& command = as<Place>(work.timed.data() + n * record_bytes);
        sum += u64(command.price) + command.customer + u64(command.issued_ns);
        for (; line < run.ends[n]; ++line) ++*reinterpret_cast<u64*>(run.lines[line]);
        if (n % batch == 0) into = out.data();
        for (u32 event = 0; event < run.events[n]; ++event, ++into)
            *into = Simple{{Said::trade, 1, 1, command.customer, n}, {sum, n, sum, n, sum, n}};
    }
    return sum;
}

}  // namespace

int main(int words, char** word) {
    if (words < 4) return 2;
    const Workload work = Maker(word[1], 1, std::strtoull(word[2], nullptr, 10)).make();
    Engine engine(limits);
    const Run run = note(engine, work);
    std::vector<Simple> out(1 << 20);
    std::vector<double> found;
    u64 sum = 0;
    for (int round = 0; round < std::atoi(word[3]); ++round) {
        const double before = cpu_ns();
        sum += replay(run, work, out);
        found.push_back((cpu_ns() - before) / double(work.count()));
    }
    std::sort(found.begin(), found.end());
    std::printf("{\"workload\": \"%s\", \"floor_ns\": %.1f, \"floor_min_ns\": %.1f, \"lines\": %.2f, \"sum\": %lu}\n",
                word[1], found[found.size() / 2], found[0], double(run.lines.size()) / double(work.count()), sum % 10);
    return 0;
}
