// A small reproducible generator (splitmix64) for shuffled schedules.
#pragma once

#include <cstdint>

namespace emu {

class Random {
public:
    explicit Random(uint64_t seed) : _state(seed) {}

    uint64_t next() {
        uint64_t z = _state += 0x9E3779B97F4A7C15ull;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ z >> 27) * 0x94D049BB133111EBull;
        return z ^ z >> 31;
    }

    uint64_t below(uint64_t bound) { return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64); }

private:
    uint64_t _state;
};

} // namespace emu
