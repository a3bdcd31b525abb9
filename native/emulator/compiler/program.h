// One NVRTC program: source, headers, options, and what compiling them gave.
#pragma once

#include "api/cuda_types.h"

#include <string>
#include <utility>
#include <vector>

namespace emu {

struct Program {
    std::string name;
    std::string source;
    std::vector<std::pair<std::string, std::string>> headers;   // include name, text
    std::vector<std::string> expressions;                       // name expressions, in the order they were added
    std::vector<std::string> lowered;                           // their names in the compiled module
    std::string log;
    std::string image;
    bool compiled = false;

    nvrtcResult compile(const std::vector<std::string>& options);
};

} // namespace emu
