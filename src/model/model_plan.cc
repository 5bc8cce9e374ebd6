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
constexpr std::string_view kKeysReadLater[] = {"eos_token_id"};

// Tables, head and last norm against the blocks between them, then the blocks.
void CheckModelPlan(const ModelPlan& plan) {
  const auto check = [&](size_t got, size_t expected, std::string_view field) {
    if (got != expected) ThrowBadInput(field, StrCat(expected), StrCat(got));
  };
  if (plan.blocks.empty()) ThrowExpected("a model with blocks", "none");
  check(plan.embedding.width, plan.hidden_size, "embedding.width");
  check(plan.head.in, plan.hidden_size, "head.in");
  check(plan.head.out, plan.embedding.rows, "head.out");
  check(plan.final_norm.width, plan.hidden_size, "final_norm.width");
  if (plan.head.role != SiteRole::kHead) ThrowBadInput("head.role", "head", "another role");

  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    At([&] { return StrCat("block ", b); }, [&] { CheckPlan(plan.blocks[b], plan.hidden_size); });
  }
}

// A key that nobody asked for would change nothing: it is misspelled, or another family's.
void RequireOverridesRead(const ModelSource& source, const Json& config, const ConfigReads& reads) {
  for (const ConfigOverride& changed : source.config) {
    if (std::ranges::find(kKeysReadLater, changed.key) != std::end(kKeysReadLater)) continue;
    const std::vector<std::string> parts = Split(changed.key, '.');
    const Json* holder = &config;
    for (size_t i = 0; i + 1 < parts.size(); ++i) holder = &(*holder)[parts[i]];
    if (reads.Has(*holder, parts.back())) continue;
    ThrowBadInput("--config",
                  StrCat("a key of config.json that model_type '",
                         GetString(config, "model_type", kNoPlace), "' has"),
                  StrCat("'", changed.key, "', which nothing reads"));
  }
}

ModelPlan PlanFrom(const Json& json) {
  if (!json.is_object()) ThrowExpected("a JSON object", json.type_name());

  // model_type selects the family, as in Hugging Face's loaders.
  const std::string model_type = GetString(json, "model_type", kNoPlace);
  ConfigReads::Note(json, "model_type");
  ModelPlan plan = FindFamily(model_type, AllFamilies()).plan(ConfigReader(json));
  plan.model_type = model_type;

  CheckModelPlan(plan);
  return plan;
}

}  // namespace

ModelPlan ParseModelPlan(const Json& json, std::string_view place) {
  return At(place, [&] { return PlanFrom(json); });
}

ModelPlan ReadModelPlan(const ModelSource& source) {
  RequireModelFolder(source.folder);
  const Json config = ReadModelConfig(source);
  const ConfigReads reads;
  ModelPlan plan = ParseModelPlan(config, (source.folder / "config.json").string());
  RequireOverridesRead(source, config, reads);
  return plan;
}

// One key and one value per head of keys and values; blocks without attention keep nothing.
size_t CacheFloatsPerPosition(const ModelPlan& plan) {
  size_t floats = 0;
  for (const BlockPlan& block : plan.blocks) {
    if (const AttentionPlan* attention = AttentionOf(block)) {
      floats += 2 * attention->kv_heads * attention->head_dim;
    }
  }
  return floats;
}

}  // namespace qualm
