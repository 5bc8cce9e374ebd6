// A family that no file of src/ knows. Its tensors have unusual names, its blocks differ by
// their index, and some of them run their branches in parallel.
#pragma once

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "artefact/store.h"
#include "base/rng.h"
#include "base/strings.h"
#include "model/config_reader.h"
#include "model/family.h"
#include "model/model_plan.h"

namespace qualm::testing {

inline constexpr size_t kHidden = 64, kVocab = 96, kHeadDim = 16;

inline AttentionPlan Attention(size_t heads, size_t kv_heads, size_t window) {
  AttentionPlan plan;
  plan.heads = heads;
  plan.kv_heads = kv_heads;
  plan.head_dim = kHeadDim;
  plan.rotary = RotaryPlan{8, RotaryLayout::kInterleaved, 5000, {}};
  plan.window = window;
  plan.scale = 0.2f;
  plan.query = {"mix.ask", SiteRole::kQuery, heads * kHeadDim, kHidden};
  plan.key = {"mix.offer", SiteRole::kKey, kv_heads * kHeadDim, kHidden};
  plan.value = {"mix.give", SiteRole::kValue, kv_heads * kHeadDim, kHidden, true};
  plan.output = {"mix.back", SiteRole::kAttentionOutput, kHidden, heads * kHeadDim, true};
  return plan;
}

inline MlpPlan Mlp(size_t width, bool is_gated) {
  MlpPlan plan;
  plan.activation = is_gated ? Activation::kSilu : Activation::kGeluErf;
  if (is_gated) plan.gate = LinearSite{"think.gate", SiteRole::kGate, width, kHidden};
  plan.up = {"think.wide", SiteRole::kUp, width, kHidden, true};
  plan.down = {"think.narrow", SiteRole::kDown, kHidden, width};
  return plan;
}

// Block 0: attention, then a gated MLP. Block 1: both at once on one norm. Block 2: both at once on
// two norms, with grouped queries and a window.
inline BlockPlan Block(size_t index) {
  const NormParameters rms{.kind = NormKind::kRms, .eps = 1e-4, .weight_offset = 0.5f};
  const NormPlan first{"norm_a", kHidden, rms}, second{"norm_b", kHidden, rms};
  BlockPlan block;
  block.branches.resize(2);
  block.branches[0].norm = first;
  block.branches[0].part = Attention(4, index == 2 ? 2 : 4, index == 2 ? 5 : 0);
  block.branches[1].norm = index == 1 ? first : second;
  block.branches[1].part = Mlp(index == 1 ? 96 : 128, /*is_gated=*/index != 1);
  block.branches[1].is_parallel = index > 0;
  return block;
}

// What a test does to the plan that the family makes.
inline void (*edit_plan)(ModelPlan&) = nullptr;

inline ModelPlan TowerPlan(const ConfigReader& config) {
  ModelPlan plan;
  plan.hidden_size = kHidden;
  plan.context = config.Size("positions");
  plan.block_prefix = "tower.floor_";
  plan.embedding = {"tower.door", kVocab, kHidden, 2.0f};
  plan.final_norm = NormPlan{"tower.roof", kHidden, {.kind = NormKind::kRms, .eps = 1e-4}};
  plan.head = {"tower.view", SiteRole::kHead, kVocab, kHidden, true};
  plan.logit_soft_cap = 20;
  for (size_t b = 0; b < 3; ++b) plan.blocks.push_back(Block(b));
  if (edit_plan != nullptr) edit_plan(plan);
  return plan;
}

inline constexpr Family kTower{"tower", TowerPlan};
inline constexpr const Family* kTowerFamilies[] = {&kTower};

// Places in its plan that tests change.
inline AttentionPlan& AttentionIn(ModelPlan& plan) {
  return std::get<AttentionPlan>(plan.blocks[2].branches[0].part);
}
inline MlpPlan& MlpIn(ModelPlan& plan) {
  return std::get<MlpPlan>(plan.blocks[2].branches[1].part);
}
inline NormParameters& NormIn(ModelPlan& plan) {
  return plan.blocks[0].branches[0].norm->parameters;
}

// Parts of a plan whose tensors are among the spare ones.
inline void SetNarrowEmbedding(ModelPlan& plan) {
  plan.embedding = {"tower.low_door", kVocab, 32, 1.5f};
  plan.project_in = LinearSite{"tower.step_in", SiteRole::kUp, kHidden, 32};
}
inline void SetNarrowHead(ModelPlan& plan) {
  plan.project_out = LinearSite{"tower.step_out", SiteRole::kDown, 32, kHidden};
  plan.head = {"tower.low_view", SiteRole::kHead, kVocab, 32};
}
inline void SetHeadNorms(ModelPlan& plan) {
  AttentionIn(plan).norms = QueryKeyNorms{{"mix.ask_norm", kHeadDim, {.eps = 0.25}},
                                          {"mix.offer_norm", kHeadDim, {.weight_offset = 1}}};
}
inline void SetLongRope(ModelPlan& plan, double original_context) {
  AttentionIn(plan).rotary->scaling = {.kind = RopeScaling::Kind::kLongRope,
                                       .original_context = original_context,
                                       .short_factors = {1, 1.5, 2, 3},
                                       .long_factors = {1, 4, 9, 30},
                                       .attention_factor = 1.2};
}
// Layers that the files do not have under their own names.
inline void SetFused(ModelPlan& plan, const StoredRows& query, const StoredRows& key,
                     const StoredRows& value) {
  AttentionPlan& attention = AttentionIn(plan);
  attention.query.name = "mix.new_ask";
  attention.query.stored = query;
  attention.key.name = "mix.new_offer";
  attention.key.stored = key;
  attention.value.name = "mix.new_give";
  attention.value.stored = value;
}

// A tensor that a test writes in addition to those of the plan.
struct SpareTensor {
  std::string name;
  std::vector<size_t> shape;
  double mean = 0, deviation = 1;
};

// Tensors for plans that a test makes of the family's; the family itself reads none of them.
inline std::vector<SpareTensor> SpareTensors() {
  std::vector<SpareTensor> spares = {
      {"tower.back_door.weight", {kVocab, kHidden}},
      {"tower.low_door.weight", {kVocab, 32}},
      {"tower.step_in.weight", {kHidden, 32}, 0, 0.2},
      {"tower.mat.weight", {kHidden}, 1, 0.3},
      {"tower.mat.bias", {kHidden}, 0, 0.3},
      {"tower.stairs.weight", {131, kHidden}},
      {"tower.step_out.weight", {32, kHidden}, 0, 0.2},
      {"tower.low_view.weight", {kVocab, 32}, 0, 0.2},
      {"attic.rug.weight", {kHidden}, 1, 0.3},
      {"tower.floor_0.norm_c.weight", {kHidden}, 1, 0.3},
  };
  const auto add = [&](const char* name, std::vector<size_t> shape, double mean, double deviation) {
    spares.push_back({StrCat("tower.floor_2.mix.", name), std::move(shape), mean, deviation});
  };
  add("ask_norm.weight", {kHeadDim}, 1, 0.3);
  add("ask_norm.bias", {kHeadDim}, 0, 0.3);
  add("offer_norm.weight", {kHeadDim}, 0, 0.3);
  add("offer_norm.bias", {kHeadDim}, 0, 0.3);
  add("wide_ask_norm.weight", {4 * kHeadDim}, 1, 0.3);
  add("wide_offer_norm.weight", {2 * kHeadDim}, 1, 0.3);
  add("own_ask_norm.weight", {4, kHeadDim}, 1, 0.3);
  add("own_offer_norm.weight", {2 * kHeadDim}, 1, 0.3);
  for (const char* name : {"ask_norms.0.weight", "ask_norms.1.weight", "ask_norms.2.weight",
                           "ask_norms.3.weight", "offer_norms.0.weight", "offer_norms.1.weight"}) {
    add(name, {kHeadDim}, 1, 0.3);
  }
  // Queries, keys and values in one tensor, which in another has rows to spare.
  add("fused.weight", {128, kHidden}, 0, 0.12);
  add("fused.bias", {128}, 0, 0.1);
  add("turned.weight", {kHidden, 128}, 0, 0.12);
  add("turned.bias", {128}, 0, 0.1);
  add("thick.weight", {130, kHidden}, 0, 0.12);
  add("thick.bias", {130}, 0, 0.1);
  return spares;
}

// A checkpoint with random tensors of the plan, which the spare ones do not change.
inline void WriteCheckpoint(const std::filesystem::path& folder,
                            std::span<const SpareTensor> spares = {}) {
  const Json config = {{"model_type", "tower"}, {"positions", 128}};
  WriteJsonFile(folder / "config.json", config);
  const ModelPlan plan = ParseModelPlan(config, "test");
  Rng rng(5);
  TensorBatch batch;
  const auto add = [&](const std::string& name, std::vector<size_t> shape, double mean,
                       double deviation) {
    size_t count = 1;
    for (const size_t extent : shape) count *= extent;
    std::vector<float> values(count);
    for (float& v : values) v = static_cast<float>(mean + deviation * rng.Normal());
    batch.AddFloats(name, DType::kF32, shape, values);
  };
  const auto add_site = [&](const std::string& name, const LinearSite& site) {
    add(name + ".weight", {site.out, site.in}, 0, 1 / std::sqrt(static_cast<double>(site.in)));
    if (site.requires_bias) add(name + ".bias", {site.out}, 0, 0.1);
  };

  add(plan.embedding.name + ".weight", {kVocab, kHidden}, 0, 1);
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    for (const NormPlan& norm : NormsOf(plan.blocks[b])) {
      add(plan.NameIn(b, norm.name) + ".weight", {kHidden}, 0.5, 0.2);
    }
    for (const LinearSite& site : SitesOf(plan.blocks[b])) {
      add_site(plan.NameIn(b, site.name), site);
    }
  }
  add(plan.final_norm->name + ".weight", {kHidden}, 1, 0.2);
  add_site(plan.head.name, plan.head);
  for (const SpareTensor& spare : spares) add(spare.name, spare.shape, spare.mean, spare.deviation);
  WriteSafetensors(folder / "model.safetensors", batch.tensors());
}

inline std::vector<TokenId> Text(size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = static_cast<TokenId>(rng.Below(kVocab));
  return ids;
}

}  // namespace qualm::testing
