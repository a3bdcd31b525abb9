// The machine's C++ compiler.
#pragma once

#include <string>
#include <vector>

namespace emu {

struct HostCompiler {
    std::string path;      // empty: none was found
    bool clang = false;
};

// g++ or clang++ on PATH; GRIFFIN_CXX names another.
HostCompiler find_host_compiler();

// Everything about compiler, resolved native architecture and shim that decides the bits of a compiled kernel; empty without a compiler.
std::string compiler_identity();

// How far one run of the compiler goes. clang's checked builds take two, see struct_copies.h.
enum class CompileStage { Whole, ToIntermediate, FromIntermediate };

// Arguments that turn `source` into `output`: a shared library that is linked against this one, or clang's intermediate text.
std::vector<std::string> compile_command(const HostCompiler& compiler, CompileStage stage, bool checked, const std::vector<std::string>& definitions,
                                         const std::string& folder, const std::string& source, const std::string& output);

} // namespace emu
