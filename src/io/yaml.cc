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

constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr size_t kMaxDepth = 64;

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

std::string Quoted(std::string_view text) {
  return text.size() <= 80 ? StrCat("'", text, "'") : StrCat("a text of ", text.size(), " bytes");
}

std::string PlaceOf(std::string_view file, int line) { return StrCat(file, ":", line); }

// yaml-cpp takes a quoted text that the end of the file cuts off within blanks after a line end;
// after anything else it complains. So no file ends like that: a comment follows.
std::string WithFirmEnd(std::string_view text) {
  const std::string_view ending = text.substr(text.find_last_not_of(" \t\n") + 1);
  return StrCat(text, ending.ends_with('\n')                        ? "#"
                      : ending.find('\n') != std::string_view::npos ? "\n#"
                                                                    : "");
}

// The parser recurses, so what it may be given is bounded first: open brackets, and "- - -" or
// "? ? ?" nests begun on one line. Brackets inside quoted texts count as well.
void CheckNesting(std::string_view text, std::string_view file) {
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

// Turns parser events into the tree.
class YamlBuilder final : public YAML::EventHandler {
 public:
  explicit YamlBuilder(std::string_view file) : file_(file) {}

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
    Check(mark, tag, anchor);
    Yaml node = Node(Yaml::Kind::kScalar, mark);
    node.scalar_ = value;
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

  void Check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) Refuse(mark, "no anchors and aliases", "an anchor");
    // "?" stands for a plain and "!" for a quoted value without a tag.
    if (!tag.empty() && tag != "?" && tag != "!") {
      Refuse(mark, "no tags", StrCat("the tag ", Quoted(tag)));
    }
  }

  Yaml Node(Yaml::Kind kind, const YAML::Mark& mark) const {
    Yaml node;
    node.kind_ = kind;
    node.file_ = file_;
    node.line_ = LineOf(mark);
    return node;
  }

  bool AwaitsKey() const {
    return !stack_.empty() && stack_.back().node.kind_ == Yaml::Kind::kMap &&
           !stack_.back().has_key;
  }

  void Open(Yaml::Kind kind, const YAML::Mark& mark) {
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

  void Add(Yaml node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
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

  std::string_view file_;
  bool has_document_ = false;
  std::vector<Frame> stack_;
  Yaml root_;
};

Yaml Yaml::Parse(std::string_view text, std::string_view place) {
  if (text.size() > kMaxBytes) {
    ThrowBadInput(place, StrCat("at most ", HumanBytes(kMaxBytes), " of YAML"),
                  HumanBytes(text.size()));
  }
  if (!IsValidUtf8(text)) ThrowBadInput(place, "UTF-8", "other bytes");
  if (text.find('\0') != std::string_view::npos) ThrowBadInput(place, "a text", "a NUL byte");
  CheckNesting(text, place);
  YamlBuilder builder(place);
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
