// The rotary parameters of a configuration. Newer files have one object, rope_parameters, which may
// hold one for every type of block; older ones have rope_theta, rope_scaling and a few keys more at
// the top level. Both become a RotaryPlan.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error_place.h"
#include "base/strings.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// Rotary parameters may be null, which means the same as missing.
double Parameter(const ConfigReader& config, std::string_view key, double fallback) {
  return config.Has(key) ? config.Positive(key, fallback) : fallback;
}

// The key of the object with the parameters. A scaling as older files have it wins, unless it is
// empty.
const char* ObjectKey(const ConfigReader& config) {
  config.Ignore({"rope_parameters"});
  const Json* scaling = config.Value("rope_scaling");
  return scaling != nullptr && !scaling->empty() ? "rope_scaling" : "rope_parameters";
}

// The object that holds the parameters of blocks of a type: the one in the file, or one inside it.
std::optional<ConfigReader> ScalingObject(const ConfigReader& config, std::string_view layer_type) {
  const char* key = ObjectKey(config);
  if (!config.Has(key)) return {};
  const ConfigReader object = config.Inner(key);

  // One object for every type of block.
  for (const std::string_view type : {"full_attention", "sliding_attention"}) {
    if (!object.HasObject(type)) continue;
    if (layer_type.empty()) {
      config.Refuse(key, "one set of rotary parameters for all blocks", StrCat("a set for ", type));
    }
    if (object.HasObject(layer_type)) return object.Inner(layer_type);
    if (object.HasNull(layer_type)) return {};
    config.Refuse(key, StrCat("rotary parameters of ", layer_type), "none");
  }
  return object;
}

void ReadLlama3(const ConfigReader& config, const ConfigReader& inner, RopeScaling& scaling) {
  scaling.kind = RopeScaling::Kind::kLlama3;
  scaling.low_freq_factor = Parameter(inner, "low_freq_factor", 1);
  scaling.high_freq_factor = Parameter(inner, "high_freq_factor", 4);
  // It interpolates between two wave lengths, which must differ.
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    config.Refuse("rope_scaling", "high_freq_factor above low_freq_factor",
                  StrCat(scaling.high_freq_factor, " and ", scaling.low_freq_factor));
  }
}

// The factor that YaRN's authors give attention for a stretched context (section 3.4).
double YarnMagnitude(double factor, double weight) {
  return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

void ReadYarn(const ConfigReader& inner, const RotaryPlan& rotary, RopeScaling& scaling) {
  scaling.kind = RopeScaling::Kind::kYarn;
  // Its ramp begins at the pair that turns so many times: with this base all of them turn alike.
  if (rotary.theta == 1) inner.Refuse("rope_theta", "a base other than 1", "1");
  const auto weight = [&](std::string_view key) {
    return inner.Has(key) ? Parameter(inner, key, 1) : 0.0;
  };
  const double own = weight("mscale"), all = weight("mscale_all_dim");
  scaling.attention_factor =
      own > 0 && all > 0 ? YarnMagnitude(scaling.factor, own) / YarnMagnitude(scaling.factor, all)
                         : YarnMagnitude(scaling.factor, 1);
  if (inner.Has("attention_factor")) {
    scaling.attention_factor = Parameter(inner, "attention_factor", 1);
  }
  const YarnRamp ramp = YarnRampOf(rotary.dims, rotary.theta, scaling.original_context,
                                   Parameter(inner, "beta_fast", 32),
                                   Parameter(inner, "beta_slow", 1), inner.Bool("truncate", true));
  scaling.ramp_first = ramp.first;
  scaling.ramp_last = ramp.last;
}

void ReadLongRope(const ConfigReader& inner, const RotaryPlan& rotary, RopeScaling& scaling) {
  scaling.kind = RopeScaling::Kind::kLongRope;
  scaling.short_factors = inner.Numbers("short_factor", rotary.pairs());
  scaling.long_factors = inner.Numbers("long_factor", rotary.pairs());
  for (const auto& [factors, key] : {std::pair{&scaling.short_factors, "short_factor"},
                                     std::pair{&scaling.long_factors, "long_factor"}}) {
    if (factors->empty()) {
      inner.Refuse(key, StrCat("a list of ", rotary.pairs(), " numbers"), "none");
    }
  }
  if (inner.Has("attention_factor")) {
    scaling.attention_factor = Parameter(inner, "attention_factor", 1);
  } else if (scaling.factor > 1) {
    // The logarithm of the context divides.
    if (scaling.original_context <= 1) {
      inner.Refuse("original_max_position_embeddings", "more than one position",
                   StrCat(scaling.original_context));
    }
    const double spread = std::log(scaling.factor) / std::log(scaling.original_context);
    scaling.attention_factor = std::sqrt(1 + spread);
  }
}

// The context before it was stretched, at the top level or inside, else the model's own.
double ReadOriginalContext(const ConfigReader& config, const ConfigReader& inner, size_t context) {
  const char* key = "original_max_position_embeddings";
  if (config.Has(key)) return Parameter(config, key, 1);
  return Parameter(inner, key, static_cast<double>(context));
}

RopeScaling ReadScaling(const ConfigReader& config, const ConfigReader& inner,
                        const RotaryPlan& rotary, size_t context) {
  RopeScaling scaling;
  // Keys of all scalings: one that belongs to another scaling says nothing.
  inner.Ignore({"attention_factor", "beta_fast", "beta_slow", "factor", "high_freq_factor",
                "long_factor", "low_freq_factor", "mscale", "mscale_all_dim",
                "original_max_position_embeddings", "partial_rotary_factor", "rope_theta",
                "rope_type", "short_factor", "truncate", "type", "max_position_embeddings",
                "finetuned"});
  // Older files spell the key "type", and LongRoPE after the name of its file.
  std::string kind = inner.Text("rope_type", inner.Text("type", ""));
  if (kind == "su") kind = "longrope";
  if (kind == "default" || (kind.empty() && !inner.Has("factor"))) return scaling;

  scaling.original_context = ReadOriginalContext(config, inner, context);
  // A missing factor is how much longer the context has become.
  const bool is_ratio = kind == "longrope" || kind == "yarn";
  const double ratio = static_cast<double>(context) / scaling.original_context;
  scaling.factor = Parameter(inner, "factor", is_ratio ? ratio : 1);

  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    scaling.original_context = RopeScaling{}.original_context;
  } else if (kind == "dynamic") {
    scaling.kind = RopeScaling::Kind::kDynamic;
    scaling.original_context = static_cast<double>(context);
  } else if (kind == "llama3") {
    ReadLlama3(config, inner, scaling);
  } else if (kind == "yarn") {
    ReadYarn(inner, rotary, scaling);
  } else if (kind == "longrope") {
    ReadLongRope(inner, rotary, scaling);
  } else {
    ThrowUnknownName(
        inner.place(), "rope_type", kind,
        std::vector<std::string>{"default", "linear", "dynamic", "llama3", "yarn", "longrope"});
  }
  return scaling;
}

}  // namespace

size_t ReadRotaryDims(const ConfigReader& config, size_t head_dim, double fallback,
                      std::string_view key) {
  double share = Parameter(config, key, fallback);
  if (const char* object = ObjectKey(config); config.HasObject(object)) {
    share = Parameter(config.Inner(object), "partial_rotary_factor", share);
  }
  const double dims = std::floor(share * static_cast<double>(head_dim));
  const double rotated = dims + std::fmod(dims, 2);  // whole pairs
  if (share > 1 || dims < 1 || rotated > static_cast<double>(head_dim)) {
    config.Refuse(share == 1 ? "head_dim" : key,
                  share == 1 ? "an even number (rotary pairs)"
                             : StrCat("a share of head_dim ", head_dim,
                                      " with 1 value or more, in "
                                      "an even number"),
                  share == 1 ? StrCat(head_dim) : StrCat(share));
  }
  return static_cast<size_t>(dims);
}

RotaryPlan ReadRotary(const ConfigReader& config, size_t dims, size_t context,
                      std::string_view layer_type, double theta, std::string_view theta_key) {
  RotaryPlan rotary;
  rotary.dims = dims;
  rotary.theta = config.Positive(theta_key, theta);
  const std::optional<ConfigReader> inner = ScalingObject(config, layer_type);
  if (!inner) return rotary;
  rotary.theta = Parameter(*inner, "rope_theta", rotary.theta);
  rotary.scaling = ReadScaling(config, *inner, rotary, context);
  return rotary;
}

}  // namespace qualm
