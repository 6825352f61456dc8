#include "io/torchscript_code.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <span>
#include <utility>

#include "io/words.hpp"

namespace ganglion::detail {

namespace {

/// What a policy may call or read of PyTorch: operations on tensors, numbers, strings, lists and dictionaries (aten),
/// what the compiler of TorchScript writes between them (prim), products in integers (quantized), and what tensors
/// have, between blanks. An operation in place is its name with "_".
constexpr std::string_view known_operations =
#include "io/torchscript_operations.def"
    ;

/// Read or called on a value these are PyTorch's, whatever the file itself calls so: they write files, open them as
/// memory, reach other processes or any C++ class.
constexpr std::array<std::string_view, 9> never{"save",    "from_file", "set_data", "to_here",   "record_stream",
                                                "classes", "rpc_async", "rpc_sync", "rpc_remote"};
/// The same of words that stand alone.
constexpr std::array<std::string_view, 5> never_alone{"fork", "awaitable", "rpc_async", "rpc_sync", "rpc_remote"};

bool holds(std::span<const std::string_view> words, std::string_view name) {
  return std::find(words.begin(), words.end(), name) != words.end();
}

bool is_operation(std::string_view name) {
  return has_word(known_operations, name) ||
         (name.ends_with('_') && has_word(known_operations, name.substr(0, name.size() - 1)));
}

enum class Kind : std::uint8_t { name, text, number, mark };

struct Token {
  Kind kind;
  std::string_view text;
  std::size_t line;
  bool opens_line;
};

bool is_name_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

/// The tokens of TorchScript's own language: Python's, without prefixes of strings. Ends of lines are no tokens.
class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  [[nodiscard]] std::vector<Token> run() {
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (c == '#') {
        at_ = std::min(source_.find('\n', at_), source_.size());
      } else if (c == '\n') {
        ++line_;
        ++at_;
        opens_line_ = true;
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\\') {
        ++at_;
      } else if (c == '"' || c == '\'') {
        take_text(c);
      } else if (is_name_letter(c)) {
        const std::size_t begin = at_;
        while (is_name_letter(peek()) || is_digit(peek())) ++at_;
        add(Kind::name, begin, at_);
      } else if (is_digit(c)) {
        take_number();
      } else {
        ++at_;
        add(Kind::mark, at_ - 1, at_);
      }
    }
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] char peek() const { return at_ < source_.size() ? source_[at_] : '\0'; }

  void add(Kind kind, std::size_t begin, std::size_t end) {
    tokens_.push_back({kind, source_.substr(begin, end - begin), line_, std::exchange(opens_line_, false)});
  }

  /// No longer than the number is: what follows it, as in 1..name or 1e5.name, is not part of it.
  void take_number() {
    const std::size_t begin = at_;
    const auto digits = [&] {
      while (is_digit(peek())) ++at_;
    };
    digits();
    if (peek() == '.') ++at_;
    digits();
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '-' || peek() == '+') ++at_;
      digits();
    }
    add(Kind::number, begin, at_);
  }

  void take_text(char quote) {
    const std::string three(3, quote);
    const std::string end = source_.substr(at_).starts_with(three) ? three : std::string(1, quote);
    at_ += end.size();
    const std::size_t begin = at_;
    while (at_ < source_.size() && !source_.substr(at_).starts_with(end)) at_ += source_[at_] == '\\' ? 2 : 1;
    at_ = std::min(at_, source_.size());
    add(Kind::text, begin, at_);
    line_ += static_cast<std::size_t>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(begin),
                                                 source_.begin() + static_cast<std::ptrdiff_t>(at_), '\n'));
    at_ = std::min(at_ + end.size(), source_.size());
  }

  std::string_view source_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  bool opens_line_ = true;
};

using Names = std::set<std::string_view>;

/// What the file itself defines: methods and functions, and what its classes hold.
struct Defined {
  Names methods;
  Names attributes;
};

void collect(const std::vector<Token>& tokens, Defined& defined) {
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    const Token& token = tokens[i];
    const Token& next = tokens[i + 1];
    if (token.kind == Kind::name && token.text == "def") defined.methods.insert(next.text);
    // "weight : Tensor" in a class; an attribute whose name is no word stands in __annotations__["0"].
    if (token.kind == Kind::name && token.opens_line && next.text == ":") defined.attributes.insert(token.text);
    if (token.text == "__annotations__" && i + 2 < tokens.size() && tokens[i + 2].kind == Kind::text)
      defined.attributes.insert(tokens[i + 2].text);
  }
}

/// Walks over the tokens of one file and looks at every name that may lead out of the file.
class Walk {
 public:
  Walk(const std::vector<Token>& tokens, const Defined& defined) : tokens_(tokens), defined_(defined) {}

  /// The index of the first token that no policy needs, and its name in full.
  [[nodiscard]] std::optional<std::pair<std::size_t, std::string>> stranger() {
    for (at_ = 0; at_ < tokens_.size(); ++at_) {
      const Token& token = tokens_[at_];
      if (token.kind == Kind::mark) look_at_mark(token.text);
      if (token.kind == Kind::text && !looked_up_.empty() && !may_be_looked_up(token.text))
        return {{at_, "getattr(..., \"" + std::string(token.text) + "\")"}};
      if (token.kind == Kind::name && !may_stand(token.text)) return {{at_, chain_}};
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string_view mark_at(std::size_t index) const {
    return index < tokens_.size() && tokens_[index].kind == Kind::mark ? tokens_[index].text : std::string_view{};
  }

  void look_at_mark(std::string_view mark) {
    if (mark == "(") ++depth_;
    if (mark == ")") {
      if (!looked_up_.empty() && looked_up_.back() == depth_) looked_up_.pop_back();
      --depth_;
    }
  }

  /// A name that getattr is given: of the file, and in one piece.
  [[nodiscard]] bool may_be_looked_up(std::string_view name) const {
    const bool in_pieces = at_ + 1 < tokens_.size() && tokens_[at_ + 1].kind == Kind::text;
    return !in_pieces && name.find('\\') == std::string_view::npos && is_readable(name);
  }

  [[nodiscard]] bool may_stand(std::string_view name) {
    const bool called = mark_at(at_ + 1) == "(";
    if (at_ == 0 || mark_at(at_ - 1) != ".") {
      chain_ = std::string(name);
      root_ = name;
      before_.clear();
      if (name == "getattr" && called) looked_up_.push_back(depth_ + 1);
      // Under another name, what they hold could not be told any more.
      if (name == "torch" || name == "ops" || name == "__torch__") return mark_at(at_ + 1) == ".";
      return name == "getattr" ? called : !holds(never_alone, name);
    }
    // The name belongs to a chain a.b.c, or to a value: f(x).c, a[0].c
    const bool of_chain = at_ >= 2 && tokens_[at_ - 2].kind == Kind::name;
    if (!of_chain) {
      root_ = {};
      chain_ = "(...)";
    }
    const std::string before = std::exchange(before_, std::string(name));
    chain_ += "." + std::string(name);
    if (root_ == "CONSTANTS") return true;
    if (root_ == "__torch__") return before != "classes" || is_known_class(name);
    if (root_ == "torch") return before.empty() && is_operation(name);
    if (root_ == "ops") {
      if (before.empty()) return name == "aten" || name == "prim" || name == "quantized";
      return is_operation(name);
    }
    return called ? is_callable(name) : is_readable(name);
  }

  [[nodiscard]] bool is_callable(std::string_view name) const {
    return !holds(never, name) && (is_operation(name) || defined_.methods.contains(name));
  }
  [[nodiscard]] bool is_readable(std::string_view name) const {
    return is_callable(name) || (!holds(never, name) && defined_.attributes.contains(name));
  }

  const std::vector<Token>& tokens_;
  const Defined& defined_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::vector<std::size_t> looked_up_;  ///< depths of the parentheses of getattr that are open
  std::string_view root_;
  std::string before_;  ///< the name before, of the same chain
  std::string chain_;
};

}  // namespace

bool is_known_class(std::string_view name) { return name == "quantized" || name == "rnn"; }

TorchScriptCode::TorchScriptCode(const std::map<std::string, std::string>& files) {
  std::map<std::string_view, std::vector<Token>> all;
  Defined defined;
  for (const auto& [name, source] : files) {
    const std::vector<Token>& tokens = all[name] = Lexer(source).run();
    collect(tokens, defined);
  }
  for (const auto& [name, tokens] : all) {
    if (const auto found = Walk(tokens, defined).stranger()) {
      stranger_ =
          "'" + found->second + "' (" + std::string(name) + ", line " + std::to_string(tokens[found->first].line) + ")";
      return;
    }
  }
}

}  // namespace ganglion::detail
