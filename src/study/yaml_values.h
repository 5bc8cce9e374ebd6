// Values of a study's YAML that may be written in more than one way, or be missing.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/fields.h"
#include "io/yaml.h"

namespace qualm {

inline std::vector<std::string> Names(std::span<const std::string_view> views) {
  return {views.begin(), views.end()};
}

// One text or a list of them.
inline std::vector<std::string> TextsOf(const Yaml& yaml) {
  if (yaml.kind() == Yaml::Kind::kScalar) return {yaml.AsString()};
  std::vector<std::string> texts;
  for (const Yaml& one : yaml.AsList()) texts.push_back(one.AsString());
  return texts;
}

inline std::vector<std::string> TextsIn(const Yaml& yaml, std::string_view key) {
  const Yaml* value = yaml.Find(key);
  return value == nullptr ? std::vector<std::string>() : TextsOf(*value);
}

inline std::string TextIn(const Yaml& yaml, std::string_view key, std::string_view fallback = "") {
  const Yaml* value = yaml.Find(key);
  return value == nullptr ? std::string(fallback) : value->AsString();
}

inline size_t SizeIn(const Yaml* yaml, std::string_view key, size_t fallback, int64_t least = 0) {
  return static_cast<size_t>(
      IntOption(yaml, key, static_cast<int64_t>(fallback), least, kMostSize));
}

}  // namespace qualm
