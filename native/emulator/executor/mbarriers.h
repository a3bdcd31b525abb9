// mbarrier objects. Their state is kept here; the eight bytes in shared memory only mark the place.
#pragma once

#include "shim/abi.h"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace emu {

class BlockRunner;

class Mbarriers {
public:
    explicit Mbarriers(BlockRunner& runner) : _runner(runner) {}
    void init(void* barrier, unsigned arrivals, const void* site);
    // The running thread's writes, and the barriers that it has initialised, are made known to the async proxy.
    void proxy_fence();
    // One arrival, after the phase was told to expect so many bytes more.
    void arrive(void* barrier, unsigned expected_bytes, const void* site);
    // Copies of a phase land when somebody waits for it, and not before.
    void wait(void* barrier, unsigned parity, const void* site);
    // Fails unless bulk copies may name the barrier.
    void require_for_copies(void* barrier, const void* site);
    // A bulk copy issued by the thread has brought so many bytes.
    void complete_bytes(void* barrier, unsigned bytes, unsigned thread);
    bool waited_for(void* barrier) const;
    // "1 arrivals and 4096 bytes are missing": of the barriers that threads wait for.
    std::string describe_missing() const;
    void reset() { _barriers.clear(); }

private:
    struct Waiting {
        unsigned thread;
        std::uint64_t phase;
    };
    struct Mbarrier {
        unsigned expected = 0;        // arrivals of a phase
        unsigned missing = 0;         // arrivals that the phase still needs
        std::int64_t bytes = 0;       // bytes that it still needs
        std::uint64_t phase = 0;
        unsigned initialiser = 0;
        bool fenced = false;
        std::vector<Waiting> waiting;
    };

    Mbarrier& find(void* barrier, const void* site);
    void complete_if_due(void* barrier, Mbarrier& state);

    BlockRunner& _runner;
    std::unordered_map<void*, Mbarrier> _barriers;
};

} // namespace emu
