// bench WORKLOAD COMMANDS BATCH ROUNDS [FILE]: CPU time per command of the native engine, the textbook
// twin and the replayed touches of memory, interleaved; one line of JSON. With FILE only the workload is
// written: first sequence and counts, then the records of the opening and those that are timed.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "workload.hpp"
#include "textbook.hpp"

namespace {
using namespace bench;

double cpu_ns() {
    timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return double(now.tv_sec) * 1e9 + double(now.tv_nsec);
}

struct Digest {  // of all events, to see that both say the same
    u64 sum = 0, events = 0;
    void add(const void* at, u64 bytes) {
        events += bytes / record_bytes;
        const u64* word = static_cast<const u64*>(at);
        for (u64 n = 0; n < bytes / 8; ++n) sum = (sum ^ word[n]) * 0x9E3779B97F4A7C15u + (sum >> 29);
    }
};

template <class Apply> void feed(const std::vector<u8>& records, u64 first, u64 batch, Apply apply) {
    for (u64 at = 0; at < records.size(); at += batch * record_bytes) {
        const u64 count = std::min(batch, (records.size() - at) / record_bytes);
        apply(records.data() + at, count, first);
        first += count;
    }
}

template <class Apply> double timed(const Workload& work, u64 batch, Apply apply) {
    feed(work.opening, 1, batch, apply);
    const double before = cpu_ns();
    feed(work.timed, work.timed_first_sequence, batch, apply);
    return (cpu_ns() - before) / double(work.count());
}

double ours(const Workload& work, u64 batch, Digest* digest, u64* resting) {
    Engine engine(limits);
    if (!engine.reserve(work.count() + work.opening.size() / record_bytes)) std::exit(1);  // as at start
    const double ns = timed(work, batch, [&](const u8* at, u64 count, u64 first) {
        if (const char* wrong = engine.apply(at, count, first, now_ns)) std::fputs(wrong, stderr), std::exit(1);
        if (digest) digest->add(engine.answer(), engine.answer_bytes());
    });
    if (resting) *resting = engine.open_orders();
    return ns;
}

double textbook(const Workload& work, u64 batch, Digest* digest) {
    Textbook engine;
    return timed(work, batch, [&](const u8* at, u64 count, u64 first) {
        engine.apply(at, count, first, now_ns);
        if (digest) digest->add(engine.events().data(), engine.events().size() * record_bytes);
    });
}

double median(std::vector<double> found) {
    std::sort(found.begin(), found.end());
    return found[found.size() / 2];
}

}  // namespace

int main(int words, char** word) {
    if (words < 5) return 2;
    const u64 commands = std::strtoull(word[2], nullptr, 10), batch = std::strtoull(word[3], nullptr, 10);
    const int rounds = std::atoi(word[4]);
    const Workload work = Maker(word[1], 1, commands).make();
    if (words > 5) {
        FILE* file = std::fopen(word[5], "wb");
        if (!file) return 1;
        const u64 head[] = {work.timed_first_sequence, work.opening.size(), work.timed.size(), u64(now_ns)};
        std::fwrite(head, 1, sizeof head, file);
        std::fwrite(work.opening.data(), 1, work.opening.size(), file);
        std::fwrite(work.timed.data(), 1, work.timed.size(), file);
        return std::fclose(file);
    }
    Digest mine, twins;
    u64 resting = 0;
    ours(work, batch, &mine, &resting);
    textbook(work, batch, &twins);
    std::vector<double> of_ours, of_twin;
    for (int round = 0; round < rounds; ++round) {
        of_ours.push_back(ours(work, batch, nullptr, nullptr));
        of_twin.push_back(textbook(work, batch, nullptr));
    }
    std::printf("{\"workload\": \"%s\", \"commands\": %lu, \"events\": %lu, \"resting\": %lu, \"equal\": %s, "
                "\"ours_ns\": %.1f, \"ours_min_ns\": %.1f, \"textbook_ns\": %.1f}\n",
                word[1], work.count(), mine.events, resting, mine.sum == twins.sum ? "true" : "false",
                median(of_ours), *std::min_element(of_ours.begin(), of_ours.end()), median(of_twin));
    return 0;
}
