// Strict YAML: a small tree whose nodes know their line, so that every complaint names it.
// Duplicate keys, anchors, aliases, tags and several documents are errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qualm {

class Yaml {
 public:
  enum class Kind { kNull, kScalar, kList, kMap };

  // `place` (a file name) opens every message: "[recipes/x.yaml:3] ...".
  static Yaml Parse(std::string_view text, std::string_view place);
  static Yaml ReadFile(const std::filesystem::path& path);

  Kind kind() const { return kind_; }
  std::string place() const;  // "recipes/x.yaml:3"
  bool IsMap() const { return kind_ == Kind::kMap; }

  // Throws bad input at this node's line if it is not of that kind or does not convert.
  std::string AsString() const;
  int64_t AsInt() const;
  double AsDouble() const;
  bool AsBool() const;  // true or false, nothing else
  const std::vector<Yaml>& AsList() const;
  const std::vector<std::pair<std::string, Yaml>>& AsMap() const;  // in file order

  const Yaml* Find(std::string_view key) const;  // null if absent; Requires a map
  const Yaml& Get(std::string_view key) const;   // error at the map's line if absent
  // An error at the offending key's line, with the nearest allowed name.
  void RequireKnownKeys(std::span<const std::string> allowed) const;

 private:
  friend class YamlBuilder;
  Kind kind_ = Kind::kNull;
  std::string file_;
  int line_ = 0;
  int key_line_ = 0;  // of the key that this is the value of
  std::string scalar_;
  std::vector<Yaml> list_;
  std::vector<std::pair<std::string, Yaml>> map_;
};

// Options of a method: the value of `key` in `options` (null: no options at all), or `fallback`.
// Throws bad input at the value's line if it is outside [least, most].
double NumberOption(const Yaml* options, std::string_view key, double fallback, double least,
                    double most);
int64_t IntOption(const Yaml* options, std::string_view key, int64_t fallback, int64_t least,
                  int64_t most);
// The index of the value in `names`.
size_t ChoiceOption(const Yaml* options, std::string_view key, size_t fallback,
                    std::span<const std::string_view> names);

}  // namespace qualm
