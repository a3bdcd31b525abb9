// NVRTC's interface.
#include "compiler/program.h"

#include <cstring>

using namespace emu;

namespace {

constexpr int kArchitectures[] = {80, 86, 90};

nvrtcResult text_size(const std::string& text, size_t* bytes) {
    if (!bytes) return NVRTC_ERROR_INVALID_INPUT;
    *bytes = text.size() + 1;
    return NVRTC_SUCCESS;
}

nvrtcResult copy_text(const std::string& text, char* buffer) {
    if (!buffer) return NVRTC_ERROR_INVALID_INPUT;
    memcpy(buffer, text.c_str(), text.size() + 1);
    return NVRTC_SUCCESS;
}

} // namespace

GRIFFIN_EXPORT const char* nvrtcGetErrorString(nvrtcResult result) {
    switch (result) {
    case NVRTC_SUCCESS: return "NVRTC_SUCCESS";
    case NVRTC_ERROR_OUT_OF_MEMORY: return "NVRTC_ERROR_OUT_OF_MEMORY";
    case NVRTC_ERROR_PROGRAM_CREATION_FAILURE: return "NVRTC_ERROR_PROGRAM_CREATION_FAILURE";
    case NVRTC_ERROR_INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
    case NVRTC_ERROR_INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
    case NVRTC_ERROR_INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
    case NVRTC_ERROR_COMPILATION: return "NVRTC_ERROR_COMPILATION";
    case NVRTC_ERROR_BUILTIN_OPERATION_FAILURE: return "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE";
    case NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION: return "NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION";
    case NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION: return "NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION";
    case NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID: return "NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID";
    case NVRTC_ERROR_INTERNAL_ERROR: return "NVRTC_ERROR_INTERNAL_ERROR";
    }
    return "NVRTC_ERROR unknown";
}

GRIFFIN_EXPORT nvrtcResult nvrtcVersion(int* major, int* minor) {
    if (!major || !minor) return NVRTC_ERROR_INVALID_INPUT;
    *major = 12;
    *minor = 4;
    return NVRTC_SUCCESS;
}

GRIFFIN_EXPORT nvrtcResult nvrtcGetNumSupportedArchs(int* count) {
    if (!count) return NVRTC_ERROR_INVALID_INPUT;
    *count = static_cast<int>(sizeof(kArchitectures) / sizeof(*kArchitectures));
    return NVRTC_SUCCESS;
}

GRIFFIN_EXPORT nvrtcResult nvrtcGetSupportedArchs(int* architectures) {
    if (!architectures) return NVRTC_ERROR_INVALID_INPUT;
    memcpy(architectures, kArchitectures, sizeof(kArchitectures));
    return NVRTC_SUCCESS;
}

GRIFFIN_EXPORT nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source, const char* name, int header_count,
                                              const char* const* headers, const char* const* include_names) {
    if (!program || !source || header_count < 0 || (header_count > 0 && (!headers || !include_names))) return NVRTC_ERROR_INVALID_INPUT;
    *program = new Program;
    (*program)->name = name ? name : "default_program";
    (*program)->source = source;
    for (int i = 0; i < header_count; ++i) (*program)->headers.emplace_back(include_names[i], headers[i]);
    return NVRTC_SUCCESS;
}

GRIFFIN_EXPORT nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
    if (!program || !*program) return NVRTC_ERROR_INVALID_PROGRAM;
    delete *program;
    *program = nullptr;
    return NVRTC_SUCCESS;
}

GRIFFIN_EXPORT nvrtcResult nvrtcAddNameExpression(nvrtcProgram program, const char* expression) {
    if (!program) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!expression) return NVRTC_ERROR_INVALID_INPUT;
    if (program->compiled) return NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION;
    program->expressions.emplace_back(expression);
    return NVRTC_SUCCESS;
}

GRIFFIN_EXPORT nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int option_count, const char* const* options) {
    if (!program) return NVRTC_ERROR_INVALID_PROGRAM;
    if (option_count < 0 || (option_count > 0 && !options)) return NVRTC_ERROR_INVALID_INPUT;
    return program->compile(std::vector<std::string>(options, options + option_count));
}

GRIFFIN_EXPORT nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, size_t* bytes) {
    if (!program) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!bytes) return NVRTC_ERROR_INVALID_INPUT;
    *bytes = program->image.size();
    return NVRTC_SUCCESS;
}

GRIFFIN_EXPORT nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* image) {
    if (!program) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!image) return NVRTC_ERROR_INVALID_INPUT;
    memcpy(image, program->image.data(), program->image.size());
    return NVRTC_SUCCESS;
}

// There is no intermediate form: its text is empty.
GRIFFIN_EXPORT nvrtcResult nvrtcGetPTXSize(nvrtcProgram program, size_t* bytes) {
    return program ? text_size({}, bytes) : NVRTC_ERROR_INVALID_PROGRAM;
}

GRIFFIN_EXPORT nvrtcResult nvrtcGetPTX(nvrtcProgram program, char* text) {
    return program ? copy_text({}, text) : NVRTC_ERROR_INVALID_PROGRAM;
}

GRIFFIN_EXPORT nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram program, size_t* bytes) {
    return program ? text_size(program->log, bytes) : NVRTC_ERROR_INVALID_PROGRAM;
}

GRIFFIN_EXPORT nvrtcResult nvrtcGetProgramLog(nvrtcProgram program, char* text) {
    return program ? copy_text(program->log, text) : NVRTC_ERROR_INVALID_PROGRAM;
}

GRIFFIN_EXPORT nvrtcResult nvrtcGetLoweredName(nvrtcProgram program, const char* expression, const char** name) {
    if (!program) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!expression || !name) return NVRTC_ERROR_INVALID_INPUT;
    if (!program->compiled) return NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION;
    for (size_t i = 0; i < program->expressions.size(); ++i) {
        if (program->expressions[i] != expression) continue;
        *name = program->lowered[i].c_str();
        return NVRTC_SUCCESS;
    }
    return NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID;
}
