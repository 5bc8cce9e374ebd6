// Parses YAML with yaml-cpp's event parser and builds the small tree of yaml.h from the events.
// Limits on size and nesting are checked before the parser runs, because it recurses and accepts
// more than we do.
#include "io/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Limits for untrusted files; the largest real file has a few hundred lines.
constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr size_t kMaxDepth = 64;

// A kind in the words of an error message.
std::string_view NameOf(Yaml::Kind kind) {
  switch (kind) {
    case Yaml::Kind::kNull:
      return "nothing";
    case Yaml::Kind::kScalar:
      return "a single value";
    case Yaml::Kind::kList:
      return "a list";
    case Yaml::Kind::kMap:
      return "a map";
  }
  return "";
}

// A value as a message shows it; long ones only by their size.
std::string Quoted(std::string_view text) {
  return text.size() <= 80 ? StrCat("'", text, "'") : StrCat("a text of ", text.size(), " bytes");
}

std::string PlaceOf(std::string_view file, int line) { return StrCat(file, ":", line); }

// yaml-cpp accepts a quoted text that the end of the file cuts off, if only blanks follow a line
// end; everywhere else it complains. A comment is added so that no file ends like that.
std::string WithFirmEnd(std::string_view text) {
  const std::string_view ending = text.substr(text.find_last_not_of(" \t\n") + 1);
  if (ending.ends_with('\n')) return StrCat(text, "#");
  if (ending.find('\n') != std::string_view::npos) return StrCat(text, "\n#");
  return std::string(text);
}

// The place of the quote that closes the text whose opening quote is at `begin`; the text's size if
// there is none.
size_t ClosingQuote(std::string_view text, size_t begin) {
  const char quote = text[begin];
  for (size_t at = begin + 1; at < text.size(); ++at) {
    const bool is_doubled = quote == '\'' && text.substr(at, 2) == "''";
    if (is_doubled || (quote == '"' && text[at] == '\\')) {
      ++at;
    } else if (text[at] == quote) {
      return at;
    }
  }
  return text.size();
}

// The value of a text that may begin with a quote at `begin`, which yaml-cpp read as `value`. Of
// the empty lines before a closing quote it keeps one, and of a text of nothing but lines none.
std::string WithEmptyLines(std::string_view text, size_t begin, const std::string& value) {
  if (begin >= text.size() || (text[begin] != '\'' && text[begin] != '"')) return value;
  const size_t end = ClosingQuote(text, begin);
  if (end == text.size()) return value;

  // The line end of the last words is folded away.
  const std::string_view inside = text.substr(begin + 1, end - begin - 1);
  const size_t words = inside.find_last_not_of(" \t\r\n") + 1;
  const auto line_ends = static_cast<size_t>(std::ranges::count(inside.substr(words), '\n'));
  if (words == 0 && line_ends > 0) {
    return line_ends == 1 ? " " : std::string(line_ends - 1, '\n');
  }
  const bool is_escaped = text[begin] == '"' && inside.substr(0, words).ends_with('\\');
  return line_ends > 2 && !is_escaped ? value + std::string(line_ends - 2, '\n') : value;
}

// The parser recurses, so nesting is bounded first: open brackets, and "- - -" or "? ? ?" nests
// that begin on one line. Brackets inside quoted texts count as well.
void CheckNesting(std::string_view text, std::string_view file) {
  // Brackets may be closed on another line, but dashes nest only within one.
  size_t brackets = 0, dashes = 0;
  int line = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\n') {
      ++line;
      dashes = 0;
    } else if (c == '[' || c == '{') {
      ++brackets;
    } else if ((c == ']' || c == '}') && brackets > 0) {
      --brackets;
    } else if ((c == '-' || c == '?') && i + 1 < text.size() && text[i + 1] == ' ') {
      ++dashes;
    }

    if (brackets > kMaxDepth || dashes > kMaxDepth) {
      ThrowBadInput(PlaceOf(file, line), StrCat("YAML nested at most ", kMaxDepth, " deep"),
                    "deeper nesting");
    }
  }
}

}  // namespace

// Turns the parser's events into the tree. The parser calls the On... functions in the order of the
// text; Open pushes a frame, Close pops it and adds its node to the frame below. In a map keys and
// values take turns: has_key tells which of them is next.
class YamlBuilder final : public YAML::EventHandler {
 public:
  YamlBuilder(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Yaml TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (has_document_) Refuse(mark, "one YAML document", "several");
    has_document_ = true;
  }
  void OnDocumentEnd() override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Refuse(mark, "no anchors and aliases", "an alias");
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Check(mark, "", anchor);
    Add(Node(Yaml::Kind::kNull, mark));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (tag == "!function") RefuseFunction(mark, value);
    Check(mark, tag, anchor);
    Yaml node = Node(Yaml::Kind::kScalar, mark);
    node.scalar_ =
        mark.pos < 0 ? value : WithEmptyLines(text_, static_cast<size_t>(mark.pos), value);
    Add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Check(mark, tag, anchor);
    Open(Yaml::Kind::kList, mark);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Check(mark, tag, anchor);
    Open(Yaml::Kind::kMap, mark);
  }
  void OnMapEnd() override { Close(); }

 private:
  // A list or map that is still open.
  struct Frame {
    Yaml node;
    std::unordered_set<std::string> seen;
    bool has_key = false;
    std::string key;
    int key_line = 0;
  };

  static int LineOf(const YAML::Mark& mark) { return mark.line + 1; }

  [[noreturn]] void Refuse(const YAML::Mark& mark, std::string_view expected,
                           std::string_view got) const {
    ThrowBadInput(PlaceOf(file_, LineOf(mark)), expected, got);
  }

  // How task files of lm-evaluation-harness name code.
  [[noreturn]] void RefuseFunction(const YAML::Mark& mark, std::string_view name) const {
    ThrowBadInput(PlaceOf(file_, LineOf(mark)), "a value that needs no Python",
                  StrCat("!function ", name), "qualm runs no Python");
  }

  // Refuses what makes a file hard to read or dangerous to expand.
  void Check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) Refuse(mark, "no anchors and aliases", "an anchor");
    // "?" is the tag of a plain value and "!" the tag of a quoted value, if the text has no tag.
    if (!tag.empty() && tag != "?" && tag != "!") {
      Refuse(mark, "no tags", StrCat("the tag ", Quoted(tag)));
    }
  }

  // An empty node that knows where it is.
  Yaml Node(Yaml::Kind kind, const YAML::Mark& mark) const {
    Yaml node;
    node.kind_ = kind;
    node.file_ = file_;
    node.line_ = LineOf(mark);
    return node;
  }

  // Whether the innermost open node is a map whose next node is a key.
  bool AwaitsKey() const {
    return !stack_.empty() && stack_.back().node.kind_ == Yaml::Kind::kMap &&
           !stack_.back().has_key;
  }

  // Begins a list or map.
  void Open(Yaml::Kind kind, const YAML::Mark& mark) {
    // YAML allows lists and maps as keys; we do not.
    if (AwaitsKey()) Refuse(mark, "a plain text as key", NameOf(kind));
    if (stack_.size() == kMaxDepth) {
      Refuse(mark, StrCat("YAML nested at most ", kMaxDepth, " deep"), "deeper nesting");
    }
    stack_.push_back({Node(kind, mark), {}, false, {}, 0});
  }

  void Close() {
    Yaml done = std::move(stack_.back().node);
    stack_.pop_back();
    Add(std::move(done));
  }

  // Puts a finished node where it belongs: the root, the list, or the map under its key.
  void Add(Yaml node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }

    // An element of a list, a value for the key that came before, or a new key.
    Frame& frame = stack_.back();
    if (frame.node.kind_ == Yaml::Kind::kList) {
      frame.node.list_.push_back(std::move(node));
    } else if (frame.has_key) {
      node.key_line_ = frame.key_line;
      frame.node.map_.emplace_back(std::move(frame.key), std::move(node));
      frame.has_key = false;
    } else {
      AddKey(frame, node);
    }
  }

  // A key must be a plain text that the map does not have yet.
  void AddKey(Frame& frame, Yaml& node) const {
    if (node.kind_ != Yaml::Kind::kScalar) {
      ThrowBadInput(node.place(), "a plain text as key", NameOf(node.kind_));
    }
    if (!frame.seen.insert(node.scalar_).second) {
      ThrowBadInput(node.place(), "every key once",
                    StrCat("the key ", Quoted(node.scalar_), " again"));
    }

    frame.key = std::move(node.scalar_);
    frame.key_line = node.line_;
    frame.has_key = true;
  }

  std::string_view text_, file_;
  bool has_document_ = false;
  std::vector<Frame> stack_;
  Yaml root_;
};

Yaml Yaml::Parse(std::string_view text, std::string_view place) {
  if (text.size() > kMaxBytes) {
    ThrowBadInput(place, StrCat("at most ", HumanBytes(kMaxBytes), " of YAML"),
                  HumanBytes(text.size()));
  }

  // yaml-cpp replaces bytes that it does not understand, so they are refused before.
  if (!IsValidUtf8(text)) ThrowBadInput(place, "UTF-8", "other bytes");
  if (text.find('\0') != std::string_view::npos) ThrowBadInput(place, "a text", "a NUL byte");
  CheckNesting(text, place);
  YamlBuilder builder(text, place);

  // The parser throws its own exceptions; they get our place and wording.
  try {
    std::istringstream stream{WithFirmEnd(text)};
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    parser.HandleNextDocument(builder);  // throws if there is one more
  } catch (const YAML::Exception& error) {
    ThrowBadInput(PlaceOf(place, error.mark.line + 1), "YAML", error.msg);
  }

  Yaml root = builder.TakeRoot();
  if (root.line_ == 0) {  // an empty document has no events
    root.file_ = place;
    root.line_ = 1;
  }
  return root;
}

Yaml Yaml::ReadFile(const std::filesystem::path& path) {
  return Parse(qualm::ReadFile(path, kMaxBytes), path.string());
}

std::string Yaml::place() const { return PlaceOf(file_, line_); }

std::string Yaml::AsString() const {
  if (kind_ != Kind::kScalar) ThrowBadInput(place(), "a text", NameOf(kind_));
  return scalar_;
}

int64_t Yaml::AsInt() const {
  if (kind_ != Kind::kScalar) ThrowBadInput(place(), "an integer", NameOf(kind_));
  int64_t value = 0;
  auto [end, error] = std::from_chars(scalar_.data(), scalar_.data() + scalar_.size(), value);
  if (error != std::errc() || end != scalar_.data() + scalar_.size()) {
    ThrowBadInput(place(), "an integer", Quoted(scalar_));
  }
  return value;
}

double Yaml::AsDouble() const {
  if (kind_ != Kind::kScalar) ThrowBadInput(place(), "a number", NameOf(kind_));
  double value = 0;
  auto [end, error] = std::from_chars(scalar_.data(), scalar_.data() + scalar_.size(), value);
  if (error != std::errc() || end != scalar_.data() + scalar_.size() || !std::isfinite(value)) {
    ThrowBadInput(place(), "a number", Quoted(scalar_));
  }
  return value;
}

bool Yaml::AsBool() const {
  if (kind_ != Kind::kScalar) ThrowBadInput(place(), "true or false", NameOf(kind_));
  if (scalar_ != "true" && scalar_ != "false") {
    ThrowBadInput(place(), "true or false", Quoted(scalar_));
  }
  return scalar_ == "true";
}

const std::vector<Yaml>& Yaml::AsList() const {
  if (kind_ != Kind::kList) ThrowBadInput(place(), "a list", NameOf(kind_));
  return list_;
}

const std::vector<std::pair<std::string, Yaml>>& Yaml::AsMap() const {
  if (kind_ != Kind::kMap) ThrowBadInput(place(), "a map", NameOf(kind_));
  return map_;
}

const Yaml* Yaml::Find(std::string_view key) const {
  for (const auto& [name, value] : AsMap()) {
    if (name == key) return &value;
  }
  return nullptr;
}

const Yaml& Yaml::Get(std::string_view key) const {
  const Yaml* value = Find(key);
  if (value == nullptr) ThrowBadInput(place(), StrCat("the key '", key, "'"), "none");
  return *value;
}

void Yaml::RequireKnownKeys(std::span<const std::string> allowed) const {
  for (const auto& [name, value] : AsMap()) {
    if (std::ranges::find(allowed, name) == allowed.end()) {
      ThrowUnknownName(PlaceOf(file_, value.key_line_), "key", name, allowed);
    }
  }
}

namespace {

// A method without options has no map at all.
const Yaml* FindOption(const Yaml* options, std::string_view key) {
  return options == nullptr ? nullptr : options->Find(key);
}

}  // namespace

double NumberOption(const Yaml* options, std::string_view key, double fallback, double least,
                    double most) {
  const Yaml* yaml = FindOption(options, key);
  if (yaml == nullptr) return fallback;
  const double value = yaml->AsDouble();
  if (!(value >= least && value <= most)) {
    ThrowBadInput(yaml->place(), StrCat(key, " in ", least, "..", most), yaml->AsString());
  }
  return value;
}

int64_t IntOption(const Yaml* options, std::string_view key, int64_t fallback, int64_t least,
                  int64_t most) {
  const Yaml* yaml = FindOption(options, key);
  if (yaml == nullptr) return fallback;
  const int64_t value = yaml->AsInt();
  if (value < least || value > most) {
    ThrowBadInput(yaml->place(), StrCat(key, " in ", least, "..", most), yaml->AsString());
  }
  return value;
}

size_t ChoiceOption(const Yaml* options, std::string_view key, size_t fallback,
                    std::span<const std::string_view> names) {
  const Yaml* yaml = FindOption(options, key);
  if (yaml == nullptr) return fallback;
  const std::string name = yaml->AsString();
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return i;
  }
  ThrowUnknownName(yaml->place(), key, name, std::vector<std::string>(names.begin(), names.end()));
}

}  // namespace qualm
