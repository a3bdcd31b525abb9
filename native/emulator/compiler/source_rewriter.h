// What CUDA C has and C++ lacks: __shared__ declarations and __launch_bounds__, rewritten in the text. Lines keep their numbers.
#pragma once

#include <string>
#include <vector>

namespace emu {

// A kernel seen in the text.
struct KernelDeclaration {
    std::string name;
    bool extern_c;         // may be asked for by its plain name
    bool has_bounds;       // a companion `emu_bounds_<name>` with the same template parameters was put in front of it
};

struct RewrittenSource {
    std::string text;
    std::vector<KernelDeclaration> kernels;
};

// `unit` makes the names that are added unique among the files of one program.
RewrittenSource rewrite_source(const std::string& source, int unit);

} // namespace emu
