// The keys of a task file together with those of the files that it includes.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"

namespace qualm {

// The key under which a file in the format of lm-evaluation-harness says what only qualm reads.
inline constexpr std::string_view kOwnKey = "qualm";

// Files are added from the outermost on; a key of an earlier one hides those of later ones. At
// least one file is added before anything is asked.
class TaskKeys {
 public:
  void Add(Yaml file) { files_.push_back(std::move(file)); }
  // YAML 1.1's ways of writing nothing.
  static bool IsNone(const Yaml& value) {
    if (value.kind() == Yaml::Kind::kNull) return true;
    return value.kind() == Yaml::Kind::kScalar &&
           (value.AsString() == "null" || value.AsString() == "~");
  }
  size_t size() const { return files_.size(); }
  std::string place() const { return files_.front().place(); }

  // Null if no file has it, or the first that has it gives it no value.
  const Yaml* Find(std::string_view key) const {
    for (const Yaml& file : files_) {
      const Yaml* value = file.Find(key);
      if (value == nullptr) continue;
      return IsNone(*value) ? nullptr : value;
    }
    return nullptr;
  }

  // A whole number in `least`..`most`; anything else is bad input.
  int64_t WholeIn(std::string_view key, int64_t otherwise, int64_t least, int64_t most) const {
    const Yaml* value = Find(key);
    if (value == nullptr) return otherwise;
    const int64_t whole = value->AsInt();
    if (whole >= least && whole <= most) return whole;
    ThrowBadInput(value->place(), StrCat(key, " in ", least, "..", most), value->AsString());
  }

  // A key of the map under `outer`; each file's map adds to those of later files.
  const Yaml* FindIn(std::string_view outer, std::string_view key) const {
    for (const Yaml& file : files_) {
      const Yaml* map = file.Find(outer);
      const Yaml* value = map != nullptr && map->IsMap() ? map->Find(key) : nullptr;
      if (value != nullptr) return value;
    }
    return nullptr;
  }
  // The maps under `outer`, as they are written.
  std::vector<const Yaml*> Maps(std::string_view outer) const {
    std::vector<const Yaml*> maps;
    for (const Yaml& file : files_) {
      if (const Yaml* map = file.Find(outer)) maps.push_back(map);
    }
    return maps;
  }

 private:
  std::deque<Yaml> files_;
};

}  // namespace qualm
