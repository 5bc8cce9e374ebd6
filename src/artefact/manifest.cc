// The manifest between its struct and qualm.json. The structs' Fields (manifest.h) state what the
// file holds. This file adds what a list of fields does not say: the hash over everything that
// decides the results, and which files are refused.
#include "artefact/manifest.h"

#include <algorithm>

#include "base/error_place.h"
#include "base/strings.h"
#include "io/hash.h"
#include "io/json_fields.h"

namespace qualm {

Json ToJson(const LayerRecord& record) { return FieldsJson(record); }

LayerRecord LayerRecordFromJson(const Json& json, std::string_view place) {
  return FieldsFrom<LayerRecord>(json, place);
}

Json ToJson(const CalibrationRecord& record) { return FieldsJson(record); }

// Names are joined to the folder's path: none may lead out of it.
void FileRecord::Validate() const {
  const std::vector<std::string> parts = Split(name, '/');
  const bool is_inside = parts.size() <= 2 && std::ranges::all_of(parts, [](const auto& part) {
                           return !part.empty() && part != "." && part != "..";
                         });
  if (!is_inside || name.empty() || name.find('\0') != std::string::npos) {
    ThrowExpected("file names, in one folder at most", name);
  }
}

std::string Manifest::ArtefactHash() const {
  // Where the model came from and how it was quantized.
  Hasher hasher;
  for (const std::string& part :
       {recipe_name, recipe_json, source_name, source_hash, source_dtype, StrCat(seed)}) {
    hasher.Add(part);
  }
  hasher.Add(calibration ? FieldsJson(*calibration).dump() : "");

  // What the folder holds: other files, tensors that differ from the source, and every layer.
  for (const FileRecord& file : files) {
    hasher.Add(file.name);
    hasher.Add(file.hash);
  }
  for (const std::string& name : changed_tensors) hasher.Add(name);
  hasher.Add(kv_cache ? FieldsJson(*kv_cache).dump() : "");
  for (const LayerRecord& layer : layers) hasher.Add(FieldsJson(layer).dump());
  return hasher.Hex();
}

void WriteManifest(const std::filesystem::path& folder, const Manifest& manifest) {
  WriteJsonFile(folder / kManifestName, FieldsJson(manifest));
}

bool HasManifest(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / kManifestName);
}

namespace {

Manifest CheckedManifest(const Json& json) {
  Manifest manifest;

  // Whether it is ours to read at all comes first: the fields of another version may differ.
  RequireObject(json, KeysOf(manifest), kNoPlace);
  if (std::string format = GetString(json, "format", kNoPlace); format != kManifestFormat) {
    ThrowBadInput(":format", kManifestFormat, format);
  }
  if (int64_t version = GetInt(json, "version", kNoPlace); version != kManifestVersion) {
    ThrowExpected(StrCat("format version ", kManifestVersion), StrCat(version),
                  "written by another version of qualm");
  }

  // The hash is computed from what was read, so an edit of any field shows.
  ReadFields(json, manifest);
  std::string hash = GetString(json, "artefact_hash", kNoPlace);
  if (hash != manifest.ArtefactHash()) {
    ThrowExpected(StrCat("artefact_hash ", manifest.ArtefactHash()), hash,
                  "the manifest was changed after it was written");
  }
  return manifest;
}

}  // namespace

Manifest ManifestFromJson(const Json& json, std::string_view place) {
  return At(place, [&] { return CheckedManifest(json); });
}

Manifest ReadManifest(const std::filesystem::path& folder) {
  std::filesystem::path path = folder / kManifestName;
  return ManifestFromJson(ReadJsonFile(path), path.string());
}

}  // namespace qualm
