#include "compiler/host_compiler.h"

#include "compiler/shim_text.h"
#include "core/process.h"
#include "shim/abi.h"

#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <map>
#include <mutex>

namespace emu {

namespace {

const std::vector<std::string> kFlags = {"-std=c++17", "-O2", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
                                         "-fno-strict-aliasing", "-fno-exceptions", "-fno-rtti", "-fno-stack-protector",
                                         "-fno-asynchronous-unwind-tables", "-fvisibility=hidden", "-fPIC", "-g1", "-w",
                                         "-nostdinc", "-nostdinc++", "-fdiagnostics-color=never"};
// addr2line of binutils does not find the inlined calls of clang's newer tables.
const std::vector<std::string> kClangFlags = {"-Wno-everything", "-gdwarf-4"};
const std::vector<std::string> kCheckedFlags = {"-DGRIFFIN_CHECKED=1", "-fsanitize=thread", "-fno-optimize-sibling-calls"};
// Two equal calls in two branches stay two: a divergent barrier has two places.
const std::vector<std::string> kCheckedGccFlags = {"--param=tsan-instrument-func-entry-exit=0", "--param=tsan-distinguish-volatile=1",
                                                   "-fno-tree-tail-merge", "-fno-crossjumping"};
// A read is reported even where a write of the same place follows it. Vectors of more than 16 bytes would not be reported at all.
const std::vector<std::string> kCheckedClangFlags = {"-mllvm", "-tsan-instrument-func-entry-exit=0", "-mllvm", "-tsan-distinguish-volatile=1",
                                                     "-mllvm", "-tsan-instrument-read-before-write=1", "-fno-vectorize", "-fno-slp-vectorize"};
const std::vector<std::string> kCheckedLinkFlags = {"-nodefaultlibs", "-Wl,--wrap=memcpy", "-Wl,--wrap=memmove", "-Wl,--wrap=memset",
                                                    "-lc", "-lgcc"};

// Found while the library loads, links resolved: the name it was loaded by may be gone when a kernel is linked.
const std::string kLibraryPath = [] {
    Dl_info self{};
    dladdr(&emu_abi_identity, &self);
    char* resolved = realpath(self.dli_fname, nullptr);
    std::string path = resolved ? resolved : self.dli_fname;
    free(resolved);
    return path;
}();

std::string digest(const std::string& text) {
    uint64_t first = 0xCBF29CE484222325ull, second = 0x9AE16A3B2F90404Full;
    for (unsigned char c : text) {
        first = (first ^ c) * 0x100000001B3ull;
        second = (second + c) * 0xFF51AFD7ED558CCDull;
        second ^= second >> 29;
    }
    char buffer[40];
    snprintf(buffer, sizeof(buffer), "%016llx%016llx", static_cast<unsigned long long>(first), static_cast<unsigned long long>(second));
    return buffer;
}

std::string describe(const HostCompiler& compiler) {
    std::string version, driver;
    if (run_process({compiler.path, "--version"}, version) != 0) return {};
    // The driver prints the command that it would run: -march=native is spelt out there.
    if (run_process({compiler.path, "-march=native", "-###", "-E", "-x", "c++", "/dev/null"}, driver) != 0) return {};
    std::string architecture = "native";
    for (const char* key : {"\"-march=", "-march=", "\"-target-cpu\" \""}) {
        size_t at = driver.find(key);
        while (at != std::string::npos && driver.compare(at + std::string(key).size(), 6, "native") == 0)
            at = driver.find(key, at + 1);
        if (at == std::string::npos) continue;
        at += std::string(key).size();
        architecture = driver.substr(at, driver.find_first_of("\" \n", at) - at);
        break;
    }
    return version.substr(0, version.find('\n')) + " -march=" + architecture + " target:" + digest(driver) + " shim:" + translation_digest();
}

} // namespace

HostCompiler find_host_compiler() {
    if (const char* chosen = getenv("GRIFFIN_CXX"); chosen && *chosen) {
        std::string name = chosen;
        std::string path = name.find('/') == std::string::npos ? find_program(name) : name;
        return {path, name.find("clang") != std::string::npos};
    }
    if (std::string path = find_program("g++"); !path.empty()) return {path, false};
    for (const char* name : {"clang++", "clang++-19", "clang++-18", "clang++-17", "clang++-16", "clang++-15", "clang++-14"})
        if (std::string path = find_program(name); !path.empty()) return {path, true};
    return {};
}

std::string compiler_identity() {
    HostCompiler compiler = find_host_compiler();
    if (compiler.path.empty()) return {};
    static std::mutex mutex;
    static std::map<std::string, std::string> known;
    std::lock_guard<std::mutex> lock(mutex);
    std::string& identity = known[compiler.path];
    if (identity.empty()) identity = describe(compiler);
    return identity;
}

std::vector<std::string> compile_command(const HostCompiler& compiler, CompileStage stage, bool checked, const std::vector<std::string>& definitions,
                                         const std::string& folder, const std::string& source, const std::string& output) {
    std::vector<std::string> command = {compiler.path};
    const auto add = [&](const std::vector<std::string>& arguments) { command.insert(command.end(), arguments.begin(), arguments.end()); };
    add(kFlags);
    if (compiler.clang) add(kClangFlags);
    if (checked) {
        add(kCheckedFlags);
        add(compiler.clang ? kCheckedClangFlags : kCheckedGccFlags);
    }
    add(definitions);
    if (stage == CompileStage::FromIntermediate) add({"-x", "ir", source, "-x", "none"});
    else add({"-I", folder, "-include", folder + "/griffin_emulator.h", source});
    if (stage == CompileStage::ToIntermediate) {
        add({"-Xclang", "-disable-llvm-passes", "-emit-llvm", "-S"});
    } else {
        add({"-shared", kLibraryPath, "-lm"});
        if (checked) add(kCheckedLinkFlags);
    }
    add({"-o", output});
    return command;
}

} // namespace emu
