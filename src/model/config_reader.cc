// Typed reads from a config.json with the bounds that hold for every family. Each error names the
// file and the key.
#include "model/config_reader.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Larger values in a config.json are a damaged or hostile file, not a model.
constexpr int64_t kLargestSize = int64_t{1} << 24;

thread_local ConfigReads* collector = nullptr;

}  // namespace

ConfigReads::ConfigReads() : outer_(std::exchange(collector, this)) {}

ConfigReads::~ConfigReads() { collector = outer_; }

bool ConfigReads::Has(const Json& holder, std::string_view key) const {
  return keys_.contains({&holder, std::string(key)});
}

void ConfigReads::Note(const Json& holder, std::string_view key) {
  if (collector != nullptr) collector->keys_.emplace(&holder, key);
}

// Null counts as missing: some writers put it for every key that they leave at its default.
bool ConfigReader::Has(std::string_view key) const {
  ConfigReads::Note(json_, key);
  const auto found = json_.find(std::string(key));
  return found != json_.end() && !found->is_null();
}

bool ConfigReader::HasNull(std::string_view key) const {
  ConfigReads::Note(json_, key);
  const auto found = json_.find(std::string(key));
  return found != json_.end() && found->is_null();
}

size_t ConfigReader::Size(std::string_view key) const { return Size(key, 0); }

// A fallback of 0 means that the key is required.
size_t ConfigReader::Size(std::string_view key, size_t fallback) const {
  ConfigReads::Note(json_, key);
  const int64_t value = fallback > 0 ? GetInt(json_, key, place_, static_cast<int64_t>(fallback))
                                     : GetInt(json_, key, place_);
  if (value < 1 || value > kLargestSize) {
    Refuse(key, StrCat("a size in 1..", kLargestSize), StrCat(value));
  }
  return static_cast<size_t>(value);
}

// The negated condition also refuses NaN.
double ConfigReader::Positive(std::string_view key, double fallback) const {
  ConfigReads::Note(json_, key);
  const double value = GetDouble(json_, key, place_, fallback);
  if (!(value >= 1e-12 && value <= 1e12)) {
    Refuse(key, "a positive number from 1e-12 to 1e12", StrCat(value));
  }
  return value;
}

bool ConfigReader::Bool(std::string_view key, bool fallback) const {
  ConfigReads::Note(json_, key);
  return GetBool(json_, key, place_, fallback);
}

int64_t ConfigReader::Int(std::string_view key, int64_t fallback) const {
  ConfigReads::Note(json_, key);
  return GetInt(json_, key, place_, fallback);
}

std::string ConfigReader::Text(std::string_view key, std::string_view fallback) const {
  ConfigReads::Note(json_, key);
  return GetString(json_, key, place_, fallback);
}

ConfigReader ConfigReader::Inner(std::string_view key) const {
  ConfigReads::Note(json_, key);
  const Json& object = json_[std::string(key)];
  if (!object.is_object()) Refuse(key, "an object or null", object.dump());
  return ConfigReader(object, StrCat(place_, ":", key));
}

void ConfigReader::Refuse(std::string_view key, std::string_view expected, std::string_view got,
                          std::string_view hint) const {
  // A value from the file may be of any length.
  constexpr size_t kLongest = 80;
  const std::string shown(got.substr(0, kLongest));
  ThrowBadInput(StrCat(place_, ":", key), expected, got.size() > kLongest ? shown + "..." : shown,
                hint);
}

}  // namespace qualm
