// The shim headers as one text; generated from shim/ when the emulator is built.
#pragma once

#include <string>

namespace emu {

const std::string& shim_text();

// Of the shim and of the code that rewrites and compiles kernels.
const char* translation_digest();

} // namespace emu
