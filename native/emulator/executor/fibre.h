// Stacks and the context switch of fibres.
#pragma once

#include <cstddef>
#include <vector>

extern "C" void emu_switch(void** saved_stack_pointer, void* next_stack_pointer);
extern "C" [[noreturn]] void emu_jump(void* next_stack_pointer);

namespace emu {

struct Fibre {
    unsigned char* top;    // highest usable address, coloured so that the stacks do not share cache sets
};

// The fibres of one operating-system thread. A released fibre forgets what ran on it.
class FibrePool {
public:
    FibrePool() = default;
    FibrePool(const FibrePool&) = delete;
    FibrePool& operator=(const FibrePool&) = delete;
    ~FibrePool();

    Fibre* take();
    void release(Fibre* fibre) { _idle.push_back(fibre); }
    void release_all();

    // A stack pointer for emu_switch that enters `entry` on this fibre.
    static void* prepare(Fibre* fibre, void (*entry)());
    bool is_guard(const void* address) const;

private:
    static constexpr size_t kStackBytes = 128 * 1024, kGuardBytes = 4096;
    static constexpr size_t kSlabFibres = 32;

    void grow();

    std::vector<unsigned char*> _slabs;
    std::vector<Fibre*> _fibres;
    std::vector<Fibre*> _idle;
};

} // namespace emu
