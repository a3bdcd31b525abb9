// griffinEmu*: what a real driver does not have.
#include "compiler/host_compiler.h"
#include "core/context.h"
#include "shim/abi.h"

#include <cstring>

using namespace emu;

namespace {
int copy_text(const std::string& text, char* buffer, int size) {
    if (buffer && size > 0) {
        strncpy(buffer, text.c_str(), static_cast<size_t>(size));
        buffer[size - 1] = 0;
    }
    return static_cast<int>(text.size());
}
} // namespace

GRIFFIN_EXPORT int griffinEmuVersion(void) { return GRIFFIN_EMULATOR_ABI; }

GRIFFIN_EXPORT int griffinEmuAddDevice(const GriffinEmuDeviceConfig* config) { return config ? add_device(*config) : -1; }

GRIFFIN_EXPORT int griffinEmuCompilerIdentity(char* buffer, int size) { return copy_text(compiler_identity(), buffer, size); }

GRIFFIN_EXPORT int griffinEmuLastFault(char* buffer, int size) {
    Context* context = current_context();
    if (!context) return copy_text({}, buffer, size);
    std::lock_guard<std::recursive_mutex> lock(context->mutex);
    return copy_text(context->fault_text, buffer, size);
}
