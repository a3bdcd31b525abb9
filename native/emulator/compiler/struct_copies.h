// clang's copies of 16-byte structs in checked builds.
#pragma once

#include <string>

namespace emu {

// -fsanitize=thread of clang reports the copy of a struct as a block copy, which says nothing of its alignment; g++ reports one aligned access
// of 16 bytes, which is what a GPU makes of it. In clang's intermediate text, before any optimisation, each such copy becomes a load and a
// store of a vector of the same alignment. Copies that are aligned to less on both sides stay as they are.
std::string copy_structs_as_vectors(const std::string& intermediate);

} // namespace emu
