// profile FILE ROUNDS: apply a workload's commands again and again, looking every 50 us of CPU time where
// the processor is; prints the addresses and how often each was seen. Only the timed part is looked at.
#include <signal.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "workload.hpp"

using namespace bench;

namespace {

constexpr u64 samples_most = 1 << 20;
u64 seen[samples_most], count;

void look(int, siginfo_t*, void* context) {
    if (count < samples_most) seen[count++] = u64(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
}
bool every(timer_t timer, long ns) {
    const itimerspec when{{0, ns}, {0, ns}};
    return timer_settime(timer, 0, &when, nullptr) == 0;
}

}  // namespace

int main(int words, char** word) {
    if (words < 3) return 2;
    FILE* file = std::fopen(word[1], "rb");
    u64 head[4];
    if (!file || std::fread(head, 1, sizeof head, file) != sizeof head) return 1;
    std::vector<u8> records(head[1] + head[2]);
    if (std::fread(records.data(), 1, records.size(), file) != records.size()) return 1;

    struct sigaction action = {};
    action.sa_sigaction = look, action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigevent event = {};
    event.sigev_notify = SIGEV_SIGNAL, event.sigev_signo = SIGPROF;
    timer_t timer;
    if (sigaction(SIGPROF, &action, nullptr) || timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer)) return 1;
    for (int round = std::atoi(word[2]); round; --round) {
        Engine engine(limits);
        if (!engine.reserve(records.size() / record_bytes)) return 1;
        u64 first = 1;
        for (u64 at = 0, batch; at < records.size(); at += batch * record_bytes, first += batch) {
            const u64 end = at < head[1] ? head[1] : records.size();  // no batch lies in both parts
            batch = std::min<u64>(1024, (end - at) / record_bytes);
            if (at == head[1] && !every(timer, 50'000)) return 1;
            if (const char* wrong = engine.apply(records.data() + at, batch, first, i64(head[3])))
                return std::fputs(wrong, stderr), 1;
        }
        every(timer, 0);
    }
    std::sort(seen, seen + count);
    for (u64 at = 0, next; at < count; at = next) {
        for (next = at; next < count && seen[next] == seen[at]; ++next) {}
        std::printf("%lx %lu\n", seen[at], next - at);
    }
    return 0;
}
