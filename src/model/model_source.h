// A model as a user names it: where it lies, and what is said about it beyond its files.
#pragma once

#include <concepts>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "formats/quantized_layers.h"
#include "io/input_set.h"
#include "io/json.h"

namespace qualm {

// A key of config.json with another value.
struct ConfigOverride {
  std::string key;    // "rope_theta", "rope_scaling.factor"
  std::string value;  // JSON
};

// "KEY=VALUE". The value is JSON, or else a text. Throws bad input for an empty key or no "=".
ConfigOverride ParseConfigOverride(const std::string& text);

struct ModelSource {
  ModelSource() = default;
  // A folder as it is, so that a path can be given wherever a source is needed.
  template <class Path>
  requires std::convertible_to<const Path&, std::filesystem::path> ModelSource(const Path& path)
      : folder(path), name(folder.string()) {}  // NOLINT(google-explicit-constructor)

  std::filesystem::path folder;
  std::string name;                          // as the user wrote it; default: the folder
  std::vector<ConfigOverride> config;        // by key
  std::vector<std::string> ignored_tensors;  // regular expressions
  ReadOptions read;                          // how quantized layers are read
  std::filesystem::path adapter;             // a folder of PEFT, merged; empty: none

  bool operator==(const ModelSource& other) const;
};

// The model of that name (hub_cache.h) with "KEY=VALUE" texts and patterns of tensors' names.
// Throws bad input for a key given twice.
ModelSource MakeModelSource(const std::string& model, const std::vector<std::string>& config,
                            const std::vector<std::string>& ignored_tensors);

// The source's config.json with its overrides. Throws bad input for a dotted key whose first part
// is not an object.
Json ReadModelConfig(const ModelSource& source);

// What identifies the source beyond its files; nothing if nothing was overridden.
void AddOverrides(const ModelSource& source, InputSet& inputs);

}  // namespace qualm
