// Generates the YAML of all built-in recipes from loops over methods, bits and group sizes, so that
// names, summaries and settings follow one grammar. Recipes that combine several methods are in a
// table (kCombinations).
#include "recipe/builtin_recipes.h"

#include "base/strings.h"

namespace qualm {
namespace {

constexpr const char* kSigned = ", symmetric: true, symmetric_convention: signed";
constexpr const char* kActOrder = "{gptq: {act_order: true, static_groups: true}}";
constexpr const char* kOrder = "order: {blocks: sequential, layers: sequential}\nskip: [lm_head]\n";

// Sequential order, without the head; `more` holds further keys, each with its line end.
BuiltInRecipe Assemble(std::string name, std::string summary, std::string_view weights,
                       std::string_view rounder, std::string_view more = "") {
  BuiltInRecipe recipe{std::move(name), std::move(summary), {}};
  recipe.yaml = StrCat("name: ", recipe.name, "\nweights: {", weights, "}\n", more,
                       "rounder: ", rounder, "\n", kOrder);
  return recipe;
}

std::string GroupsKey(int group_size) {
  return group_size == 0 ? std::string("granularity: channel") : StrCat("group_size: ", group_size);
}

std::string GroupsInName(int group_size) {
  return group_size == 0 ? std::string("channel") : StrCat("g", group_size);
}

std::string GroupsInWords(int group_size) {
  return group_size == 0 ? std::string("per output channel") : StrCat("groups of ", group_size);
}

// One point of the grammar of gptq and rtn.
struct Choice {
  int bits;
  int group_size;  // 0: one group per output channel
  bool is_symmetric, act_order;
};

BuiltInRecipe Make(std::string_view rounder, const Choice& choice) {
  return Assemble(
      StrCat(rounder, "-w", choice.bits, "-", GroupsInName(choice.group_size),
             choice.is_symmetric ? "-sym" : "", choice.act_order ? "-act" : ""),
      StrCat(rounder == "gptq" ? "GPTQ" : "round to nearest", ", ", choice.bits, " bits, ",
             GroupsInWords(choice.group_size), choice.is_symmetric ? ", symmetric" : "",
             choice.act_order ? ", columns by activation, static groups" : ""),
      StrCat("type: int", choice.bits, ", ", GroupsKey(choice.group_size),
             ", symmetric: ", choice.is_symmetric),
      choice.act_order ? std::string_view(kActOrder) : rounder);
}

// A number format that is not an integer (artefact/codebook.h).
struct Format {
  const char* name;     // in the recipe's name
  const char* summary;  // what it is
  const char* weights;  // in the recipe
};

constexpr Format kFormats[] = {
    {"fp8-e4m3-channel", "8-bit floats e4m3 (largest 448), per output channel",
     "type: fp8_e4m3, granularity: channel"},
    {"fp8-e4m3-tensor", "8-bit floats e4m3 (largest 448), one scale per layer",
     "type: fp8_e4m3, granularity: tensor"},
    {"fp8-e5m2-channel", "8-bit floats e5m2, per output channel",
     "type: fp8_e5m2, granularity: channel"},
    {"nf4-g64", "NF4 (QLoRA's 16 levels), groups of 64", "type: nf4, group_size: 64"},
    {"mxfp4", "4-bit floats e2m1, groups of 32 with power-of-two scales", "type: mxfp4"},
    {"nvfp4", "4-bit floats e2m1, groups of 16 with e4m3 scales", "type: nvfp4"},
};

BuiltInRecipe Make(std::string_view rounder, const Format& format) {
  return Assemble(StrCat(rounder, "-", format.name),
                  StrCat(rounder == "gptq" ? "GPTQ" : "round to nearest", ", ", format.summary),
                  format.weights, rounder);
}

// HQQ needs fractional zero points, and groups that make their bits worthwhile.
BuiltInRecipe MakeHqqRecipe(int bits, int group_size) {
  return Assemble(StrCat("hqq-w", bits, "-g", group_size),
                  StrCat("HQQ, ", bits, " bits, groups of ", group_size, ", float zero points"),
                  StrCat("type: int", bits, ", group_size: ", group_size,
                         ", zero_point: float, range_includes_zero: false"),
                  "hqq");
}

// A recipe that is more than a rounder on weights.
struct Combination {
  const char* name;
  const char* summary;
  const char* weights;
  const char* transforms;
  const char* rounder;
  const char* more;  // activations, cache
};

constexpr Combination kCombinations[] = {
    {"rtn-w8a8", "weights int8 per channel, activations int8 per token, no transform",
     "type: int8, granularity: channel", "[]", "rtn", "activations: int8"},
    {"zeroquant-w8a8-g128", "ZeroQuant: weights int8 in groups of 128, activations int8 per token",
     "type: int8, group_size: 128", "[]", "rtn", "activations: int8"},
    {"zeroquant-w4a8-g128", "ZeroQuant: weights int4 in groups of 128, activations int8 per token",
     "type: int4, group_size: 128", "[]", "rtn", "activations: int8"},
    {"smoothquant-w8a8", "SmoothQuant (alpha 0.5): int8 per channel, activations int8 per token",
     "type: int8, granularity: channel", "[smoothquant]", "rtn", "activations: int8"},
    {"smoothquant-w8a8-static", "SmoothQuant (alpha 0.5): int8 per channel, static per tensor",
     "type: int8, granularity: channel", "[smoothquant]", "rtn",
     "activations: {type: int8, granularity: tensor}"},
    {"smoothquant-gptq-w4a8",
     "SmoothQuant, then GPTQ: int4 per channel, activations int8 per token",
     "type: int4, granularity: channel", "[smoothquant]", kActOrder, "activations: int8"},
    {"os-plus-w8a8", "OS+: int8 per channel, activations int8 per token, shifted and scaled",
     "type: int8, granularity: channel", "[os_plus]", "rtn", "activations: int8"},
    {"rtn-w4a4", "int4 per channel, activations int4 per token, no transform",
     "type: int4, granularity: channel", "[]", "rtn", "activations: int4"},
    {"quarot-w4a4", "QuaRot: int4 per channel, activations int4 per token, rotated",
     "type: int4, granularity: channel", "[quarot]", "rtn", "activations: int4"},
    {"quarot-gptq-w4a4", "QuaRot, then GPTQ: int4 per channel, activations int4 per token",
     "type: int4, granularity: channel", "[quarot]", kActOrder, "activations: int4"},
    {"quarot-gptq-w4a4kv4", "QuaRot, then GPTQ, int4 everywhere, the cache per head",
     "type: int4, granularity: channel", "[quarot]", kActOrder,
     "activations: int4\nkv_cache: int4"},
    {"llm-int8", "LLM.int8(): int8 per channel and token, inputs beyond 6 stay float",
     "type: int8, granularity: channel", "[]", "llm_int8", "activations: int8"},
    {"fp8-w8a8", "8-bit floats e4m3: weights per channel, activations per token",
     "type: fp8_e4m3, granularity: channel", "[]", "rtn", "activations: fp8_e4m3"},
};

BuiltInRecipe Make(const Combination& combination) {
  const bool is_integer = std::string_view(combination.weights).starts_with("type: int");
  return Assemble(combination.name, combination.summary,
                  StrCat(combination.weights, is_integer ? kSigned : ""), combination.rounder,
                  StrCat(combination.more, "\ntransforms: ", combination.transforms, "\n"));
}

// AWQ with rounding to nearest, or followed by GPTQ.
BuiltInRecipe MakeAwqRecipe(bool with_gptq, int bits, int group_size) {
  return Assemble(
      StrCat(with_gptq ? "awq-gptq-w" : "awq-w", bits, "-g", group_size),
      StrCat(with_gptq ? "AWQ, then GPTQ, " : "AWQ, ", bits, " bits, groups of ", group_size),
      StrCat("type: int", bits, ", group_size: ", group_size, ", range_includes_zero: false"),
      with_gptq ? kActOrder : "rtn", "transforms: [awq]\n");
}

BuiltInRecipe MakeQuipRecipe(int bits, bool hadamard) {
  return Assemble(StrCat("quip-w", bits, hadamard ? "-hadamard" : ""),
                  StrCat("QuIP, ", bits, " bits, ", hadamard ? "Hadamard" : "Kronecker",
                         " rotations on both sides"),
                  StrCat("type: int", bits,
                         ", granularity: tensor, zero_point: float, range_includes_zero: false"),
                  StrCat("{quip: {rotation: ", hadamard ? "hadamard" : "kronecker", "}}"));
}

// The threshold keeps between 0.2 and 2 % of the weights as outliers.
BuiltInRecipe MakeSpqrRecipe(int bits) {
  const double threshold = bits == 2 ? 1.0 : bits == 3 ? 0.4 : 0.2;
  return Assemble(StrCat("spqr-w", bits, "-g16"),
                  StrCat("SpQR, ", bits, " bits, groups of 16 with 3-bit statistics, outliers"),
                  StrCat("type: int", bits,
                         ", group_size: 16, zero_point: float, range_includes_zero: false, "
                         "second_level: {bits: 3, group_rows: 16}"),
                  StrCat("{spqr: {outlier_threshold: ", threshold, "}}"));
}

BuiltInRecipe MakeOwqRecipe(int bits, int group_size) {
  return Assemble(
      StrCat("owq-w", bits, "-", GroupsInName(group_size)),
      StrCat("OWQ, ", bits, " bits and 0.05 for float columns, ", GroupsInWords(group_size)),
      StrCat("type: int", bits, ", ", GroupsKey(group_size)), "owq");
}

// With 2 bits, some groups get 1 bit, which needs float zero points.
BuiltInRecipe MakeSlimRecipe(int bits, int group_size) {
  return Assemble(StrCat("slim-w", bits, "-g", group_size),
                  StrCat("SliM-LLM, ", bits, " bits on average, groups of ", group_size),
                  StrCat("type: int", bits, ", group_size: ", group_size,
                         bits == 2 ? ", zero_point: float" : ""),
                  "slim");
}

BuiltInRecipe MakeEasyQuantRecipe(int bits) {
  return Assemble(StrCat("easyquant-w", bits, "-channel"),
                  StrCat("EasyQuant, ", bits, " bits per output channel, outliers kept"),
                  StrCat("type: int", bits, ", granularity: channel", kSigned), "easyquant");
}

void AddOutlierRecipes(std::vector<BuiltInRecipe>& recipes) {
  for (int bits : {2, 3, 4}) {
    recipes.push_back(MakeSpqrRecipe(bits));
    for (int group_size : {128, 64, 32}) recipes.push_back(MakeSlimRecipe(bits, group_size));
  }
  for (int bits : {3, 4}) {
    recipes.push_back(MakeEasyQuantRecipe(bits));
    for (int group_size : {0, 128, 64, 32}) recipes.push_back(MakeOwqRecipe(bits, group_size));
  }
}

// The order here is the order of `qualm list recipes`.
std::vector<BuiltInRecipe> MakeAll() {
  std::vector<BuiltInRecipe> recipes;
  AddOutlierRecipes(recipes);

  for (int bits : {2, 3, 4}) {
    for (bool hadamard : {false, true}) recipes.push_back(MakeQuipRecipe(bits, hadamard));
  }
  for (bool with_gptq : {false, true}) {
    for (int bits : {2, 3, 4}) {
      for (int group_size : {128, 64, 32}) {
        recipes.push_back(MakeAwqRecipe(with_gptq, bits, group_size));
      }
    }
  }

  for (const Combination& combination : kCombinations) recipes.push_back(Make(combination));

  // Every combination of the grammar; act-order exists for gptq only.
  for (const char* rounder : {"gptq", "rtn"}) {
    for (int bits : {2, 3, 4, 5, 6, 8}) {
      for (int group_size : {0, 128, 64, 32}) {
        for (bool is_symmetric : {false, true}) {
          recipes.push_back(Make(rounder, {bits, group_size, is_symmetric, false}));
          if (std::string_view(rounder) != "gptq") continue;
          recipes.push_back(Make(rounder, {bits, group_size, is_symmetric, true}));
        }
      }
    }
    for (const Format& format : kFormats) recipes.push_back(Make(rounder, format));
  }

  for (int bits : {2, 3, 4, 8}) {
    for (int group_size : {128, 64, 32}) recipes.push_back(MakeHqqRecipe(bits, group_size));
  }
  return recipes;
}

}  // namespace

const std::vector<BuiltInRecipe>& BuiltInRecipes() {
  static const std::vector<BuiltInRecipe> recipes = MakeAll();
  return recipes;
}

const BuiltInRecipe* FindBuiltInRecipe(std::string_view name) {
  for (const BuiltInRecipe& recipe : BuiltInRecipes()) {
    if (recipe.name == name) return &recipe;
  }
  return nullptr;
}

}  // namespace qualm
