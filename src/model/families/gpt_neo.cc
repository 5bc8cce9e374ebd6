// GPT-Neo (model_type "gpt_neo"): learned positions, scores without a scale, and windows in the
// blocks that attention_types calls local.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// attention_types: lists of kinds and how often each is repeated, as in [[["global", "local"],
// 12]], which is also what a missing key stands for.
std::vector<std::string> ReadGroups(const ConfigReader& config, size_t blocks) {
  const Json* value = config.Value("attention_types");
  const Json groups = value == nullptr ? Json::parse(R"([[["global", "local"], 12]])") : *value;
  if (!groups.is_array()) config.Refuse("attention_types", "a list", groups.dump());

  std::vector<std::string> kinds;
  for (const Json& group : groups) {
    const bool is_group = group.is_array() && group.size() == 2 && group[0].is_array() &&
                          group[1].is_number_unsigned();
    if (!is_group) config.Refuse("attention_types", "pairs of kinds and a number", group.dump());
    // One kind more than there are blocks is enough to see that there are too many.
    const size_t times = std::min(group[1].get<size_t>(), blocks + 1);
    for (size_t i = 0; i < times; ++i) {
      for (const Json& kind : group[0]) {
        if (kinds.size() > blocks) break;
        kinds.push_back(kind.is_string() ? kind.get<std::string>() : kind.dump());
      }
    }
  }
  if (kinds.size() != blocks) {
    config.Refuse("attention_types", StrCat("kinds of ", blocks, " blocks"), StrCat(kinds.size()));
  }
  return kinds;
}

// Which blocks are local. The list that the library writes for itself counts where it is there.
std::vector<bool> ReadLocal(const ConfigReader& config, size_t blocks) {
  std::vector<std::string> kinds = config.Texts("attention_layers", blocks);
  if (kinds.empty()) {
    kinds = ReadGroups(config, blocks);
  } else {
    config.Ignore({"attention_types"});
  }

  std::vector<bool> local;
  for (const std::string& kind : kinds) {
    if (kind != "local" && kind != "global") {
      config.Refuse("attention_types", "global or local", kind);
    }
    local.push_back(kind == "local");
  }
  return local;
}

ModelPlan Plan(const ConfigReader& config) {
  const SizeKeys keys{.blocks = "num_layers|num_hidden_layers",
                      .heads = "num_heads|num_attention_heads",
                      .kv_heads = "",
                      .head_dim = ""};
  const CommonSizes sizes = ReadSizes(config, {.intermediate_ratio = 4}, keys);
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_epsilon", 1e-5)};
  AttentionPlan attention = PlainAttention(sizes, "attn.attention", "attn.attention.out_proj");
  attention.scale = 1;
  SetBiases(attention, /*query_key_value=*/false, /*output=*/true);
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "activation_function", "gelu_new"),
                         "mlp.c_fc", "mlp.c_proj");
  SetBiases(mlp, true);

  ModelPlan plan = GptModel(sizes, ReadTied(config, true), norm, "transformer.");
  plan.positions = TableSite{"transformer.wpe", sizes.context, sizes.hidden};
  plan.blocks.assign(sizes.blocks, LayerNormBlock(sizes, attention, mlp, norm, "ln_1", "ln_2"));
  const size_t window = config.Size("window_size", 256);
  const std::vector<bool> local = ReadLocal(config, sizes.blocks);
  for (size_t b = 0; b < sizes.blocks; ++b) {
    AttentionIn(plan.blocks[b]).window = local[b] ? window : 0;
  }
  MayLackPrefix(plan, "transformer.");
  return plan;
}

}  // namespace

extern const Family kGptNeoFamily;
constinit const Family kGptNeoFamily{"gpt_neo", Plan};

}  // namespace qualm
