// qualm.json: what a quantized model folder says of itself. Layout: docs/formats/artefact.md.
// It holds no times and no absolute paths, so equal runs give equal bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "artefact/activations.h"
#include "artefact/kv_scheme.h"
#include "artefact/quantized_linear.h"
#include "io/fields.h"
#include "io/json.h"

namespace qualm {

// An error with the number of tokens it was measured on.
struct MeasuredError {
  double relative_output_error = 0;  // ‖X(W−Ŵ)ᵀ‖_F / ‖XWᵀ‖_F
  // ‖XWᵀ − X̂Ŵᵀ‖_F / ‖XWᵀ‖_F with the inputs rounded as the layer does; empty if they stay float.
  std::optional<double> with_activations;
  uint64_t tokens = 0;  // rows of X

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("rel_output_error", self.relative_output_error);
    visit("with_activations", self.with_activations);
    visit("tokens", self.tokens);
  }
};

struct LayerQuality {
  double weight_mse = 0;  // mean (w − ŵ)²
  std::optional<MeasuredError> calibration, held_out;
  std::optional<double> damping;  // λ / mean(diag H) in the end
  int damping_attempts = 0;
  bool fell_back_to_rtn = false;
  uint64_t gram_tokens = 0;  // tokens that the Gram matrix was summed over; 0: none was needed
  std::vector<std::string> notes;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("weight_mse", self.weight_mse);
    visit("calibration", self.calibration);
    visit("held_out", self.held_out);
    visit("damping", self.damping);
    visit("damping_attempts", self.damping_attempts, {.range = InRange(0, 1000)});
    visit("fell_back_to_rtn", self.fell_back_to_rtn, {.optional = true});
    visit("gram_tokens", self.gram_tokens);
    visit("notes", self.notes);
  }
};

// What the file's tensors do not say: shape, scheme, online transforms; and how good the layer is.
struct LayerRecord {
  std::string name;
  size_t out_features = 0, in_features = 0;
  Scheme scheme;
  std::string rounder;
  std::vector<OnlineTransform> transforms;  // without their factors, which are tensors
  std::optional<ActivationGrid> activations;
  bool tensor_scale_divides = false;
  ValueForm value_form;
  // Whether the float weight that was rounded is another than the checkpoint's.
  bool is_transformed = false;
  std::vector<std::string> choices;  // of transforms that search: "awq: ratio 0.35"
  double bits_per_weight = 0;
  uint64_t stored_bytes = 0;
  LayerQuality quality;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("name", self.name);
    visit.Within(self.name);
    visit("out", self.out_features);
    visit("in", self.in_features);
    visit("scheme", self.scheme);
    visit("rounder", self.rounder);
    visit("transforms", self.transforms);
    visit("activations", self.activations, {.null_when_empty = true, .inner_place = "activations"});
    visit("tensor_scale_divides", self.tensor_scale_divides,
          {.optional = true, .is_written = self.tensor_scale_divides});
    visit("value_form", self.value_form,
          {.optional = true, .is_written = !self.value_form.is_plain()});
    visit("is_transformed", self.is_transformed, {.optional = true});
    visit("choices", self.choices);
    visit("bits_per_weight", self.bits_per_weight);
    visit("stored_bytes", self.stored_bytes);
    visit("quality", self.quality);
  }
};

struct CalibrationRecord {
  std::string corpus, sampler, hash;  // over every token
  uint64_t samples = 0, length = 0, tokens = 0, seed = 0;
  uint64_t held_out_samples = 0, held_out_tokens = 0;
  std::string held_out_hash;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("corpus", self.corpus);
    visit("sampler", self.sampler);
    visit("samples", self.samples);
    visit("length", self.length);
    visit("tokens", self.tokens);
    visit("seed", self.seed, {.is_seed = true});
    visit("held_out_samples", self.held_out_samples);
    visit("held_out_tokens", self.held_out_tokens);
    visit("hash", self.hash);
    visit("held_out_hash", self.held_out_hash);
  }
};

struct FileRecord {
  std::string name, hash;
  uint64_t bytes = 0;

  // Throws bad input for a name that could lead out of the folder.
  void Validate() const;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("name", self.name);
    visit("hash", self.hash);
    visit("bytes", self.bytes);
  }
};

inline constexpr const char* kManifestFormat = "qualm-quantized";
inline constexpr int kManifestVersion = 3;
inline constexpr const char* kManifestName = "qualm.json";
inline constexpr const char* kJournalName = "journal.jsonl";  // while a run is not finished

struct Manifest {
  std::string qualm_version;
  std::string recipe_name;
  std::string recipe_json;  // canonical text
  std::string source_name, source_hash;
  std::string source_dtype;  // of the weights that were quantized
  std::string instruction_set;
  std::string run_key;  // hash of all inputs of the run: the same command gives the same key
  uint64_t seed = 0;    // of rounders that draw random numbers
  std::optional<CalibrationRecord> calibration;
  std::optional<KvCacheScheme> kv_cache;
  std::vector<LayerRecord> layers;           // in model order
  std::vector<std::string> changed_tensors;  // float ones that differ from the source's, sorted
  std::vector<FileRecord> files;             // every file of the folder that decides its function
  double bits_per_weight_layers = 0;         // of the quantized layers
  double bits_per_weight_model = 0;          // all tensor files over all parameters

  // Over recipe, source, seed, calibration, files and layers: what results are keyed by.
  std::string ArtefactHash() const;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit.Shown("format", [] { return kManifestFormat; });
    visit.Shown("version", [] { return kManifestVersion; });
    visit("qualm_version", self.qualm_version);
    visit.Shown("artefact_hash", [&] { return self.ArtefactHash(); });
    visit("recipe_name", self.recipe_name);
    visit("recipe", self.recipe_json, {.is_json_text = true});
    visit.Map("source", [&](auto& source) {
      source("name", self.source_name);
      source("hash", self.source_hash);
      source("dtype", self.source_dtype);
    });
    visit("instruction_set", self.instruction_set);
    visit("run_key", self.run_key);
    visit("seed", self.seed, {.is_seed = true});
    visit("calibration", self.calibration, {.null_when_empty = true});
    visit("kv_cache", self.kv_cache, {.null_when_empty = true, .inner_place = "kv_cache"});
    visit("bits_per_weight_layers", self.bits_per_weight_layers);
    visit("bits_per_weight_model", self.bits_per_weight_model);
    visit("changed_tensors", self.changed_tensors);
    visit("files", self.files);
    visit("layers", self.layers);
  }
};

Json ToJson(const LayerRecord& record);
LayerRecord LayerRecordFromJson(const Json& json, std::string_view place);
Json ToJson(const CalibrationRecord& record);

void WriteManifest(const std::filesystem::path& folder, const Manifest& manifest);
// Strict: an unknown key or a newer version is bad input.
Manifest ReadManifest(const std::filesystem::path& folder);
Manifest ManifestFromJson(const Json& json, std::string_view place);
bool HasManifest(const std::filesystem::path& folder);

}  // namespace qualm
