#include "core/module.h"

#include "check/hooks.h"

#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

namespace emu {

namespace {
thread_local Module* loading;
constexpr unsigned kMostSharedStorage = check::kSharedArenaBytes - 166912 - 4096;

bool write_all(int file, const char* bytes, size_t count) {
    while (count > 0) {
        ssize_t wrote = write(file, bytes, count);
        if (wrote <= 0) return false;
        bytes += wrote;
        count -= static_cast<size_t>(wrote);
    }
    return true;
}
} // namespace

Module::~Module() {
    if (_library) dlclose(_library);
    check::forget_source_lines();
    if (_file >= 0) close(_file);
}

std::unique_ptr<Module> Module::load(const void* image, bool checked, CUresult& error, std::string& why) {
    ImageHeader header;
    memcpy(&header.magic, image, sizeof(header.magic));
    error = CUDA_ERROR_INVALID_IMAGE;
    if (memcmp(header.magic, kImageMagic, sizeof(kImageMagic)) != 0) {
        why = "the image was not made by the emulator's NVRTC";
        return nullptr;
    }
    memcpy(&header, image, sizeof(header));
    if (header.abi != GRIFFIN_EMULATOR_ABI) {
        why = "the image was made by another version of the emulator";
        return nullptr;
    }
    if ((header.checked != 0) != checked) {
        error = CUDA_ERROR_NO_BINARY_FOR_GPU;
        why = checked ? "a checked device needs kernels compiled with --griffin-checked" : "the image was compiled with --griffin-checked";
        return nullptr;
    }
    std::unique_ptr<Module> module(new Module);
    // The file stays open while the library is loaded: the loader tells libraries apart by name, and the name holds the descriptor.
    module->_file = memfd_create("griffin-kernel", MFD_CLOEXEC);
    if (module->_file < 0 || !write_all(module->_file, static_cast<const char*>(image) + sizeof(header), header.library_bytes)) {
        error = CUDA_ERROR_OUT_OF_MEMORY;
        why = "no memory for the kernel library";
        return nullptr;
    }
    std::string path = "/proc/self/fd/" + std::to_string(module->_file);
    loading = module.get();
    module->_library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    loading = nullptr;
    if (!module->_library) {
        why = dlerror();
        return nullptr;
    }
    module->table = static_cast<const EmuModuleTable*>(dlsym(module->_library, "griffin_emu_module"));
    if (!module->table || module->table->abi != GRIFFIN_EMULATOR_ABI || module->table->emulator != &emu_abi_identity) {
        why = "the kernel library is bound to another copy of the emulator";
        return nullptr;
    }
    // Slots of all kernels lie side by side in the worker's arena, in front of the dynamic memory.
    if (module->shared_storage_bytes > kMostSharedStorage) {
        why = "the kernels of one module declare " + std::to_string(module->shared_storage_bytes) +
              " bytes of static shared memory together";
        return nullptr;
    }
    for (unsigned i = 0; i < module->table->kernel_count; ++i) {
        const EmuKernelEntry& entry = module->table->kernels[i];
        module->kernels.emplace_back(new Kernel{module.get(), &entry, module->shared_bytes_of(entry), 0});
    }
    error = CUDA_SUCCESS;
    return module;
}

unsigned Module::add_shared(unsigned bytes, unsigned alignment, const char* name, const char* kernel, const char* function) {
    auto align = [alignment](unsigned offset) { return (offset + alignment - 1) / alignment * alignment; };
    unsigned offset = align(shared_storage_bytes);
    shared_storage_bytes = offset + bytes + check::kSharedGuardBytes;
    shared_slots.push_back({offset, bytes, name});
    // The name of the tag differs from declaration to declaration: what is in front of it is the function.
    std::string owner = function;
    owner.resize(owner.rfind("emu_shared_tag_") == std::string::npos ? owner.size() : owner.rfind("emu_shared_tag_"));
    FunctionShared& entry = _functions[owner];
    entry.kernel = kernel;
    entry.bytes = align(entry.bytes) + bytes;
    return offset;
}

// What functions declare that any kernel may call, and the most that one instantiation of the kernel declares itself.
unsigned Module::shared_bytes_of(const EmuKernelEntry& entry) const {
    unsigned common = 0, own = 0;
    for (const auto& [function, shared] : _functions) {
        if (shared.kernel.empty()) common += shared.bytes;
        else if (shared.kernel == entry.function && shared.bytes > own) own = shared.bytes;
    }
    return common + own;
}

} // namespace emu

unsigned emu_register_shared(unsigned bytes, unsigned alignment, const char* name, const char* kernel, const char* function) {
    return emu::loading ? emu::loading->add_shared(bytes, alignment, name, kernel, function) : 0;
}
