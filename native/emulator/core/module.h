// Loaded kernel libraries.
#pragma once

#include "core/context.h"
#include "executor/launch.h"

#include <map>

namespace emu {

struct Kernel {
    Module* module;
    const EmuKernelEntry* entry;
    unsigned shared_bytes;               // static, as a GPU counts them: without guard zones
    int max_dynamic_shared;
    int carveout = -1;
};

// The form in which the emulated NVRTC hands out compiled code: this header, then a shared library.
struct ImageHeader {
    char magic[16];
    uint64_t library_bytes;
    uint32_t abi;
    uint32_t checked;
};
constexpr char kImageMagic[16] = "GRIFFINEMUKERN";

struct Module {
    Module() = default;
    Module(const Module&) = delete;
    Module& operator=(const Module&) = delete;
    ~Module();

    // Null, with a reason in words, when the image cannot be used.
    static std::unique_ptr<Module> load(const void* image, bool checked, CUresult& error, std::string& why);

    const EmuModuleTable* table = nullptr;
    std::vector<std::unique_ptr<Kernel>> kernels;
    std::vector<SharedSlot> shared_slots;
    unsigned shared_storage_bytes = 0;   // with guard zones

    // Called by the library's initialisers while it is loaded: the offset of a new slot.
    unsigned add_shared(unsigned bytes, unsigned alignment, const char* name, const char* kernel, const char* function);

private:
    unsigned shared_bytes_of(const EmuKernelEntry& entry) const;

    // Static shared memory per declaring function; `kernel` is empty for functions that any kernel may call.
    struct FunctionShared { std::string kernel; unsigned bytes = 0; };
    std::map<std::string, FunctionShared> _functions;
    void* _library = nullptr;
    int _file = -1;
};

} // namespace emu
