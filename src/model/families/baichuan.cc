// Baichuan and Baichuan 2 (model_type "baichuan"): LLaMA with one tensor for queries, keys and
// values. The configuration says neither that the 13B models have ALiBi instead of rotary
// positions, nor that Baichuan 2 divides the head's rows by their lengths. Both follow from other
// keys, unless `alibi` and `norm_head`, which are ours, say so.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// The configurations of the 13B models name the length of their tokenizer's texts instead of a
// table of positions, which they do not have.
bool HasAlibi(const ConfigReader& config) {
  config.Ignore({"model_max_length"});
  const bool is_likely = !config.Has("max_position_embeddings") && config.Has("model_max_length");
  return config.Bool("alibi", is_likely);
}

// Baichuan 2 has another vocabulary and one more loss in training.
bool HasUnitHead(const ConfigReader& config, size_t vocab) {
  config.Ignore({"z_loss_weight"});
  const bool is_likely = vocab == 125696 || config.Has("z_loss_weight");
  return config.Bool("norm_head", is_likely);
}

ModelPlan Plan(const ConfigReader& config) {
  SizeKeys keys;
  keys.context = "max_position_embeddings|model_max_length";
  const CommonSizes sizes = ReadSizes(config, {.context = 4096}, keys);
  const NormParameters norm{.eps = config.Positive("rms_norm_eps", 1e-6)};
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
  StoreOneAfterTheOther(attention, "self_attn.W_pack");

  const bool has_alibi = HasAlibi(config);
  if (has_alibi) {
    attention.alibi_slopes = AlibiSlopes(sizes.heads);
  } else {
    attention.rotary = ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 1), sizes.context);
  }
  config.Ignore({"user_token_id", "assistant_token_id"});

  ModelPlan plan = PlainModel(sizes, ReadTied(config, false), norm);
  const MlpPlan mlp = GatedMlp(sizes, ReadActivation(config, "hidden_act", "silu"));
  plan.blocks.assign(sizes.blocks, StandardBlock(sizes, attention, mlp, norm));
  plan.head_has_unit_rows = HasUnitHead(config, sizes.vocab);
  MayLackPrefix(plan, "model.");

  plan.assumptions = {
      has_alibi ? "positions by ALiBi, as in the 13B models (alibi=false: rotary)"
                : "rotary positions, as in the 7B models (alibi=true: ALiBi)",
      plan.head_has_unit_rows
          ? "a head with rows of unit length, as in Baichuan 2 (norm_head=false: not)"
          : "a head as it is stored, as in Baichuan 1 (norm_head=true: rows of unit length)"};
  return plan;
}

}  // namespace

extern const Family kBaichuanFamily;
constinit const Family kBaichuanFamily{"baichuan", Plan};

}  // namespace qualm
