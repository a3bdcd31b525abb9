#include "compiler/source_rewriter.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace emu {

namespace {

bool is_word(char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// The text with comments, literals and preprocessor lines replaced by spaces: same length, same lines.
std::string mask(const std::string& text) {
    std::string out = text;
    auto blank = [&](size_t from, size_t to) {
        for (size_t i = from; i < to && i < out.size(); ++i)
            if (out[i] != '\n') out[i] = ' ';
    };
    bool line_start = true;
    for (size_t i = 0; i < text.size();) {
        char c = text[i];
        if (c == '\n') {
            line_start = true;
            ++i;
        } else if (text.compare(i, 2, "//") == 0) {
            size_t end = std::min(text.find('\n', i), text.size());
            blank(i, end);
            i = end;
        } else if (text.compare(i, 2, "/*") == 0) {
            size_t end = text.find("*/", i + 2);
            end = end == std::string::npos ? text.size() : end + 2;
            blank(i, end);
            i = end;
        } else if (c == '#' && line_start) {
            size_t end = i;
            do end = std::min(text.find('\n', end + 1), text.size());
            while (end < text.size() && text[end - 1] == '\\');
            blank(i, end);
            i = end;
        } else if (c == '"' && i > 0 && text[i - 1] == 'R') {
            size_t open = text.find('(', i);
            if (open == std::string::npos) break;
            std::string close = ")" + text.substr(i + 1, open - i - 1) + "\"";
            size_t end = text.find(close, open);
            end = end == std::string::npos ? text.size() : end + close.size();
            blank(i, end);
            i = end;
        } else if (c == '"' || (c == '\'' && (i == 0 || !is_word(text[i - 1])))) {
            size_t end = i + 1;
            while (end < text.size() && text[end] != c && text[end] != '\n') end += text[end] == '\\' ? 2 : 1;
            blank(i, end + 1);
            i = end + 1;
        } else {
            if (!isspace(static_cast<unsigned char>(c))) line_start = false;
            ++i;
        }
    }
    return out;
}

size_t find_word(const std::string& text, const char* word, size_t from) {
    const size_t length = strlen(word);
    for (size_t at = text.find(word, from); at != std::string::npos; at = text.find(word, at + 1))
        if ((at == 0 || !is_word(text[at - 1])) && (at + length >= text.size() || !is_word(text[at + length]))) return at;
    return std::string::npos;
}

size_t skip_space(const std::string& text, size_t at) {
    while (at < text.size() && isspace(static_cast<unsigned char>(text[at]))) ++at;
    return at;
}

// Position behind the bracket that closes the one at `open`; npos when there is none.
size_t skip_brackets(const std::string& text, size_t open, char opening, char closing) {
    int depth = 0;
    for (size_t i = open; i < text.size(); ++i) {
        if (text[i] == opening) ++depth;
        else if (text[i] == closing && --depth == 0) return i + 1;
    }
    return std::string::npos;
}

std::string trim(const std::string& text) {
    size_t first = skip_space(text, 0), last = text.size();
    while (last > first && isspace(static_cast<unsigned char>(text[last - 1]))) --last;
    return text.substr(first, last - first);
}

// Removes `word` and, when it takes arguments, returns them.
bool take_word(std::string& text, const char* word, bool arguments, std::string* taken) {
    size_t at = find_word(text, word, 0);
    if (at == std::string::npos) return false;
    size_t end = at + strlen(word);
    if (arguments) {
        size_t open = skip_space(text, end);
        end = open < text.size() && text[open] == '(' ? skip_brackets(text, open, '(', ')') : std::string::npos;
        if (end == std::string::npos) return false;
        if (taken) *taken = text.substr(open + 1, end - open - 2);
    }
    text.replace(at, end - at, " ");
    return true;
}

class Rewriter {
public:
    Rewriter(const std::string& source, int unit) : _source(source), _masked(mask(source)), _unit(unit) {}

    RewrittenSource run() {
        find_kernels();
        find_shared();
        std::stable_sort(_edits.begin(), _edits.end(), [](const Edit& a, const Edit& b) { return a.from < b.from; });
        RewrittenSource result{{}, _kernels};
        size_t at = 0;
        for (const Edit& edit : _edits) {
            result.text.append(_source, at, edit.from - at);
            result.text += edit.text;
            result.text.append(static_cast<size_t>(std::count(_source.begin() + static_cast<long>(edit.from),
                                                              _source.begin() + static_cast<long>(edit.to), '\n')), '\n');
            at = edit.to;
        }
        result.text.append(_source, at, std::string::npos);
        return result;
    }

private:
    struct Edit { size_t from, to; std::string text; };
    struct Body { size_t from, to; std::string kernel; };

    // Start of the declaration or statement that holds `at`.
    size_t statement_start(size_t at) const {
        int round = 0;
        for (size_t i = at; i > 0; --i) {
            char c = _masked[i - 1];
            if (c == ')') ++round;
            else if (c == '(') --round;
            if (round < 0 || (round == 0 && (c == ';' || c == '{' || c == '}'))) return skip_space(_masked, i);
        }
        return skip_space(_masked, 0);
    }

    bool inside_function(size_t at) const {
        int depth = 0;
        for (size_t i = at; i > 0; --i) {
            char c = _masked[i - 1];
            if (c == '}') ++depth;
            else if (c == '{' && depth-- == 0) {
                // The text between the previous statement and the brace tells a function from a namespace or an extern "C" block.
                std::string head = trim(_masked.substr(statement_start(i - 1), i - 1 - statement_start(i - 1)));
                if (find_word(head, "namespace", 0) == 0 || head == "extern") {
                    depth = 0;
                    continue;
                }
                return true;
            }
        }
        return false;
    }

    void find_kernels() {
        for (size_t at = find_word(_masked, "__global__", 0); at != std::string::npos; at = find_word(_masked, "__global__", at + 1)) {
            size_t start = statement_start(at);
            size_t open = at;
            std::string bounds, cluster;
            // The parameter list is the first bracket that does not belong to __launch_bounds__, __cluster_dims__ or an attribute.
            size_t name_end = 0, name_start = 0;
            for (;;) {
                open = _masked.find_first_of("(;{", open);
                if (open == std::string::npos || _masked[open] != '(') break;
                name_end = open;
                while (name_end > at && isspace(static_cast<unsigned char>(_masked[name_end - 1]))) --name_end;
                name_start = name_end;
                while (name_start > at && is_word(_masked[name_start - 1])) --name_start;
                std::string word = _masked.substr(name_start, name_end - name_start);
                size_t close = skip_brackets(_masked, open, '(', ')');
                if (close == std::string::npos) break;
                if (word == "__launch_bounds__") bounds = _source.substr(open + 1, close - open - 2);
                else if (word == "__cluster_dims__") cluster = _source.substr(open + 1, close - open - 2);
                else if (word != "__attribute__" && word != "alignas" && !word.empty()) break;
                open = close;
            }
            if (open == std::string::npos || _masked[open] != '(') continue;
            const std::string name = _masked.substr(name_start, name_end - name_start);
            add_kernel(start, at, name, bounds, cluster);
            size_t body = _masked.find_first_of(";{", skip_brackets(_masked, open, '(', ')'));
            if (body != std::string::npos && _masked[body] == '{') _bodies.push_back({body, skip_brackets(_masked, body, '{', '}'), name});
        }
    }

    void add_kernel(size_t start, size_t at, const std::string& name, const std::string& bounds, const std::string& cluster) {
        const std::string head = _masked.substr(start, at - start);
        // A literal is masked: look for extern in the masked text and for "C" behind it in the source.
        size_t linkage = find_word(head, "extern", 0);
        bool extern_c = linkage != std::string::npos &&
                        trim(_source.substr(start + linkage + 6, at - start - linkage - 6)).rfind("\"C\"", 0) == 0;
        auto known = std::find_if(_kernels.begin(), _kernels.end(), [&](const KernelDeclaration& k) { return k.name == name; });
        if (known != _kernels.end()) {
            known->extern_c |= extern_c;
            return;
        }
        _kernels.push_back({name, extern_c, !bounds.empty(), !cluster.empty()});
        std::string parameters;
        if (head.compare(0, 8, "template") == 0) {
            size_t close = skip_brackets(head, skip_space(head, 8), '<', '>');
            if (close != std::string::npos) parameters = _source.substr(start, close);
        }
        const auto add_companion = [&](const std::string& companion, const std::string& constant, const std::string& arguments, const std::string& rule) {
            if (arguments.empty()) return;
            std::string text = parameters + " struct " + companion + name + " { static constexpr unsigned " + constant + "(" + arguments + "); " + rule + "}; ";
            std::replace(text.begin(), text.end(), '\n', ' ');
            _edits.push_back({start, start, text});
        };
        add_companion("emu_bounds_", "threads = ::emu::first_bound", bounds, "");
        add_companion("emu_cluster_", "blocks = ::emu::cluster_blocks", cluster, "static_assert(blocks > 0, \"the emulator takes clusters of neighbours in x only\"); ");
    }

    std::string enclosing_kernel(size_t at) const {
        for (const Body& body : _bodies)
            if (at > body.from && at < body.to) return body.kernel;
        return {};
    }

    void find_shared() {
        for (size_t at = find_word(_masked, "__shared__", 0); at != std::string::npos; at = find_word(_masked, "__shared__", at + 1)) {
            size_t start = statement_start(at), end = _masked.find(';', at);
            if (end == std::string::npos) continue;
            std::string declaration = _masked.substr(start, end - start);
            take_word(declaration, "__shared__", false, nullptr);
            std::string alignment = "1", given;
            while (take_word(declaration, "alignas", true, &given) || take_word(declaration, "__align__", true, &given))
                alignment = "(" + alignment + ") > (" + given + ") ? (" + alignment + ") : (" + given + ")";
            bool is_extern = take_word(declaration, "extern", false, nullptr);
            take_word(declaration, "static", false, nullptr);
            std::replace(declaration.begin(), declaration.end(), '\n', ' ');
            _edits.push_back({start, end + 1, is_extern ? dynamic_declaration(declaration, start)
                                                        : static_declarations(declaration, alignment, start)});
        }
    }

    // "float tile[4][5]" -> type, name, dimensions.
    static bool split(const std::string& declarator, std::string& type, std::string& name, std::string& dimensions) {
        size_t bracket = std::string::npos;
        int angle = 0;
        for (size_t i = 0; i < declarator.size() && bracket == std::string::npos; ++i) {
            if (declarator[i] == '<') ++angle;
            else if (declarator[i] == '>') --angle;
            else if (declarator[i] == '[' && angle <= 0) bracket = i;
        }
        std::string front = trim(declarator.substr(0, bracket));
        dimensions = bracket == std::string::npos ? "" : declarator.substr(bracket);
        size_t from = front.size();
        while (from > 0 && is_word(front[from - 1])) --from;
        name = front.substr(from);
        type = trim(front.substr(0, from));
        return !name.empty();
    }

    std::string dynamic_declaration(const std::string& declaration, size_t at) {
        std::string type, name, dimensions;
        if (!split(declaration, type, name, dimensions)) return declaration + ";";
        if (!inside_function(at)) return "static ::emu::DynamicShared<" + type + "> " + name + ";";
        return type + "* const " + name + " = reinterpret_cast<" + type + "*>(emu_own(emu_own(emu_block)->dynamic_shared));";
    }

    std::string static_declarations(const std::string& declaration, const std::string& alignment, size_t at) {
        if (!inside_function(at))
            return "static_assert(false, \"the emulator takes __shared__ variables inside functions only\");";
        std::string result, base;
        for (const std::string& declarator : split_list(declaration)) {
            std::string type, name, dimensions;
            if (!split(base + declarator, type, name, dimensions)) return declaration + ";";
            if (base.empty()) base = type + " ";
            const std::string id = std::to_string(_unit) + "_" + std::to_string(_shared++);
            result += "struct emu_shared_tag_" + id + " { static const char* name() { return \"" + name +
                      "\"; } static const char* kernel() { return \"" + enclosing_kernel(at) +
                      "\"; } static const char* function() { return __PRETTY_FUNCTION__; } }; typedef " + type + " emu_shared_type_" + id +
                      dimensions + "; auto& " + name + " = ::emu::shared<emu_shared_tag_" + id + ", emu_shared_type_" + id + ", (" + alignment +
                      ")>(); ";
        }
        return result;
    }

    static std::vector<std::string> split_list(const std::string& text) {
        std::vector<std::string> parts(1);
        int depth = 0;
        for (char c : text) {
            if (strchr("<([{", c)) ++depth;
            else if (strchr(">)]}", c)) --depth;
            if (c == ',' && depth == 0) parts.emplace_back();
            else parts.back() += c;
        }
        return parts;
    }

    const std::string& _source;
    std::string _masked;
    int _unit, _shared = 0;
    std::vector<Edit> _edits;
    std::vector<Body> _bodies;
    std::vector<KernelDeclaration> _kernels;
};

} // namespace

RewrittenSource rewrite_source(const std::string& source, int unit) { return Rewriter(source, unit).run(); }

} // namespace emu
