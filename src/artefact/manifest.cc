#include "artefact/manifest.h"

#include <array>
#include <nlohmann/json.hpp>

#include "artefact/scheme_json.h"
#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"

namespace qualm {
namespace {

constexpr const char* kFormat = "qualm-quantized";

constexpr std::array<std::string_view, 4> kTransformKinds = {"scale", "shift", "hadamard",
                                                             "kronecker"};

size_t GetSize(const Json& json, std::string_view key, std::string_view place) {
  int64_t value = GetInt(json, key, place);
  if (value < 0) ThrowBadInput(StrCat(place, ":", key), "a size", StrCat(value));
  return static_cast<size_t>(value);
}

const Json& GetList(const Json& json, const char* key, std::string_view place) {
  const Json& list = GetChild(json, key, place);
  if (!list.is_array()) ThrowBadInput(StrCat(place, ":", key), "a list", list.type_name());
  return list;
}

std::vector<std::string> GetTexts(const Json& json, const char* key, std::string_view place) {
  std::vector<std::string> texts;
  for (const Json& text : GetList(json, key, place)) {
    if (!text.is_string()) ThrowBadInput(place, StrCat(key, " as text"), text.dump());
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

uint64_t GetSeed(const Json& json, std::string_view place) {
  const Json& seed = GetChild(json, "seed", place);
  if (!seed.is_number_unsigned()) ThrowBadInput(place, "a seed in 0..2^64-1", seed.dump());
  return seed.get<uint64_t>();
}

Json ToJson(const OnlineTransform& transform) {
  return Json{{"kind", kTransformKinds[static_cast<size_t>(transform.kind)]},
              {"side", transform.side == OnlineTransform::Side::kInput ? "input" : "output"},
              {"seed", transform.seed},
              {"dims", transform.dims},
              {"factors", transform.factors.size()}};
}

OnlineTransform TransformFromJson(const Json& json, std::string_view place) {
  RequireObject(json, {"kind", "side", "seed", "dims", "factors"}, place);
  OnlineTransform transform;
  std::string kind = GetString(json, "kind", place);
  size_t index = 0;
  while (index < kTransformKinds.size() && kTransformKinds[index] != kind) ++index;
  if (index == kTransformKinds.size()) {
    ThrowUnknownName(place, "transform", kind,
                     std::vector<std::string>(kTransformKinds.begin(), kTransformKinds.end()));
  }
  transform.kind = static_cast<OnlineTransform::Kind>(index);
  std::string side = GetString(json, "side", place);
  if (side != "input" && side != "output") ThrowBadInput(place, "side input or output", side);
  transform.side =
      side == "output" ? OnlineTransform::Side::kOutput : OnlineTransform::Side::kInput;
  transform.seed = GetSeed(json, place);
  for (const Json& dim : GetList(json, "dims", place)) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > UINT32_MAX) {
      ThrowBadInput(place, "dims as 32-bit sizes", dim.dump());
    }
    transform.dims.push_back(dim.get<uint32_t>());
  }
  return transform;
}

Json ToJson(const MeasuredError& error) {
  Json json{{"rel_output_error", error.relative_output_error}};
  if (error.with_activations) json["with_activations"] = *error.with_activations;
  json["tokens"] = error.tokens;
  return json;
}

std::optional<MeasuredError> MeasuredFromJson(const Json& json, const char* key,
                                              std::string_view place) {
  auto it = json.find(key);
  if (it == json.end() || it->is_null()) return std::nullopt;
  RequireObject(*it, {"rel_output_error", "with_activations", "tokens"}, place);
  MeasuredError error{GetDouble(*it, "rel_output_error", place), {}, GetSize(*it, "tokens", place)};
  if (it->contains("with_activations")) {
    error.with_activations = GetDouble(*it, "with_activations", place);
  }
  return error;
}

Json ToJson(const LayerQuality& quality) {
  Json json{{"weight_mse", quality.weight_mse}};
  if (quality.calibration) json["calibration"] = ToJson(*quality.calibration);
  if (quality.held_out) json["held_out"] = ToJson(*quality.held_out);
  if (quality.damping) json["damping"] = *quality.damping;
  json["damping_attempts"] = quality.damping_attempts;
  json["fell_back_to_rtn"] = quality.fell_back_to_rtn;
  json["gram_tokens"] = quality.gram_tokens;
  json["notes"] = quality.notes;
  return json;
}

LayerQuality QualityFromJson(const Json& json, std::string_view place) {
  RequireObject(json,
                {"weight_mse", "calibration", "held_out", "damping", "damping_attempts",
                 "fell_back_to_rtn", "gram_tokens", "notes"},
                place);
  LayerQuality quality;
  quality.weight_mse = GetDouble(json, "weight_mse", place);
  quality.calibration = MeasuredFromJson(json, "calibration", place);
  quality.held_out = MeasuredFromJson(json, "held_out", place);
  if (json.contains("damping")) quality.damping = GetDouble(json, "damping", place);
  quality.damping_attempts = GetIntIn(json, "damping_attempts", place, 0, 1000);
  quality.fell_back_to_rtn = GetBool(json, "fell_back_to_rtn", place, false);
  quality.gram_tokens = GetSize(json, "gram_tokens", place);
  quality.notes = GetTexts(json, "notes", place);
  return quality;
}

CalibrationRecord CalibrationFromJson(const Json& json, std::string_view place) {
  RequireObject(json,
                {"corpus", "sampler", "hash", "samples", "length", "tokens", "seed",
                 "held_out_samples", "held_out_tokens", "held_out_hash"},
                place);
  CalibrationRecord record;
  record.corpus = GetString(json, "corpus", place);
  record.sampler = GetString(json, "sampler", place);
  record.hash = GetString(json, "hash", place);
  record.samples = GetSize(json, "samples", place);
  record.length = GetSize(json, "length", place);
  record.tokens = GetSize(json, "tokens", place);
  record.seed = GetSeed(json, place);
  record.held_out_samples = GetSize(json, "held_out_samples", place);
  record.held_out_tokens = GetSize(json, "held_out_tokens", place);
  record.held_out_hash = GetString(json, "held_out_hash", place);
  return record;
}

Json ToJson(const FileRecord& file) {
  return Json{{"name", file.name}, {"hash", file.hash}, {"bytes", file.bytes}};
}

FileRecord FileFromJson(const Json& json, std::string_view place) {
  RequireObject(json, {"name", "hash", "bytes"}, place);
  FileRecord file{GetString(json, "name", place), GetString(json, "hash", place),
                  GetSize(json, "bytes", place)};
  if (file.name.empty() || file.name == "." || file.name == ".." ||
      file.name.find_first_of(std::string_view("/\0", 2)) != std::string::npos) {
    ThrowBadInput(place, "file names without folders", file.name);
  }
  return file;
}

}  // namespace

Json ToJson(const LayerRecord& record) {
  Json transforms = Json::array();
  for (const OnlineTransform& transform : record.transforms)
    transforms.push_back(ToJson(transform));
  return Json{{"name", record.name},
              {"out", record.out_features},
              {"in", record.in_features},
              {"scheme", ToJson(record.scheme)},
              {"rounder", record.rounder},
              {"transforms", transforms},
              {"activations", record.activations ? ToJson(*record.activations) : Json()},
              {"is_transformed", record.is_transformed},
              {"choices", record.choices},
              {"bits_per_weight", record.bits_per_weight},
              {"stored_bytes", record.stored_bytes},
              {"quality", ToJson(record.quality)}};
}

LayerRecord LayerRecordFromJson(const Json& json, std::string_view place) {
  RequireObject(json,
                {"name", "out", "in", "scheme", "rounder", "transforms", "activations",
                 "is_transformed", "choices", "bits_per_weight", "stored_bytes", "quality"},
                place);
  LayerRecord record;
  record.name = GetString(json, "name", place);
  std::string inner = StrCat(place, ": ", record.name);
  record.out_features = GetSize(json, "out", inner);
  record.in_features = GetSize(json, "in", inner);
  record.scheme = SchemeFromJson(GetChild(json, "scheme", inner), inner);
  record.rounder = GetString(json, "rounder", inner);
  for (const Json& transform : GetList(json, "transforms", inner)) {
    record.transforms.push_back(TransformFromJson(transform, inner));
  }
  if (const Json& activations = GetChild(json, "activations", inner); !activations.is_null()) {
    record.activations = ActivationGridFromJson(activations, inner);
  }
  record.is_transformed = GetBool(json, "is_transformed", inner, false);
  record.choices = GetTexts(json, "choices", inner);
  record.bits_per_weight = GetDouble(json, "bits_per_weight", inner);
  record.stored_bytes = GetSize(json, "stored_bytes", inner);
  record.quality = QualityFromJson(GetChild(json, "quality", inner), inner);
  return record;
}

Json ToJson(const CalibrationRecord& record) {
  return Json{{"corpus", record.corpus},
              {"sampler", record.sampler},
              {"samples", record.samples},
              {"length", record.length},
              {"tokens", record.tokens},
              {"seed", record.seed},
              {"held_out_samples", record.held_out_samples},
              {"held_out_tokens", record.held_out_tokens},
              {"hash", record.hash},
              {"held_out_hash", record.held_out_hash}};
}

std::string Manifest::ArtefactHash() const {
  Hasher hasher;
  hasher.Add(recipe_name);
  hasher.Add(recipe_json);
  for (const std::string& part : {source_name, source_hash, source_dtype}) hasher.Add(part);
  hasher.Add(StrCat(seed));
  hasher.Add(calibration ? ToJson(*calibration).dump() : "");
  for (const FileRecord& file : files) {
    hasher.Add(file.name);
    hasher.Add(file.hash);
  }
  for (const std::string& name : changed_tensors) hasher.Add(name);
  hasher.Add(kv_cache ? ToJson(*kv_cache).dump() : "");
  for (const LayerRecord& layer : layers) hasher.Add(ToJson(layer).dump());
  return hasher.Hex();
}

void WriteManifest(const std::filesystem::path& folder, const Manifest& manifest) {
  Json layers = Json::array(), files = Json::array();
  for (const LayerRecord& layer : manifest.layers) layers.push_back(ToJson(layer));
  for (const FileRecord& file : manifest.files) files.push_back(ToJson(file));
  Json json{{"format", kFormat},
            {"version", kManifestVersion},
            {"qualm_version", manifest.qualm_version},
            {"artefact_hash", manifest.ArtefactHash()},
            {"recipe_name", manifest.recipe_name},
            {"recipe", ParseJson(manifest.recipe_json, "recipe")},
            {"source", Json{{"name", manifest.source_name},
                            {"hash", manifest.source_hash},
                            {"dtype", manifest.source_dtype}}},
            {"instruction_set", manifest.instruction_set},
            {"run_key", manifest.run_key},
            {"seed", manifest.seed},
            {"calibration", manifest.calibration ? ToJson(*manifest.calibration) : Json()},
            {"kv_cache", manifest.kv_cache ? ToJson(*manifest.kv_cache) : Json()},
            {"bits_per_weight_layers", manifest.bits_per_weight_layers},
            {"bits_per_weight_model", manifest.bits_per_weight_model},
            {"changed_tensors", manifest.changed_tensors},
            {"files", files},
            {"layers", layers}};
  WriteJsonFile(folder / kManifestName, json);
}

bool HasManifest(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / kManifestName);
}

Manifest ManifestFromJson(const Json& json, std::string_view place) {
  RequireObject(
      json,
      {"format", "version", "qualm_version", "artefact_hash", "recipe_name", "recipe", "source",
       "instruction_set", "run_key", "seed", "calibration", "kv_cache", "bits_per_weight_layers",
       "bits_per_weight_model", "changed_tensors", "files", "layers"},
      place);
  if (std::string format = GetString(json, "format", place); format != kFormat) {
    ThrowBadInput(StrCat(place, ":format"), kFormat, format);
  }
  int64_t version = GetInt(json, "version", place);
  if (version != kManifestVersion) {
    ThrowBadInput(place, StrCat("format version ", kManifestVersion), StrCat(version),
                  "written by another version of qualm");
  }
  Manifest manifest;
  manifest.qualm_version = GetString(json, "qualm_version", place);
  manifest.recipe_name = GetString(json, "recipe_name", place);
  manifest.recipe_json = GetChild(json, "recipe", place).dump();
  const Json& source = GetChild(json, "source", place);
  RequireObject(source, {"name", "hash", "dtype"}, place);
  manifest.source_name = GetString(source, "name", place);
  manifest.source_hash = GetString(source, "hash", place);
  manifest.source_dtype = GetString(source, "dtype", place);
  manifest.instruction_set = GetString(json, "instruction_set", place);
  manifest.run_key = GetString(json, "run_key", place);
  manifest.seed = GetSeed(json, place);
  if (!GetChild(json, "calibration", place).is_null()) {
    manifest.calibration = CalibrationFromJson(json["calibration"], place);
  }
  if (const Json& kv_cache = GetChild(json, "kv_cache", place); !kv_cache.is_null()) {
    manifest.kv_cache = KvCacheSchemeFromJson(kv_cache, place);
  }
  manifest.bits_per_weight_layers = GetDouble(json, "bits_per_weight_layers", place);
  manifest.bits_per_weight_model = GetDouble(json, "bits_per_weight_model", place);
  manifest.changed_tensors = GetTexts(json, "changed_tensors", place);
  for (const Json& file : GetList(json, "files", place)) {
    manifest.files.push_back(FileFromJson(file, place));
  }
  for (const Json& layer : GetList(json, "layers", place)) {
    manifest.layers.push_back(LayerRecordFromJson(layer, place));
  }
  std::string hash = GetString(json, "artefact_hash", place);
  if (hash != manifest.ArtefactHash()) {
    ThrowBadInput(place, StrCat("artefact_hash ", manifest.ArtefactHash()), hash,
                  "the manifest was changed after it was written");
  }
  return manifest;
}

Manifest ReadManifest(const std::filesystem::path& folder) {
  std::filesystem::path path = folder / kManifestName;
  return ManifestFromJson(ReadJsonFile(path), path.string());
}

}  // namespace qualm
