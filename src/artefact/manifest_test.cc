// The manifest's structs against their JSON: everything that is written is read back, and nothing
// else is taken.
#include "artefact/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "base/strings.h"
#include "io/json_fields.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

// A layer that uses every field.
constexpr const char* kLayer = R"({
  "name": "model.layers.0.mlp.down_proj", "out": 8, "in": 16,
  "scheme": {"type": "int", "bits": 3, "granularity": "group", "group_size": 8,
             "zero_point": "integer", "range_includes_zero": false, "scale_type": "BF16",
             "second_level": {"bits": 4, "group_rows": 2}},
  "rounder": "spqr",
  "transforms": [{"kind": "hadamard", "side": "output", "seed": 18446744073709551615,
                  "dims": [4, 2], "factors": 0}],
  "activations": {"scheme": {"type": "int", "bits": 8, "granularity": "tensor",
                             "zero_point": "none", "symmetric_convention": "signed",
                             "scale_type": "F32"},
                  "scale": 0.5, "zero": 128.0},
  "is_transformed": true, "choices": ["awq: ratio 0.35"], "bits_per_weight": 3.5,
  "stored_bytes": 56,
  "quality": {"weight_mse": 0.25,
              "calibration": {"rel_output_error": 0.5, "with_activations": 0.75, "tokens": 64},
              "held_out": {"rel_output_error": 0.625, "tokens": 32},
              "damping": 0.01, "damping_attempts": 2, "fell_back_to_rtn": true,
              "gram_tokens": 64, "notes": ["3 inputs were always 0"]}})";

Json WholeManifest() {
  Json json = ParseJson(R"({
    "format": "qualm-quantized", "version": 3, "qualm_version": "1.2.3", "artefact_hash": "",
    "recipe_name": "r", "recipe": {"name": "r", "damp": 0.01},
    "source": {"name": "toy", "hash": "abc", "dtype": "BF16"},
    "instruction_set": "AVX2", "run_key": "key", "seed": 7,
    "calibration": {"corpus": "c", "sampler": "random", "samples": 4, "length": 16, "tokens": 64,
                    "seed": 1, "held_out_samples": 2, "held_out_tokens": 32, "hash": "h",
                    "held_out_hash": "i"},
    "kv_cache": {"keys": {"granularity": "channel",
                          "scheme": {"type": "int", "bits": 4, "granularity": "token",
                                     "zero_point": "integer", "range_includes_zero": false,
                                     "scale_type": "F16"}},
                 "values": {"granularity": "head",
                            "scheme": {"type": "nf4", "bits": 4, "granularity": "token",
                                       "zero_point": "none", "scale_type": "F16"}},
                 "key_group_tokens": 32},
    "bits_per_weight_layers": 3.5, "bits_per_weight_model": 5.0, "changed_tensors": ["lm_head"],
    "files": [{"name": "block-00000.safetensors", "hash": "f", "bytes": 99}], "layers": []})",
                        "test");
  json["layers"].push_back(ParseJson(kLayer, "test"));
  json["artefact_hash"] = FieldsFrom<Manifest>(json, "test").ArtefactHash();
  return json;
}

std::string ErrorOf(const Json& json) {
  try {
    (void)ManifestFromJson(json, "m");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Manifest, EveryFieldIsReadBack) {
  const Json json = WholeManifest();
  const Manifest manifest = ManifestFromJson(json, "m");
  EXPECT_EQ(FieldsJson(manifest).dump(), json.dump());
  EXPECT_EQ(manifest.layers[0].transforms[0].side, OnlineTransform::Side::kOutput);
  EXPECT_EQ(manifest.layers[0].scheme.scale_type, DType::kBF16);
  EXPECT_EQ(manifest.recipe_json, R"({"name":"r","damp":0.01})");
}

TEST(Manifest, PartsThatAreNotThereAreWrittenAsNullOrLeftOut) {
  Json json = WholeManifest();
  json["calibration"] = nullptr;
  json["kv_cache"] = nullptr;
  Json& layer = json["layers"][0];
  layer["activations"] = nullptr;
  for (const char* key : {"calibration", "held_out", "damping"}) layer["quality"].erase(key);
  json["artefact_hash"] = FieldsFrom<Manifest>(json, "m").ArtefactHash();
  EXPECT_EQ(FieldsJson(ManifestFromJson(json, "m")).dump(), json.dump());
}

// Calls `visit` with a pointer to each map of `json`.
void ForEachMap(const Json& json, const Json::json_pointer& at,
                const std::function<void(const Json::json_pointer&)>& visit) {
  if (json.is_object()) visit(at);
  if (!json.is_structured()) return;
  for (const auto& [key, value] : json.items()) {
    if (key == "recipe") continue;  // of the recipe's own form
    if (json.is_array()) {
      ForEachMap(value, at / std::stoul(key), visit);
    } else {
      ForEachMap(value, at / key, visit);
    }
  }
}

TEST(Manifest, UnknownKeysAreRefusedWithTheNearestInEveryMap) {
  const Json whole = WholeManifest();
  ForEachMap(whole, Json::json_pointer(), [&](const Json::json_pointer& at) {
    Json json = whole;
    const std::string key = json[at].begin().key();
    json[at][key + "x"] = 1;
    EXPECT_THAT(ErrorOf(json), HasSubstr(StrCat("unknown key '", key, "x'; did you mean '", key)))
        << at.to_string();
  });
}

TEST(Manifest, AKeyThatIsMissingIsAnErrorUnlessItCanBeLeftOut) {
  const Json whole = WholeManifest();
  ForEachMap(whole, Json::json_pointer(), [&](const Json::json_pointer& at) {
    for (const auto& [key, value] : whole[at].items()) {
      Json json = whole;
      json[at].erase(key);
      if (key == "factors") {  // only shown
        EXPECT_EQ(ErrorOf(json), "") << at.to_string();
      } else {
        EXPECT_NE(ErrorOf(json), "") << at.to_string() << " " << key;  // at least the hash
      }
    }
  });
}

TEST(Manifest, MessagesNameTheLayerAndTheKey) {
  Json json = WholeManifest();
  json["layers"][0]["out"] = -1;
  EXPECT_EQ(ErrorOf(json), "[m: model.layers.0.mlp.down_proj:out] expected a size; got -1");
  json = WholeManifest();
  json["layers"][0]["transforms"][0]["side"] = "left";
  EXPECT_EQ(ErrorOf(json),
            "[m: model.layers.0.mlp.down_proj] expected side input or output; got left");
  json = WholeManifest();
  json["layers"][0]["activations"]["zero"] = 1.5;
  EXPECT_EQ(ErrorOf(json),
            "[m: model.layers.0.mlp.down_proj: activations] expected a whole zero point in "
            "0..255; got 1.5");
  json = WholeManifest();
  json["layers"][0]["scheme"]["scale_type"] = "F99";
  EXPECT_EQ(ErrorOf(json),
            "[m: model.layers.0.mlp.down_proj:scale_type] expected F16, BF16 or F32; got F99");
  json = WholeManifest();
  json["files"][0]["name"] = "../x";
  EXPECT_EQ(ErrorOf(json), "[m] expected file names, in one folder at most; got ../x");
  for (const char* name : {"..", "a/..", "/x", "a/", "a/b/c", "."}) {
    json["files"][0]["name"] = name;
    EXPECT_THAT(ErrorOf(json), ::testing::HasSubstr("in one folder at most")) << name;
  }
}

}  // namespace
}  // namespace qualm
