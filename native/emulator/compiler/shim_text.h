// The shim headers as one text; generated from shim/ when the emulator is built.
#pragma once

#include <string>

namespace emu {

const std::string& shim_text();

} // namespace emu
