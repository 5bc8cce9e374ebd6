// Checked access to the keys of a config.json, for the families that read it. What is missing,
// out of range or of another type is bad input that names the key; who knows the file puts it in
// front (base/error_place.h). Keys that nobody asked for are known afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"

namespace qualm {

class ConfigReader {
 public:
  // `json` must outlive this; it is an object.
  explicit ConfigReader(const Json& json)
      : ConfigReader(json, "", std::make_shared<std::set<std::string>>()) {}

  // Where the object lies in the file, ":rope_scaling"; empty for the whole file.
  const std::string& place() const { return place_; }
  bool Has(std::string_view key) const;      // there, and not null
  bool HasNull(std::string_view key) const;  // there, and null
  // There, and neither null nor the number 0, which for some keys is none as well.
  bool HasNonzero(std::string_view key) const;

  // A size from 1 to 2^24; with a fallback the key may be missing or null.
  size_t Size(std::string_view key) const;
  size_t Size(std::string_view key, size_t fallback) const;
  // A number from 1e-12 to 1e12: beyond these bounds rotary frequencies leave the range of a float.
  double Positive(std::string_view key, double fallback) const;
  bool Bool(std::string_view key, bool fallback) const;
  int64_t Int(std::string_view key, int64_t fallback) const;
  std::string Text(std::string_view key, std::string_view fallback) const;
  // A list of so many texts, integers or positive numbers; empty if the key is missing or null.
  std::vector<std::string> Texts(std::string_view key, size_t count) const;
  std::vector<int64_t> Ints(std::string_view key, size_t count) const;
  // Its length; 0 if the value is not a list.
  size_t LengthOf(std::string_view key) const;
  std::vector<double> Numbers(std::string_view key, size_t count) const;

  // The value as it is; null if the key is missing or null.
  const Json* Value(std::string_view key) const;

  // The reader of an object inside. Requires: Has(key).
  ConfigReader Inner(std::string_view key) const;
  // Whether the value is an object; a text.
  bool HasObject(std::string_view key) const;
  bool HasText(std::string_view key) const;

  // The key may be there and has no influence on what the model computes.
  void Ignore(std::initializer_list<std::string_view> keys) const;
  // Refuses any other value than this one, which is also the one that a missing key stands for.
  void Require(std::string_view key, bool value) const;
  void RequireText(std::string_view key, std::string_view value) const;
  // Throws bad input naming the first key, here or in objects that Inner was asked for, that is not
  // null, that nothing asked for, and that is not among the keys of all families that have no
  // influence.
  void RefuseUnknownKeys() const;
  // Whether anybody asked for the value at the end of these keys, from the outermost on.
  bool WasAskedFor(const std::vector<std::string>& keys) const;

  // Throws bad input about a key.
  [[noreturn]] void Refuse(std::string_view key, std::string_view expected, std::string_view got,
                           std::string_view hint = {}) const;

 private:
  ConfigReader(const Json& json, std::string place, std::shared_ptr<std::set<std::string>> asked)
      : json_(json), place_(std::move(place)), asked_(std::move(asked)) {}
  void Note(std::string_view key) const;
  const Json* List(std::string_view key, size_t count, std::string_view of) const;

  const Json& json_;
  std::string place_;
  std::shared_ptr<std::set<std::string>> asked_;  // with their places; shared with inner readers
};

}  // namespace qualm
