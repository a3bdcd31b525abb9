// Small texts of kernel faults; places in the source come from the checker's line tables.
#pragma once

#include "shim/abi.h"

#include <string>

namespace emu {

std::string describe_dim(EmuDim value);

// Whether two code addresses stand for the same place in the source: a compiler may duplicate one call.
bool same_site(const void* first, const void* second);

// "file:line", or words when the module has no line table.
std::string describe_site(const void* site);

} // namespace emu
