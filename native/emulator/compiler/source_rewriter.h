// What CUDA C has and C++ lacks: __shared__ declarations, __launch_bounds__ and __cluster_dims__, rewritten in the text. Lines keep their numbers.
#pragma once

#include <string>
#include <vector>

namespace emu {

// A kernel seen in the text.
struct KernelDeclaration {
    std::string name;
    bool extern_c;         // may be asked for by its plain name
    // Companions with the same template parameters were put in front of it:
    bool has_bounds;       // `emu_bounds_<name>`
    bool has_cluster;      // `emu_cluster_<name>`
};

struct RewrittenSource {
    std::string text;
    std::vector<KernelDeclaration> kernels;
};

// `unit` makes the names that are added unique among the files of one program.
RewrittenSource rewrite_source(const std::string& source, int unit);

} // namespace emu
