// Gemma 2 (model_type "gemma2"): norms before and after each branch with weights stored as w - 1,
// soft caps on scores and logits, a sliding window in every second block, and scaled embeddings
// that also serve as the head.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

Activation ReadGemmaActivation(const ConfigReader& config) {
  // Newer files repeat the activation under a second key, which then decides and is meant
  // literally. Under the first one "gelu" has always meant the tanh form.
  if (config.Has("hidden_activation")) {
    return ReadActivation(
        config, "hidden_activation", "gelu_pytorch_tanh",
        {{"gelu_pytorch_tanh", Activation::kGeluTanh}, {"gelu", Activation::kGeluErf}});
  }
  return ReadActivation(
      config, "hidden_act", "gelu_pytorch_tanh",
      {{"gelu_pytorch_tanh", Activation::kGeluTanh}, {"gelu", Activation::kGeluTanh}});
}

// A cap of null turns it off.
float ReadCap(const ConfigReader& config, std::string_view key, double fallback) {
  return config.HasNull(key) ? 0.0f : static_cast<float>(config.Positive(key, fallback));
}

// For each block, whether it attends to a window only: layer_types says so, or else every second
// block does, from the first on.
std::vector<bool> ReadWindowed(const ConfigReader& config, size_t blocks) {
  std::vector<bool> windowed(blocks);
  for (size_t b = 0; b < blocks; ++b) windowed[b] = b % 2 == 0;
  if (!config.Has("layer_types")) return windowed;

  // Newer files list the type of every block.
  const Json& types = config.json()["layer_types"];
  if (!types.is_array() || types.size() != blocks) {
    config.Refuse("layer_types", StrCat("a list of ", blocks, " types"),
                  types.is_array() ? StrCat("a list of ", types.size()) : types.type_name());
  }
  for (size_t b = 0; b < blocks; ++b) {
    if (types[b] != "sliding_attention" && types[b] != "full_attention") {
      config.Refuse("layer_types", "sliding_attention or full_attention", types[b].dump());
    }
    windowed[b] = types[b] == "sliding_attention";
  }
  return windowed;
}

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  // LLaMA's shape with the defaults that Gemma 2's configurations leave out.
  options.defaults = {.context = 8192, .kv_heads = 4, .head_dim = 256};
  options.activation = ReadGemmaActivation(config);
  options.tied_by_default = true;
  ModelPlan plan = StandardPlan(config, options);

  // What surrounds the blocks.
  plan.final_norm.parameters.weight_offset = 1;
  plan.embedding.scale = static_cast<float>(std::sqrt(static_cast<double>(plan.hidden_size)));
  plan.logit_soft_cap = ReadCap(config, "final_logit_softcapping", 30);

  // What all blocks share.
  const bool has_bias = config.Bool("attention_bias", false);
  const double query_scale = config.Positive("query_pre_attn_scalar", 256);
  const float score_cap = ReadCap(config, "attn_logit_softcapping", 50);
  const size_t window = config.HasNull("sliding_window") ? 0 : config.Size("sliding_window", 4096);
  const std::vector<bool> windowed = ReadWindowed(config, plan.blocks.size());
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    BlockPlan& block = plan.blocks[b];
    const NormParameters norm{
        .kind = NormKind::kRms, .eps = plan.final_norm.parameters.eps, .weight_offset = 1};
    const auto norm_plan = [&](const char* name) { return NormPlan{name, plan.hidden_size, norm}; };

    // The norm named post_attention_layernorm follows the attention here; in LLaMA it precedes the
    // MLP.
    block.branches[0].norm = norm_plan("input_layernorm");
    block.branches[0].norm_after = norm_plan("post_attention_layernorm");
    block.branches[1].norm = norm_plan("pre_feedforward_layernorm");
    block.branches[1].norm_after = norm_plan("post_feedforward_layernorm");

    AttentionPlan& attention = AttentionIn(block);
    attention.scale = static_cast<float>(1 / std::sqrt(query_scale));
    attention.soft_cap = score_cap;
    attention.window = windowed[b] ? window : 0;
    for (LinearSite* site :
         {&attention.query, &attention.key, &attention.value, &attention.output}) {
      site->requires_bias = has_bias;
    }
  }
  return plan;
}

}  // namespace

extern const Family kGemma2Family;
constinit const Family kGemma2Family{"gemma2", Plan};

}  // namespace qualm
