// Reads what most configurations have in common (sizes, activation, rotation), and builds LLaMA's
// blocks from it. Families call these functions and then edit the plan where they differ.
#include "model/standard_plan.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "tensor/attention.h"

namespace qualm {
namespace {

// The bounds keep products of sizes far from overflow.
constexpr size_t kLargestWidth = size_t{1} << 24;
// Each block has a plan in memory: a hostile configuration may not ask for millions of them.
constexpr size_t kMostBlocks = 4096;

// Throws bad input naming the key of sizes that contradict each other.
void CheckSizes(const CommonSizes& sizes, const ConfigReader& config) {
  if (sizes.heads % sizes.kv_heads != 0) {
    config.Refuse("num_key_value_heads", StrCat("a divisor of num_attention_heads ", sizes.heads),
                  StrCat(sizes.kv_heads));
  }
  // Each factor is bounded by itself; so must be the widths that they make together.
  for (const auto& [heads, key] : {std::pair{sizes.heads, "num_attention_heads"},
                                   std::pair{sizes.kv_heads, "num_key_value_heads"}}) {
    if (heads * sizes.head_dim <= kLargestWidth) continue;
    config.Refuse(key, StrCat("heads of at most ", kLargestWidth), StrCat(heads * sizes.head_dim),
                  "head_dim times the number of heads");
  }

  if (sizes.head_dim % 2 != 0) {
    config.Refuse("head_dim", "an even number (rotary pairs)", StrCat(sizes.head_dim));
  }
}

// Without a scaling the default one is returned, which changes no frequency.
RopeScaling ReadRopeScaling(const ConfigReader& config) {
  RopeScaling scaling;
  const char* key = config.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!config.Has(key)) return scaling;
  const ConfigReader inner = config.Inner(key);
  for (const auto& item : inner.json().items()) {
    if (!item.value().is_object()) continue;
    config.Refuse(key, "one set of rotary parameters for all blocks",
                  StrCat("a set for ", item.key()));
  }

  // Older files spell the key "type".
  const std::string kind = inner.Text("rope_type", inner.Text("type", ""));
  if (kind == "default" || (kind.empty() && !inner.Has("factor"))) return scaling;

  scaling.factor = inner.Positive("factor", 1);
  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    return scaling;
  }
  if (kind != "llama3") {
    ThrowUnknownName(inner.place(), "rope_type", kind,
                     std::vector<std::string>{"default", "linear", "llama3"});
  }

  // LLaMA 3.1 interpolates between two wave lengths, which must differ.
  scaling.kind = RopeScaling::Kind::kLlama3;
  scaling.low_freq_factor = inner.Positive("low_freq_factor", 1);
  scaling.high_freq_factor = inner.Positive("high_freq_factor", 4);
  scaling.original_context = inner.Positive("original_max_position_embeddings", 8192);
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    config.Refuse(key, "high_freq_factor above low_freq_factor",
                  StrCat(scaling.high_freq_factor, " and ", scaling.low_freq_factor));
  }
  return scaling;
}

// Pre-norm attention, then a pre-norm gated MLP, one after the other.
BlockPlan StandardBlock(const CommonSizes& sizes, const AttentionPlan& attention,
                        Activation activation, const NormParameters& norm) {
  // Sites carry the tensors' names within a block, without ".weight".
  MlpPlan mlp;
  mlp.activation = activation;
  mlp.gate = LinearSite{"mlp.gate_proj", SiteRole::kGate, sizes.intermediate, sizes.hidden};
  mlp.up = LinearSite{"mlp.up_proj", SiteRole::kUp, sizes.intermediate, sizes.hidden};
  mlp.down = LinearSite{"mlp.down_proj", SiteRole::kDown, sizes.hidden, sizes.intermediate};

  BlockPlan block;
  block.branches.resize(2);
  block.branches[0].norm = NormPlan{"input_layernorm", sizes.hidden, norm};
  block.branches[0].part = attention;
  block.branches[1].norm = NormPlan{"post_attention_layernorm", sizes.hidden, norm};
  block.branches[1].part = std::move(mlp);
  return block;
}

}  // namespace

// Missing keys take the family's defaults; keys without a default are required.
CommonSizes ReadSizes(const ConfigReader& config, const SizeDefaults& defaults) {
  CommonSizes sizes;
  sizes.hidden = config.Size("hidden_size");
  sizes.intermediate = config.Size("intermediate_size");
  sizes.blocks = config.Size("num_hidden_layers");
  if (sizes.blocks > kMostBlocks) {
    config.Refuse("num_hidden_layers", StrCat("a size in 1..", kMostBlocks), StrCat(sizes.blocks));
  }

  sizes.heads = config.Size("num_attention_heads");
  sizes.kv_heads =
      config.Size("num_key_value_heads", defaults.kv_heads > 0 ? defaults.kv_heads : sizes.heads);

  // An explicit head_dim wins. Otherwise the heads divide the hidden size, which must then be
  // possible.
  size_t head_dim = defaults.head_dim;
  if (head_dim == 0) {
    if (!config.Has("head_dim") && sizes.hidden % sizes.heads != 0) {
      config.Refuse("hidden_size", StrCat("a multiple of num_attention_heads ", sizes.heads),
                    StrCat(sizes.hidden), "or an explicit head_dim");
    }
    head_dim = std::max<size_t>(1, sizes.hidden / sizes.heads);
  }
  sizes.head_dim = config.Size("head_dim", head_dim);
  sizes.vocab = config.Size("vocab_size");
  sizes.context = config.Size("max_position_embeddings", defaults.context);
  CheckSizes(sizes, config);
  return sizes;
}

Activation ReadActivation(const ConfigReader& config, std::string_view key,
                          std::string_view fallback,
                          std::initializer_list<std::pair<const char*, Activation>> known) {
  const std::string name = config.Text(key, fallback);
  std::vector<std::string> names;
  for (const auto& [known_name, activation] : known) {
    if (name == known_name) return activation;
    names.emplace_back(known_name);
  }
  config.Refuse(key, Join(names, " or "), name);
}

// Newer files put rope_theta into rope_parameters, older ones at the top level.
RotaryPlan ReadRotary(const ConfigReader& config, size_t dims) {
  RotaryPlan rotary;
  rotary.dims = dims;
  rotary.scaling = ReadRopeScaling(config);
  const bool is_newer =
      config.Has("rope_parameters") && config.Inner("rope_parameters").Has("rope_theta");
  // Errors name the file only, in both layouts: the key is unique.
  const Json& json = is_newer ? config.json()["rope_parameters"] : config.json();
  rotary.theta = ConfigReader(json).Positive("rope_theta", 10000);
  return rotary;
}

AttentionPlan PlainAttention(const CommonSizes& sizes, const std::string& prefix,
                             const std::string& output) {
  const size_t q_width = sizes.heads * sizes.head_dim, kv_width = sizes.kv_heads * sizes.head_dim;
  AttentionPlan plan;
  plan.heads = sizes.heads;
  plan.kv_heads = sizes.kv_heads;
  plan.head_dim = sizes.head_dim;
  plan.scale = ScaleOfHeadDim(sizes.head_dim);

  plan.query = {prefix + ".q_proj", SiteRole::kQuery, q_width, sizes.hidden};
  plan.key = {prefix + ".k_proj", SiteRole::kKey, kv_width, sizes.hidden};
  plan.value = {prefix + ".v_proj", SiteRole::kValue, kv_width, sizes.hidden};
  plan.output = {output, SiteRole::kAttentionOutput, sizes.hidden, q_width};
  return plan;
}

ModelPlan PlainModel(const CommonSizes& sizes, bool tied_embeddings, const NormParameters& norm) {
  ModelPlan plan;
  plan.hidden_size = sizes.hidden;
  plan.context = sizes.context;
  plan.block_prefix = "model.layers.";

  // Names as Hugging Face's checkpoints have them.
  plan.embedding = {"model.embed_tokens", sizes.vocab, sizes.hidden};
  plan.final_norm = NormPlan{"model.norm", sizes.hidden, norm};
  plan.head = {"lm_head", SiteRole::kHead, sizes.vocab, sizes.hidden};
  plan.tied_embeddings = tied_embeddings;
  return plan;
}

ModelPlan StandardPlan(const ConfigReader& config, const StandardOptions& options) {
  const CommonSizes sizes = ReadSizes(config, options.defaults);
  const NormParameters norm{.kind = NormKind::kRms, .eps = config.Positive("rms_norm_eps", 1e-6)};

  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
  attention.rotary = ReadRotary(config, sizes.head_dim);
  const bool tied = config.Bool("tie_word_embeddings", options.tied_by_default);

  ModelPlan plan = PlainModel(sizes, tied, norm);
  plan.blocks.assign(sizes.blocks, StandardBlock(sizes, attention, options.activation, norm));
  return plan;
}

AttentionPlan& AttentionIn(BlockPlan& block) {
  return std::get<AttentionPlan>(block.branches[0].part);
}

MlpPlan& MlpIn(BlockPlan& block) { return std::get<MlpPlan>(block.branches[1].part); }

}  // namespace qualm
