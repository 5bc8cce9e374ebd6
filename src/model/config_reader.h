// Checked access to the keys of a config.json, for the families that read it. What is missing,
// out of range or of another type is bad input that names the key; who knows the file puts it in
// front (base/error_place.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "io/json.h"

namespace qualm {

// Learns which keys this thread reads of any configuration while it lives; the innermost collector
// learns. A key counts as read when somebody asks for it, whether it is there or not.
class ConfigReads {
 public:
  ConfigReads();
  ~ConfigReads();
  ConfigReads(const ConfigReads&) = delete;
  ConfigReads& operator=(const ConfigReads&) = delete;

  // `holder` is the very object that was read, not a copy.
  bool Has(const Json& holder, std::string_view key) const;
  // For keys that are not read by a ConfigReader.
  static void Note(const Json& holder, std::string_view key);

 private:
  ConfigReads* outer_;
  std::set<std::pair<const Json*, std::string>> keys_;
};

class ConfigReader {
 public:
  // `json` must outlive this; it is an object.
  explicit ConfigReader(const Json& json) : json_(json) {}

  const Json& json() const { return json_; }
  // Where the object lies in the file, ":rope_scaling"; empty for the whole file.
  const std::string& place() const { return place_; }
  bool Has(std::string_view key) const;      // there, and not null
  bool HasNull(std::string_view key) const;  // there, and null

  // A size from 1 to 2^24; with a fallback the key may be missing or null.
  size_t Size(std::string_view key) const;
  size_t Size(std::string_view key, size_t fallback) const;
  // A number from 1e-12 to 1e12: beyond these bounds rotary frequencies leave the range of a float.
  double Positive(std::string_view key, double fallback) const;
  bool Bool(std::string_view key, bool fallback) const;
  int64_t Int(std::string_view key, int64_t fallback) const;
  std::string Text(std::string_view key, std::string_view fallback) const;

  // The reader of an object inside.
  ConfigReader Inner(std::string_view key) const;

  // Throws bad input about a key.
  [[noreturn]] void Refuse(std::string_view key, std::string_view expected, std::string_view got,
                           std::string_view hint = {}) const;

 private:
  ConfigReader(const Json& json, std::string place) : json_(json), place_(std::move(place)) {}

  const Json& json_;
  std::string place_;
};

}  // namespace qualm
