// CodeGen (model_type "codegen"): GPT-J with one tensor of four parts, each with a quarter of the
// queries, values and keys, in this order.

#include "base/strings.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// The parts are those of the four devices that the first models were trained on.
constexpr size_t kParts = 4;

void StoreInParts(const CommonSizes& sizes, AttentionPlan& attention) {
  StoreOneAfterTheOther(attention, "attn.qkv_proj");
  const size_t rows = sizes.heads * sizes.head_dim / kParts;
  size_t first = 0;
  for (LinearSite* site : {&attention.query, &attention.value, &attention.key}) {
    site->stored = StoredRows{"attn.qkv_proj", first, rows, 3 * rows};
    first += rows;
  }
}

ModelPlan Plan(const ConfigReader& config) {
  const SizeKeys keys{.hidden = "n_embd|hidden_size",
                      .intermediate = "n_inner",
                      .blocks = "n_layer|num_hidden_layers",
                      .heads = "n_head|num_attention_heads",
                      .kv_heads = "",
                      .head_dim = "",
                      .context = "n_positions|max_position_embeddings"};
  const CommonSizes sizes = ReadSizes(config, {.intermediate_ratio = 4}, keys);
  if (sizes.hidden % kParts != 0) {
    config.Refuse("n_embd", "a multiple of 4", StrCat(sizes.hidden));
  }
  config.Ignore({"n_ctx", "rotary", "scale_attn_weights"});
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_epsilon", 1e-5)};
  AttentionPlan attention = PlainAttention(sizes, "attn", "attn.out_proj");
  StoreInParts(sizes, attention);
  attention.rotary =
      RotaryPlan{.dims = config.Size("rotary_dim", 64), .layout = RotaryLayout::kInterleaved};
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "activation_function", "gelu_new"),
                         "mlp.fc_in", "mlp.fc_out");
  SetBiases(mlp, true);

  ModelPlan plan = GptModel(sizes, ReadTied(config, false), norm, "transformer.");
  plan.head.requires_bias = true;
  plan.blocks.assign(sizes.blocks, LayerNormBlock(sizes, attention, mlp, norm, "ln_1", "ln_1",
                                                  /*parallel=*/true));
  MayLackPrefix(plan, "transformer.");
  return plan;
}

}  // namespace

extern const Family kCodegenFamily;
constinit const Family kCodegenFamily{"codegen", Plan};

}  // namespace qualm
