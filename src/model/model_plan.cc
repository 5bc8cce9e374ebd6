// From a config.json to the plan that its family makes of it. The family reads keys; the plan it
// returns is checked here, so that no family has to.
#include "model/model_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error_place.h"
#include "base/strings.h"
#include "model/config_reader.h"
#include "model/family.h"
#include "model/folder_kind.h"

namespace qualm {

std::string ModelPlan::NameIn(size_t block, std::string_view site) const {
  return StrCat(block_prefix, block, ".", site);
}

namespace {

// Keys of config.json that are not read for the plan: generation_config.h.
constexpr std::string_view kKeysReadLater[] = {"eos_token_id", "model_type"};

// What only blocks have, or what belongs to something that the model lacks, would be passed over.
void CheckSurroundings(const ModelPlan& plan) {
  if (!plan.positions && plan.position_offset != 0) {
    ThrowBadInput("position_offset", "0 in a model without learned positions",
                  StrCat(plan.position_offset));
  }
  if (!(plan.logit_scale > 0)) {
    ThrowBadInput("logit_scale", "a positive number", StrCat(plan.logit_scale));
  }
  if (plan.embedding_norm) {
    CheckNormPlan(*plan.embedding_norm, "embedding_norm", /*may_have_groups=*/false);
  }
  if (plan.final_norm) CheckNormPlan(*plan.final_norm, "final_norm", /*may_have_groups=*/false);

  const auto check = [](const LinearSite& site, std::string_view field) {
    if (!site.stored) return;
    ThrowBadInput(StrCat(field, ".stored"), "a layer under its own name",
                  StrCat("rows of ", site.stored->tensor));
  };
  check(plan.head, "head");
  if (plan.project_in) check(*plan.project_in, "project_in");
  if (plan.project_out) check(*plan.project_out, "project_out");
}

// Tables, head and last norm against the blocks between them, then the blocks.
void CheckModelPlan(const ModelPlan& plan) {
  const auto check = [&](size_t got, size_t expected, std::string_view field) {
    if (got != expected) ThrowBadInput(field, StrCat(expected), StrCat(got));
  };
  if (plan.blocks.empty()) ThrowExpected("a model with blocks", "none");
  check(plan.embedding.width, plan.project_in ? plan.project_in->in : plan.hidden_size,
        "embedding.width");
  if (plan.project_in) check(plan.project_in->out, plan.hidden_size, "project_in.out");
  if (plan.embedding_norm) {
    check(plan.embedding_norm->width, plan.hidden_size, "embedding_norm.width");
  }
  if (plan.positions) {
    check(plan.positions->width, plan.hidden_size, "positions.width");
    if (plan.positions->rows < plan.context + plan.position_offset) {
      ThrowBadInput("positions.rows", StrCat("at least ", plan.context + plan.position_offset),
                    StrCat(plan.positions->rows));
    }
  }
  if (plan.final_norm) check(plan.final_norm->width, plan.hidden_size, "final_norm.width");
  if (plan.project_out) check(plan.project_out->in, plan.hidden_size, "project_out.in");
  check(plan.head.in, plan.project_out ? plan.project_out->out : plan.hidden_size, "head.in");
  check(plan.head.out, plan.embedding.rows, "head.out");
  if (plan.head.role != SiteRole::kHead) ThrowBadInput("head.role", "head", "another role");
  CheckSurroundings(plan);

  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    At([&] { return StrCat("block ", b); }, [&] { CheckPlan(plan.blocks[b], plan.hidden_size); });
  }
}

// A key that nobody asked for would change nothing: it is misspelled, or another family's. Null
// takes a key out that the file has and the family does not know.
void RequireOverridesRead(const ModelSource& source, const ConfigReader& config,
                          std::string_view model_type) {
  for (const ConfigOverride& changed : source.config) {
    const bool is_known =
        std::ranges::find(kKeysReadLater, changed.key) != std::end(kKeysReadLater);
    if (is_known || changed.value == "null" || config.WasAskedFor(Split(changed.key, '.')))
      continue;
    ThrowBadInput("--config", StrCat("a key of config.json that model_type '", model_type, "' has"),
                  StrCat("'", changed.key, "', which nothing reads"));
  }
}

// `source`: whose overrides are in `json`, or null.
ModelPlan PlanFrom(const Json& json, const ModelSource* source) {
  if (!json.is_object()) ThrowExpected("a JSON object", json.type_name());

  // model_type selects the family, as in Hugging Face's loaders.
  const std::string model_type = GetString(json, "model_type", kNoPlace);
  // Weights say their own type; only a value that is none shows that the file is damaged.
  for (const char* key : {"torch_dtype", "dtype"}) (void)GetString(json, key, kNoPlace, "");
  const ConfigReader config(json);
  config.Require("is_encoder_decoder", false);
  config.Require("add_cross_attention", false);
  ModelPlan plan = FindFamily(model_type, AllFamilies()).plan(config);
  if (source != nullptr) RequireOverridesRead(*source, config, model_type);
  config.RefuseUnknownKeys();
  plan.model_type = model_type;

  CheckModelPlan(plan);
  return plan;
}

}  // namespace

ModelPlan ParseModelPlan(const Json& json, std::string_view place) {
  return At(place, [&] { return PlanFrom(json, /*source=*/nullptr); });
}

ModelPlan ReadModelPlan(const ModelSource& source) {
  RequireModelFolder(source.folder);
  const Json config = ReadModelConfig(source);
  return At((source.folder / "config.json").string(), [&] { return PlanFrom(config, &source); });
}

// Blocks with LongRoPE take one of two lists: their number tells which. Dynamic scaling turns
// sequences of every length differently.
size_t RotaryRegime(const ModelPlan& plan, size_t sequence_length) {
  size_t stretched = 0;
  for (const BlockPlan& block : plan.blocks) {
    const AttentionPlan* attention = AttentionOf(block);
    if (attention == nullptr || !attention->rotary) continue;
    const size_t regime = RotaryRegime(*attention->rotary, sequence_length);
    if (attention->rotary->scaling.kind == RopeScaling::Kind::kDynamic && regime > 0) {
      return plan.blocks.size() + sequence_length;
    }
    stretched += regime;
  }
  return stretched;
}

}  // namespace qualm
