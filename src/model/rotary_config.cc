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

// The object that holds the parameters of blocks of a type, under RotaryKey or inside that; none
// if there is none.
std::optional<ConfigReader> ScalingObject(const ConfigReader& config, std::string_view layer_type) {
  const std::string_view key = RotaryKey(config);
  if (!config.Has(key)) return {};
  const ConfigReader object = config.Inner(key);

  // One object for every type of block.
  for (const std::string_view type : {"full_attention", "sliding_attention"}) {
    if (!object.HasObject(type)) continue;
    if (layer_type.empty()) {
      config.Refuse(key, "one set of rotary parameters for all blocks", StrCat("a set for ", type));
    }
    if (object.HasObject(layer_type)) return object.Inner(layer_type);
    return {};
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
    return inner.HasNonzero(key) ? inner.Positive(key, 1) : 0.0;
  };
  const auto turns = [&](std::string_view key, double fallback) {
    return inner.HasNonzero(key) ? inner.Positive(key, fallback) : fallback;
  };
  const double own = weight("mscale"), all = weight("mscale_all_dim");
  scaling.attention_factor =
      own > 0 && all > 0 ? YarnMagnitude(scaling.factor, own) / YarnMagnitude(scaling.factor, all)
                         : YarnMagnitude(scaling.factor, 1);
  if (inner.Has("attention_factor")) {
    scaling.attention_factor = Parameter(inner, "attention_factor", 1);
  }
  const YarnRamp ramp =
      YarnRampOf(rotary.dims, rotary.theta, scaling.original_context, turns("beta_fast", 32),
                 turns("beta_slow", 1), inner.Bool("truncate", true));
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

// The context before it was stretched: at the top level, or what a family takes for that where it
// is missing; inside; else the model's own.
double ReadOriginalContext(const ConfigReader& config, const ConfigReader& inner, size_t context,
                           double fallback) {
  const char* key = "original_max_position_embeddings";
  if (config.Has(key) || fallback > 0) return Parameter(config, key, fallback);
  return Parameter(inner, key, static_cast<double>(context));
}

RopeScaling ReadScaling(const ConfigReader& config, const ConfigReader& inner,
                        const RotaryPlan& rotary, size_t context, double original_context) {
  RopeScaling scaling;
  // Keys of all scalings: one that belongs to another scaling says nothing.
  inner.Ignore({"attention_factor", "beta_fast", "beta_slow", "factor", "high_freq_factor",
                "long_factor", "low_freq_factor", "mscale", "mscale_all_dim",
                "original_max_position_embeddings", "partial_rotary_factor", "rope_theta",
                "rope_type", "short_factor", "truncate", "type", "max_position_embeddings",
                "finetuned"});
  // Older files spell the key "type", and LongRoPE after its author or as if it were YaRN.
  std::string kind = inner.Text("rope_type", inner.Text("type", ""));
  if (kind == "su" || (kind == "yarn" && inner.Has("long_factor"))) kind = "longrope";
  if (kind == "default" || (kind.empty() && !inner.Has("factor"))) return scaling;

  scaling.original_context = ReadOriginalContext(config, inner, context, original_context);
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

std::string_view RotaryKey(const ConfigReader& config) {
  config.Ignore({"rope_parameters"});
  const bool has_older = config.Has("rope_scaling") && !(config.HasObject("rope_scaling") &&
                                                         config.Value("rope_scaling")->empty());
  return has_older ? "rope_scaling" : "rope_parameters";
}

size_t ReadRotaryDims(const ConfigReader& config, size_t head_dim, double fallback,
                      std::string_view key) {
  double share = Parameter(config, key, fallback);
  const std::string_view rotary = RotaryKey(config);
  if (config.HasObject(rotary)) {
    share = Parameter(config.Inner(rotary), "partial_rotary_factor", share);
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
                      std::string_view layer_type, double theta, std::string_view theta_key,
                      double original_context) {
  RotaryPlan rotary;
  rotary.dims = dims;
  rotary.theta = config.Positive(theta_key, theta);
  const std::optional<ConfigReader> inner = ScalingObject(config, layer_type);
  if (!inner) return rotary;
  rotary.theta = Parameter(*inner, "rope_theta", rotary.theta);
  rotary.scaling = ReadScaling(config, *inner, rotary, context, original_context);
  return rotary;
}

}  // namespace qualm
