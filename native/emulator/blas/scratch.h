// Temporary memory of a product, aligned to a cache line, uninitialised.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace blas {

template <typename T>
class Scratch {
public:
    explicit Scratch(std::int64_t count) : _data(static_cast<T*>(std::aligned_alloc(64, (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64))) {
        if (!_data && count > 0) std::abort();
    }
    ~Scratch() { std::free(_data); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    T* data() const { return _data; }

private:
    T* _data;
};

}
