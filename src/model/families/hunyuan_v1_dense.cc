// Hunyuan dense (model_type "hunyuan_v1_dense"): LLaMA with norms of queries and keys after the
// rotation. Its "dynamic" scaling with `alpha` is a larger base at every length.
#include <cmath>

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// theta·alpha^(d/(d-2)), whatever the length of the sequence.
void ReadAlpha(const ConfigReader& config, RotaryPlan& rotary) {
  const std::string_view key = RotaryKey(config);
  if (!config.HasObject(key)) return;
  const ConfigReader inner = config.Inner(key);
  const bool has_alpha =
      inner.HasNonzero("alpha") && rotary.scaling.kind == RopeScaling::Kind::kDynamic;
  if (!has_alpha) return;
  const double dims = static_cast<double>(rotary.dims);
  rotary.theta *= std::pow(inner.Positive("alpha", 1), dims / (dims - 2));
  rotary.scaling = {};
}

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.rms_norm_eps = 1e-5;
  ModelPlan plan = StandardPlan(config, options);
  config.Ignore({"attention_head_dim",
                 "org_vocab_size",
                 "cla_share_factor",
                 "use_rotary_pos_emb",
                 "eod_token_id",
                 "im_start_id",
                 "im_end_id",
                 "im_newline_id",
                 "text_start_id",
                 "text_end_id",
                 "sep_token_id",
                 "mask_init_id",
                 "norm_type",
                 "mlp_bias",
                 "use_qk_norm",
                 "use_cla",
                 "pad_id",
                 "add_classification_head",
                 "class_num",
                 "dense_list",
                 "pool_type",
                 "enable_lm_head_fp32"});

  const bool has_bias = config.Bool("attention_bias", false);
  const NormParameters norm = plan.final_norm->parameters;
  for (BlockPlan& block : plan.blocks) {
    AttentionPlan& attention = AttentionIn(block);
    ReadAlpha(config, *attention.rotary);
    attention.norms = QueryKeyNorms{NormPlan{"self_attn.query_layernorm", attention.head_dim, norm},
                                    NormPlan{"self_attn.key_layernorm", attention.head_dim, norm},
                                    /*after_rotary=*/true};
    SetBiases(attention, has_bias, has_bias);
  }
  return plan;
}

}  // namespace

extern const Family kHunyuanV1DenseFamily;
constinit const Family kHunyuanV1DenseFamily{"hunyuan_v1_dense", Plan};

}  // namespace qualm
