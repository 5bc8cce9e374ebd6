// Reads what most configurations have in common (sizes, activation, windows), and builds LLaMA's
// blocks from it. Families call these functions and then edit the plan where they differ. Rotary
// parameters are in rotary_config.cc.
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

// The activations by their names in transformers, where several are one function written
// differently: gelu_fast is the tanh form.
constexpr std::pair<const char*, Activation> kActivations[] = {
    {"silu", Activation::kSilu},
    {"swish", Activation::kSilu},
    {"gelu", Activation::kGeluErf},
    {"gelu_python", Activation::kGeluErf},
    {"gelu_new", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh},
    {"gelu_accurate", Activation::kGeluTanh},
    {"gelu_python_tanh", Activation::kGeluTanh},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"relu", Activation::kRelu},
    {"relu2", Activation::kRelu2},
};

// Throws bad input naming the key of sizes that contradict each other.
void CheckSizes(const CommonSizes& sizes, const SizeKeys& keys, const ConfigReader& config) {
  if (sizes.heads % sizes.kv_heads != 0) {
    config.Refuse(FirstKey(config, keys.kv_heads),
                  StrCat("a divisor of ", FirstKey(config, keys.heads), " ", sizes.heads),
                  StrCat(sizes.kv_heads));
  }
  // Each factor is bounded by itself; so must be the widths that they make together.
  for (const auto& [heads, key] :
       {std::pair{sizes.heads, keys.heads}, std::pair{sizes.kv_heads, keys.kv_heads}}) {
    if (heads * sizes.head_dim <= kLargestWidth) continue;
    config.Refuse(FirstKey(config, key), StrCat("heads of at most ", kLargestWidth),
                  StrCat(heads * sizes.head_dim), "head_dim times the number of heads");
  }
}

// An explicit head_dim wins. Otherwise the heads divide the hidden size, which must then be
// possible. Null asks for that even where a missing key means another size.
size_t ReadHeadDim(const ConfigReader& config, const CommonSizes& sizes,
                   const SizeDefaults& defaults, const SizeKeys& keys) {
  const std::string_view key =
      keys.head_dim.empty() ? keys.head_dim : FirstKey(config, keys.head_dim);
  if (!key.empty() && config.Has(key)) return config.Size(key);
  if (defaults.head_dim > 0 && (key.empty() || !config.HasNull(key))) return defaults.head_dim;
  if (sizes.hidden % sizes.heads != 0 && !defaults.rounds_head_dim) {
    config.Refuse(FirstKey(config, keys.hidden),
                  StrCat("a multiple of ", FirstKey(config, keys.heads), " ", sizes.heads),
                  StrCat(sizes.hidden), keys.head_dim.empty() ? "" : "or an explicit head_dim");
  }
  return std::max<size_t>(1, sizes.hidden / sizes.heads);
}

// A size that the family does not read may be there, as what follows from the others.
void RequireIfThere(const ConfigReader& config, std::string_view key, size_t value) {
  if (!config.Has(key) || config.Size(key) == value) return;
  config.Refuse(key, StrCat(value), StrCat(config.Size(key)), "the family has no other");
}

}  // namespace

std::string_view FirstKey(const ConfigReader& config, std::string_view keys) {
  // All of them are known keys, whichever counts.
  std::string_view found;
  for (std::string_view rest = keys; !rest.empty();) {
    const size_t bar = std::min(rest.find('|'), rest.size());
    const std::string_view key = rest.substr(0, bar);
    if (config.Has(key) && found.empty()) found = key;
    rest.remove_prefix(std::min(bar + 1, rest.size()));
  }
  return found.empty() ? keys.substr(0, keys.find('|')) : found;
}

// Missing keys take the family's defaults; keys without a default are required.
CommonSizes ReadSizes(const ConfigReader& config, const SizeDefaults& defaults,
                      const SizeKeys& keys) {
  CommonSizes sizes;
  sizes.hidden = config.Size(FirstKey(config, keys.hidden), defaults.hidden);
  const std::string_view intermediate =
      keys.intermediate.empty() ? keys.intermediate : FirstKey(config, keys.intermediate);
  if (!intermediate.empty() && (config.Has(intermediate) || defaults.intermediate_ratio == 0)) {
    sizes.intermediate = config.Size(intermediate, defaults.intermediate);
  } else {
    sizes.intermediate = defaults.intermediate_ratio * sizes.hidden;
  }

  const std::string_view blocks = FirstKey(config, keys.blocks);
  sizes.blocks = config.Size(blocks, defaults.blocks);
  if (sizes.blocks > kMostBlocks) {
    config.Refuse(blocks, StrCat("a size in 1..", kMostBlocks), StrCat(sizes.blocks));
  }

  sizes.heads = config.Size(FirstKey(config, keys.heads), defaults.heads);
  // Null asks for as many as of queries, whatever a missing key means.
  const std::string_view kv_key =
      keys.kv_heads.empty() ? keys.kv_heads : FirstKey(config, keys.kv_heads);
  const bool has_own = defaults.kv_heads > 0 && (kv_key.empty() || !config.HasNull(kv_key));
  const size_t kv_heads = has_own ? defaults.kv_heads : sizes.heads;
  sizes.kv_heads = kv_key.empty() ? kv_heads : config.Size(kv_key, kv_heads);
  sizes.head_dim = ReadHeadDim(config, sizes, defaults, keys);
  if (keys.kv_heads.empty()) RequireIfThere(config, "num_key_value_heads", sizes.kv_heads);
  if (keys.head_dim.empty()) RequireIfThere(config, "head_dim", sizes.head_dim);

  sizes.vocab = config.Size(FirstKey(config, keys.vocab), defaults.vocab);
  sizes.context = config.Size(FirstKey(config, keys.context), defaults.context);
  CheckSizes(sizes, keys, config);
  return sizes;
}

Activation ReadActivation(const ConfigReader& config, std::string_view key,
                          std::string_view fallback) {
  const std::string name = config.Text(key, fallback);
  std::vector<std::string> names;
  for (const auto& [known, activation] : kActivations) {
    if (name == known) return activation;
    names.emplace_back(known);
  }
  config.Refuse(key, Join(names, ", "), name);
}

bool ReadTied(const ConfigReader& config, bool fallback) {
  return config.Bool("tie_word_embeddings", fallback);
}

std::vector<std::string> ReadLayerTypes(const ConfigReader& config, size_t blocks) {
  std::vector<std::string> types = config.Texts("layer_types", blocks);
  for (const std::string& type : types) {
    if (type == "full_attention" || type == "sliding_attention") continue;
    config.Refuse("layer_types", "sliding_attention or full_attention", type);
  }
  return types;
}

size_t ReadWindow(const ConfigReader& config, size_t fallback, std::string_view key) {
  if (config.HasNull(key)) return 0;
  const int64_t window = config.Int(key, static_cast<int64_t>(fallback));
  const bool is_set = config.Has(key);
  if (window < (is_set ? 1 : 0)) config.Refuse(key, "a positive size or null", StrCat(window));
  return static_cast<size_t>(window);
}

void SetQwenWindows(const ConfigReader& config, ModelPlan& plan) {
  // The keys of the window are often present without use_sliding_window, and then mean nothing.
  config.Ignore({"sliding_window", "max_window_layers", "layer_types"});
  if (!config.Bool("use_sliding_window", false)) return;
  const size_t window = ReadWindow(config, 4096);
  const int64_t first = config.Int("max_window_layers", 28);
  if (first < 0) config.Refuse("max_window_layers", "0 or more", StrCat(first));

  const std::vector<bool> windowed = ReadWindowed(
      config, plan.blocks.size(), [&](size_t b) { return b >= static_cast<size_t>(first); });
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    AttentionIn(plan.blocks[b]).window = windowed[b] ? window : 0;
  }
}

void SetOlmoNorms(BlockPlan& block) {
  const NormPlan norm = *block.branches[0].norm;
  const char* names[] = {"post_attention_layernorm", "post_feedforward_layernorm"};
  for (size_t b = 0; b < block.branches.size(); ++b) {
    block.branches[b].norm.reset();
    block.branches[b].norm_after = NormPlan{names[b], norm.width, norm.parameters};
  }
  AttentionPlan& attention = AttentionIn(block);
  attention.norms =
      QueryKeyNorms{NormPlan{"self_attn.q_norm", attention.query.out, norm.parameters},
                    NormPlan{"self_attn.k_norm", attention.key.out, norm.parameters}};
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

MlpPlan GatedMlp(const CommonSizes& sizes, Activation activation, const std::string& prefix) {
  MlpPlan plan = PlainMlp(sizes, activation, prefix + ".up_proj", prefix + ".down_proj");
  plan.gate = LinearSite{prefix + ".gate_proj", SiteRole::kGate, sizes.intermediate, sizes.hidden};
  return plan;
}

MlpPlan PlainMlp(const CommonSizes& sizes, Activation activation, const std::string& up,
                 const std::string& down) {
  MlpPlan plan;
  plan.activation = activation;
  plan.up = {up, SiteRole::kUp, sizes.intermediate, sizes.hidden};
  plan.down = {down, SiteRole::kDown, sizes.hidden, sizes.intermediate};
  return plan;
}

void SetBiases(AttentionPlan& plan, bool query_key_value, bool output) {
  for (LinearSite* site : {&plan.query, &plan.key, &plan.value}) {
    site->requires_bias = query_key_value;
  }
  plan.output.requires_bias = output;
}

void SetBiases(MlpPlan& plan, bool has_bias) {
  if (plan.gate) plan.gate->requires_bias = has_bias;
  plan.up.requires_bias = has_bias;
  plan.down.requires_bias = has_bias;
}

void RequireNoBiases(const ConfigReader& config) {
  config.Require("attention_bias", false);
  config.Require("mlp_bias", false);
}

void StoreOneAfterTheOther(AttentionPlan& plan, const std::string& tensor) {
  plan.query.name = tensor + ".query";
  plan.key.name = tensor + ".key";
  plan.value.name = tensor + ".value";
  size_t first = 0;
  for (LinearSite* site : {&plan.query, &plan.key, &plan.value}) {
    site->stored = StoredRows{tensor, first};
    first += site->out;
  }
}

void StoreByKeyHead(AttentionPlan& plan, const std::string& tensor) {
  StoreOneAfterTheOther(plan, tensor);
  // In rows of the tensor: the queries of one head of keys, then its key, then its value.
  const size_t queries = plan.heads / plan.kv_heads * plan.head_dim;
  const size_t step = queries + 2 * plan.head_dim;
  plan.query.stored = StoredRows{tensor, 0, queries, step};
  plan.key.stored = StoredRows{tensor, queries, plan.head_dim, step};
  plan.value.stored = StoredRows{tensor, queries + plan.head_dim, plan.head_dim, step};
}

void StoreOneAfterTheOther(MlpPlan& plan, const std::string& tensor) {
  plan.gate->name = tensor + ".gate";
  plan.gate->stored = StoredRows{tensor, 0};
  plan.up.name = tensor + ".up";
  plan.up.stored = StoredRows{tensor, plan.gate->out};
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

ModelPlan GptModel(const CommonSizes& sizes, bool tied_embeddings, const NormParameters& norm,
                   const std::string& prefix) {
  ModelPlan plan = PlainModel(sizes, tied_embeddings, norm);
  plan.block_prefix = prefix + "h.";
  plan.embedding.name = prefix + "wte";
  plan.final_norm = NormPlan{prefix + "ln_f", sizes.hidden, norm, /*has_bias=*/true};
  return plan;
}

void MayLackPrefix(ModelPlan& plan, const std::string& prefix) {
  const auto add = [&](const std::string& name) {
    if (!name.starts_with(prefix)) return;
    plan.renamings.push_back({name.substr(prefix.size()), name});
  };
  add(plan.block_prefix);
  add(plan.embedding.name + ".");
  if (plan.positions) add(plan.positions->name + ".");
  for (const std::optional<LinearSite>* site : {&plan.project_in, &plan.project_out}) {
    if (*site) add((*site)->name + ".");
  }
  for (const std::optional<NormPlan>* norm : {&plan.embedding_norm, &plan.final_norm}) {
    if (*norm) add((*norm)->name + ".");
  }
}

void SetNestedTextModel(ModelPlan& plan) {
  for (const char* from : {"language_model.model.", "model.language_model."}) {
    plan.renamings.push_back({from, "model."});
  }
  plan.renamings.push_back({"language_model.lm_head.", "lm_head."});
  // As those do that were saved without a head.
  plan.renamings.push_back({"language_model.", "model."});
  for (const char* other : {"vision_tower.*", "model.vision_tower.*", "multi_modal_projector.*",
                            "model.multi_modal_projector.*"}) {
    plan.unread_tensors.emplace_back(other);
  }
}

// Pre-norm attention, then a pre-norm MLP, one after the other.
BlockPlan StandardBlock(const CommonSizes& sizes, const AttentionPlan& attention, MlpPlan mlp,
                        const NormParameters& norm) {
  BlockPlan block;
  block.branches.resize(2);
  block.branches[0].norm = NormPlan{"input_layernorm", sizes.hidden, norm};
  block.branches[0].part = attention;
  block.branches[1].norm = NormPlan{"post_attention_layernorm", sizes.hidden, norm};
  block.branches[1].part = std::move(mlp);
  return block;
}

BlockPlan LayerNormBlock(const CommonSizes& sizes, const AttentionPlan& attention, MlpPlan mlp,
                         const NormParameters& norm, const std::string& first,
                         const std::string& second, bool parallel) {
  BlockPlan block = StandardBlock(sizes, attention, std::move(mlp), norm);
  block.branches[0].norm->name = first;
  block.branches[1].norm->name = parallel ? first : second;
  block.branches[1].is_parallel = parallel;
  for (Branch& branch : block.branches) branch.norm->has_bias = true;
  return block;
}

ModelPlan StandardPlan(const ConfigReader& config, const StandardOptions& options) {
  const CommonSizes sizes = ReadSizes(config, options.defaults);
  const NormParameters norm{.kind = NormKind::kRms,
                            .eps = config.Positive("rms_norm_eps", options.rms_norm_eps)};

  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
  const size_t dims = ReadRotaryDims(config, sizes.head_dim, options.rotary_share);
  attention.rotary = ReadRotary(config, dims, sizes.context, /*layer_type=*/{}, options.rope_theta,
                                "rope_theta", options.original_context);
  const MlpPlan mlp = GatedMlp(sizes, ReadActivation(config, "hidden_act", "silu"));

  ModelPlan plan = PlainModel(sizes, ReadTied(config, options.tied_by_default), norm);
  plan.blocks.assign(sizes.blocks, StandardBlock(sizes, attention, mlp, norm));
  MayLackPrefix(plan, "model.");
  return plan;
}

AttentionPlan& AttentionIn(BlockPlan& block) {
  return std::get<AttentionPlan>(block.branches[0].part);
}

MlpPlan& MlpIn(BlockPlan& block) { return std::get<MlpPlan>(block.branches[1].part); }

}  // namespace qualm
