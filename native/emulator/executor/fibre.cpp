#include "executor/fibre.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

namespace emu {

FibrePool::~FibrePool() {
    for (Fibre* fibre : _fibres) delete fibre;
    for (unsigned char* slab : _slabs) munmap(slab, kSlabFibres * kStackBytes);
}

void FibrePool::grow() {
    void* slab = mmap(nullptr, kSlabFibres * kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slab == MAP_FAILED) abort();
    auto* base = static_cast<unsigned char*>(slab);
    _slabs.push_back(base);
    for (size_t i = 0; i < kSlabFibres; ++i) {
        unsigned char* stack = base + i * kStackBytes;
        mprotect(stack, kGuardBytes, PROT_NONE);
        size_t colour = _fibres.size() * 5 % 32 * 128;
        _fibres.push_back(new Fibre{stack + kStackBytes - colour});
        _idle.push_back(_fibres.back());
    }
}

Fibre* FibrePool::take() {
    if (_idle.empty()) grow();
    Fibre* fibre = _idle.back();
    _idle.pop_back();
    return fibre;
}

void FibrePool::release_all() { _idle = _fibres; }

void* FibrePool::prepare(Fibre* fibre, void (*entry)()) {
    // Six registers, then the return address, then a dead slot so that the stack is aligned as after a call.
    auto** words = reinterpret_cast<void**>(fibre->top) - 8;
    memset(words, 0, 6 * sizeof(void*));
    words[6] = reinterpret_cast<void*>(entry);
    words[7] = nullptr;
    return words;
}

bool FibrePool::is_guard(const void* address) const {
    auto a = reinterpret_cast<uintptr_t>(address);
    for (unsigned char* slab : _slabs) {
        auto base = reinterpret_cast<uintptr_t>(slab);
        if (a >= base && a < base + kSlabFibres * kStackBytes) return (a - base) % kStackBytes < kGuardBytes;
    }
    return false;
}

} // namespace emu
