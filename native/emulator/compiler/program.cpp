#include "compiler/program.h"

#include "compiler/host_compiler.h"
#include "compiler/shim_text.h"
#include "compiler/source_rewriter.h"
#include "compiler/struct_copies.h"
#include "core/module.h"
#include "core/process.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

namespace emu {

namespace {

// A private folder that disappears with the object.
class PrivateFolder {
public:
    PrivateFolder() {
        const char* temporary = getenv("TMPDIR");
        std::string pattern = std::string(temporary && *temporary ? temporary : "/tmp") + "/" + kProgramFolderMark + "XXXXXX";
        if (mkdtemp(pattern.data())) _path = pattern;
    }
    ~PrivateFolder() {
        if (!_path.empty()) remove_tree(_path);
    }
    PrivateFolder(const PrivateFolder&) = delete;
    PrivateFolder& operator=(const PrivateFolder&) = delete;

    const std::string& path() const { return _path; }

    // Names may hold folders; those that leave this one are refused.
    bool write(const std::string& name, const std::string& text) const {
        if (name.empty() || name[0] == '/' || ("/" + name + "/").find("/../") != std::string::npos) return false;
        for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1))
            mkdir((_path + "/" + name.substr(0, slash)).c_str(), 0700);
        FILE* file = fopen((_path + "/" + name).c_str(), "wbe");
        if (!file) return false;
        bool written = fwrite(text.data(), 1, text.size(), file) == text.size();
        return (fclose(file) == 0) && written;
    }

    bool read(const std::string& name, std::string& text) const {
        FILE* file = fopen((_path + "/" + name).c_str(), "rbe");
        if (!file) return false;
        char buffer[65536];
        for (size_t got; (got = fread(buffer, 1, sizeof(buffer), file)) > 0;) text.append(buffer, got);
        fclose(file);
        return true;
    }

private:
    static void remove_tree(const std::string& folder) {
        if (DIR* entries = opendir(folder.c_str())) {
            while (dirent* entry = readdir(entries)) {
                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
                std::string path = folder + "/" + entry->d_name;
                if (entry->d_type == DT_DIR) remove_tree(path);
                else unlink(path.c_str());
            }
            closedir(entries);
        }
        rmdir(folder.c_str());
    }

    std::string _path;
};

struct Options {
    bool checked = false;
    int architecture = 80;
    std::vector<std::string> definitions;
};

bool starts_with(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

// NVRTC's options: those that change meaning are honoured, those for the GPU's code generator are accepted, others are refused.
bool parse_options(const std::vector<std::string>& arguments, Options& options, std::string& log) {
    static const char* const kAccepted[] = {
        "--std=", "-std=", "--fmad=", "-fmad=", "--ftz=", "-ftz=", "--prec-sqrt=", "-prec-sqrt=", "--prec-div=", "-prec-div=", "--use_fast_math",
        "-use_fast_math", "--ptxas-options=", "--maxrregcount=", "-maxrregcount=", "--generate-line-info", "-lineinfo", "--device-debug", "-G",
        "--restrict", "-restrict", "--device-as-default-execution-space", "-default-device", "--include-path=", "-I", "--disable-warnings", "-w",
        "--extra-device-vectorization", "--diag-suppress=", "--split-compile=", "-dopt=", "--dopt=", "--minimal", "-minimal",
        "--no-source-include", "--relocatable-device-code=false", "-rdc=false"};
    for (size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (argument == "--griffin-checked") options.checked = true;
        else if (starts_with(argument, "--gpu-architecture=") || starts_with(argument, "-arch=")) {
            const std::string value = argument.substr(argument.find('=') + 1);
            options.architecture = atoi(value.c_str() + value.find('_') + 1);
            if (options.architecture < 50) {
                log = "nvrtc: error: invalid value for --gpu-architecture (-arch): " + value + "\n";
                return false;
            }
        } else if (starts_with(argument, "-D") || starts_with(argument, "--define-macro=")) {
            std::string macro = argument[1] == 'D' ? argument.substr(2) : argument.substr(15);
            if (macro.empty() && i + 1 < arguments.size()) macro = arguments[++i];
            options.definitions.push_back("-D" + macro);
        } else {
            bool known = false;
            for (const char* accepted : kAccepted) known |= starts_with(argument, accepted);
            if (known) continue;
            log = "nvrtc: error: unrecognized option " + argument + " found\n";
            return false;
        }
    }
    options.definitions.push_back("-D__CUDA_ARCH__=" + std::to_string(options.architecture * 10));
    return true;
}

std::string quote(const std::string& text) {
    std::string quoted = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return quoted + "\"";
}

// "ns::scale<float, 4>" -> "ns::", "scale", "<float, 4>".
void split_expression(const std::string& expression, std::string& scope, std::string& name, std::string& arguments) {
    size_t angle = expression.find('<');
    std::string path = expression.substr(0, angle);
    arguments = angle == std::string::npos ? "" : expression.substr(angle);
    while (!path.empty() && isspace(static_cast<unsigned char>(path.back()))) path.pop_back();
    size_t colon = path.rfind(':');
    size_t start = colon == std::string::npos ? path.find_first_not_of(" &") : colon + 1;
    scope = colon == std::string::npos ? "" : path.substr(path.find_first_not_of(" &"), colon + 1 - path.find_first_not_of(" &"));
    name = path.substr(start);
}

// The table of kernels at the end of the program.
class Registry {
public:
    explicit Registry(const std::vector<KernelDeclaration>& kernels) : _kernels(kernels) {}

    void add(const std::string& lowered, const std::string& expression) {
        std::string scope, name, arguments, bounds = "0", cluster = "1";
        split_expression(expression, scope, name, arguments);
        for (const KernelDeclaration& kernel : _kernels) {
            if (kernel.name != name) continue;
            if (kernel.has_bounds) bounds = scope + "emu_bounds_" + name + arguments + "::threads";
            if (kernel.has_cluster) cluster = scope + "emu_cluster_" + name + arguments + "::blocks";
        }
        std::string function = scope + name + arguments;
        // Line markers put errors in a name expression where the reader can tell what they are about.
        const std::string kernel = "emu::Kernel<&" + function + ">::";
        _entries += "\n# 1 " + quote("name expression " + expression) + "\n    {" + quote(lowered) + ", " + quote(expression) + ", " + quote(name) +
                    ", &" + kernel + "run, " + kernel + "parameters, " + kernel + "parameter_count, " + bounds + ", " + cluster + "},";
        ++_count;
    }

    std::string text() const {
        std::string table = _count ? "static const EmuKernelEntry griffin_emu_kernels[] = {" + _entries + "\n};\n"
                                   : "static const EmuKernelEntry* const griffin_emu_kernels = nullptr;\n";
        return "\n# 1 \"griffin_emulator/registry\"\n" + table +
               "extern \"C\" __attribute__((visibility(\"default\"))) const EmuModuleTable griffin_emu_module = {GRIFFIN_EMULATOR_ABI, " +
               std::to_string(_count) + ", griffin_emu_kernels, &emu_abi_identity};\n";
    }

private:
    const std::vector<KernelDeclaration>& _kernels;
    std::string _entries;
    size_t _count = 0;
};

// griffin_program.cpp of the folder becomes griffin_program.so.
bool run_compiler(const HostCompiler& compiler, const Options& options, const PrivateFolder& folder, std::string& log) {
    const auto run = [&](CompileStage stage, const char* source, const char* output) {
        return run_process(compile_command(compiler, stage, options.checked, options.definitions, folder.path(), folder.path() + "/" + source,
                                           folder.path() + "/" + output),
                           log) == 0;
    };
    if (!compiler.clang || !options.checked) return run(CompileStage::Whole, "griffin_program.cpp", "griffin_program.so");
    std::string intermediate;
    return run(CompileStage::ToIntermediate, "griffin_program.cpp", "griffin_program.ll") && folder.read("griffin_program.ll", intermediate) &&
           folder.write("griffin_program.ll", copy_structs_as_vectors(intermediate)) &&
           run(CompileStage::FromIntermediate, "griffin_program.ll", "griffin_program.so");
}

} // namespace

nvrtcResult Program::compile(const std::vector<std::string>& arguments) {
    log.clear();
    image.clear();
    compiled = false;
    Options options;
    if (!parse_options(arguments, options, log)) return NVRTC_ERROR_INVALID_OPTION;
    HostCompiler compiler = find_host_compiler();
    if (compiler.path.empty()) {
        log = "no C++ compiler was found: install g++ or clang++ to run kernels on the emulator\n";
        return NVRTC_ERROR_COMPILATION;
    }
    PrivateFolder folder;
    if (folder.path().empty()) {
        log = std::string("no private folder could be made for the compiler: ") + strerror(errno) + "\n";
        return NVRTC_ERROR_BUILTIN_OPERATION_FAILURE;
    }
    int unit = 0;
    std::vector<KernelDeclaration> kernels;
    for (const auto& [include_name, text] : headers) {
        RewrittenSource header = rewrite_source(text, ++unit);
        kernels.insert(kernels.end(), header.kernels.begin(), header.kernels.end());
        if (!folder.write(include_name, "# 1 " + quote(include_name) + "\n" + header.text)) {
            log = "the header " + include_name + " could not be written\n";
            return NVRTC_ERROR_BUILTIN_OPERATION_FAILURE;
        }
    }
    RewrittenSource main = rewrite_source(source, 0);
    kernels.insert(kernels.end(), main.kernels.begin(), main.kernels.end());
    Registry registry(kernels);
    lowered.clear();
    for (const std::string& expression : expressions) {
        lowered.push_back("griffin_emu_kernel_" + std::to_string(lowered.size()));
        registry.add(lowered.back(), expression);
    }
    for (const KernelDeclaration& kernel : main.kernels)
        if (kernel.extern_c) registry.add(kernel.name, kernel.name);
    if (!folder.write("griffin_emulator.h", shim_text()) ||
        !folder.write("griffin_program.cpp", "# 1 " + quote(name) + "\n" + main.text + registry.text())) {
        log = std::string("the program could not be written for the compiler: ") + strerror(errno) + "\n";
        return NVRTC_ERROR_BUILTIN_OPERATION_FAILURE;
    }
    const bool good = run_compiler(compiler, options, folder, log);
    // Headers that were not given an own name in the messages lie in the private folder.
    for (size_t at; (at = log.find(folder.path() + "/")) != std::string::npos;) log.erase(at, folder.path().size() + 1);
    std::string library;
    if (!good || !folder.read("griffin_program.so", library) || library.empty()) {
        if (log.empty()) log = compiler.path + " could not be run\n";
        return NVRTC_ERROR_COMPILATION;
    }
    ImageHeader header{};
    memcpy(header.magic, kImageMagic, sizeof(kImageMagic));
    header.library_bytes = library.size();
    header.abi = GRIFFIN_EMULATOR_ABI;
    header.checked = options.checked;
    image.assign(reinterpret_cast<const char*>(&header), sizeof(header));
    image += library;
    compiled = true;
    return NVRTC_SUCCESS;
}

} // namespace emu
