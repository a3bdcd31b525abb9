// Running other programs.
#pragma once

#include <string>
#include <vector>

namespace emu {

// Part of the name of every private folder that a program is compiled in.
constexpr char kProgramFolderMark[] = "griffin-nvrtc-";

// Runs a program found on PATH and collects stdout and stderr together. Returns its exit status, -1 when it could not be started.
int run_process(const std::vector<std::string>& arguments, std::string& output);

// The full path of a program on PATH; empty when there is none.
std::string find_program(const std::string& name);

} // namespace emu
