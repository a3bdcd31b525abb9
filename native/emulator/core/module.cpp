#include "core/module.h"

#include "check/hooks.h"

#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

namespace emu {

namespace {
thread_local Module* loading;

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
    for (unsigned i = 0; i < module->table->kernel_count; ++i)
        module->kernels.emplace_back(new Kernel{module.get(), &module->table->kernels[i], 0});
    error = CUDA_SUCCESS;
    return module;
}

} // namespace emu

unsigned emu_register_shared(unsigned bytes, unsigned alignment, const char* name, int line) {
    emu::Module* module = emu::loading;
    if (!module) return 0;
    auto align = [alignment](unsigned offset) { return (offset + alignment - 1) / alignment * alignment; };
    unsigned offset = align(module->shared_storage_bytes);
    module->shared_storage_bytes = offset + bytes + check::SharedGuardBytes;
    module->shared_bytes = align(module->shared_bytes) + bytes;
    module->shared_slots.push_back({offset, bytes, name, line});
    return offset;
}
