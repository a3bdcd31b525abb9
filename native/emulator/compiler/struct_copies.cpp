#include "compiler/struct_copies.h"

#include <cstdlib>

namespace emu {

namespace {

constexpr char kVector[] = "<16 x i8>";

struct Operand {
    std::string type;    // "i8*", of newer versions "ptr"
    std::string name;
    int alignment = 1;
};

// Takes "TYPE align N NAME, "; false for anything else, such as an operand that is an expression.
bool take_operand(const std::string& line, size_t& at, Operand& operand) {
    const size_t aligned = line.find(" align ", at), comma = line.find(", ", at);
    if (aligned == std::string::npos || comma == std::string::npos || aligned > comma) return false;
    operand.type = line.substr(at, aligned - at);
    char* rest = nullptr;
    operand.alignment = static_cast<int>(strtol(line.c_str() + aligned + 7, &rest, 10));
    const size_t name = static_cast<size_t>(rest - line.c_str()) + 1;
    if (name >= comma) return false;
    operand.name = line.substr(name, comma - name);
    at = comma + 2;
    return operand.name.find_first_of("( ") == std::string::npos && (operand.type == "i8*" || operand.type == "ptr");
}

// The vector access of one operand; older versions' pointers have the type of what they point to.
std::string pointer_to_vector(const Operand& operand, const std::string& name, std::string& text) {
    if (operand.type == "ptr") return "ptr " + operand.name;
    text += "  " + name + " = bitcast i8* " + operand.name + " to " + kVector + "*\n";
    return kVector + std::string("* ") + name;
}

// The lines that take the place of a copy; empty when the line is none.
std::string vector_copy(const std::string& line, size_t number) {
    constexpr char kCopy[] = "  call void @llvm.memcpy.";
    if (line.compare(0, sizeof(kCopy) - 1, kCopy) != 0) return {};
    size_t at = line.find('(');
    if (at++ == std::string::npos) return {};
    Operand to, from;
    if (!take_operand(line, at, to) || !take_operand(line, at, from)) return {};
    constexpr char kSize[] = "i64 16, i1 false)";
    if (line.compare(at, sizeof(kSize) - 1, kSize) != 0 || (to.alignment < 16 && from.alignment < 16)) return {};
    const size_t debug = line.find(", !dbg !");
    const std::string place = debug == std::string::npos ? "" : line.substr(debug, line.find_first_not_of("0123456789", debug + 8) - debug);
    const std::string value = "%griffin.copy." + std::to_string(number);
    std::string text;
    const std::string source = pointer_to_vector(from, value + ".from", text), target = pointer_to_vector(to, value + ".to", text);
    text += "  " + value + " = load " + kVector + ", " + source + ", align " + std::to_string(from.alignment) + place + "\n";
    return text + "  store " + kVector + " " + value + ", " + target + ", align " + std::to_string(to.alignment) + place + "\n";
}

} // namespace

std::string copy_structs_as_vectors(const std::string& intermediate) {
    std::string result;
    result.reserve(intermediate.size() + intermediate.size() / 16);
    size_t copies = 0;
    for (size_t begin = 0; begin < intermediate.size();) {
        const size_t newline = intermediate.find('\n', begin);
        const size_t end = newline == std::string::npos ? intermediate.size() : newline + 1;
        const std::string line = intermediate.substr(begin, end - begin);
        const std::string copy = vector_copy(line, copies);
        if (!copy.empty()) ++copies;
        result += copy.empty() ? line : copy;
        begin = end;
    }
    return result;
}

} // namespace emu
