// Names, orders and sizes of llama.cpp's architectures. Source: llama.cpp's conversion scripts and
// gguf-py's tensor_mapping.py, for facts.
#include "formats/gguf_model.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_tensors.h"
#include "formats/ggml_codebooks.h"
#include "formats/ggml_grid.h"

namespace qualm {
namespace {

// A module's name in a GGUF file and in a checkpoint; inside a block without "blk.N.".
struct NamePair {
  std::string_view gguf, hf;
};

constexpr NamePair kOuter[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};
// What most architectures have.
constexpr NamePair kCommon[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};
constexpr NamePair kGemma2[] = {
    {"post_attention_norm", "post_attention_layernorm"},
    {"ffn_norm", "pre_feedforward_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
};
constexpr NamePair kOlmo2[] = {
    {"post_attention_norm", "post_attention_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
};
constexpr NamePair kPhi3[] = {
    {"attn_qkv", "self_attn.qkv_proj"},
    {"ffn_up", "mlp.gate_up_proj"},
};
constexpr NamePair kStarcoder2[] = {
    {"ffn_up", "mlp.c_fc"},
    {"ffn_down", "mlp.c_proj"},
};
constexpr NamePair kQwenMoe[] = {
    {"ffn_gate_inp", "mlp.gate"},
    {"ffn_gate_exps", "mlp.experts.*.gate_proj"},
    {"ffn_up_exps", "mlp.experts.*.up_proj"},
    {"ffn_down_exps", "mlp.experts.*.down_proj"},
};
constexpr NamePair kMixtral[] = {
    {"ffn_gate_inp", "block_sparse_moe.gate"},
    {"ffn_gate_exps", "block_sparse_moe.experts.*.w1"},
    {"ffn_up_exps", "block_sparse_moe.experts.*.w3"},
    {"ffn_down_exps", "block_sparse_moe.experts.*.w2"},
};

// An architecture. Its separate names come before the common ones.
struct Architecture {
  std::string_view name, model_type;
  std::span<const NamePair> own;
  bool is_permuted = false;    // rows of q and k
  bool has_one_added = false;  // norms
  std::string_view eps_key = "rms_norm_eps";
};
constexpr Architecture kArchitectures[] = {
    {"llama", "llama", {}, true},
    {"qwen2", "qwen2", {}},
    {"qwen3", "qwen3", {}},
    {"gemma", "gemma", {}, false, true},
    {"gemma2", "gemma2", kGemma2, false, true},
    {"gemma3", "gemma3_text", kGemma2, false, true},
    {"phi3", "phi3", kPhi3},
    {"olmo2", "olmo2", kOlmo2},
    {"granite", "granite", {}, true},
    {"starcoder2", "starcoder2", kStarcoder2, false, false, "norm_epsilon"},
    {"qwen3moe", "qwen3_moe", kQwenMoe},
};

const Architecture& ArchitectureOf(const GgufFile& file) {
  const std::string name = file.Text("general.architecture");
  const auto* found = std::ranges::find(kArchitectures, name, &Architecture::name);
  if (found != std::end(kArchitectures)) return *found;
  std::vector<std::string> names;
  for (const Architecture& architecture : kArchitectures) names.emplace_back(architecture.name);
  ThrowBadInput(StrCat(file.place(), ": general.architecture"), Join(names, ", "),
                StrCat("'", name.substr(0, 60), "'"));
}

// llama's files may have experts: then they are Mixtral's.
bool HasExperts(const GgufFile& file, const Architecture& architecture) {
  return file.Unsigned(StrCat(architecture.name, ".expert_count"), 0) > 0;
}

std::optional<std::string_view> Find(std::span<const NamePair> pairs, std::string_view name) {
  const auto found = std::ranges::find(pairs, name, &NamePair::gguf);
  if (found == pairs.end()) return std::nullopt;
  return found->hf;
}

// The module's name in a checkpoint; empty: the architecture has no such tensor.
std::string ModuleName(const GgufFile& file, const Architecture& architecture,
                       const std::string& name) {
  if (!name.starts_with("blk.")) {
    const auto outer = Find(kOuter, name);
    return outer ? std::string(*outer) : "";
  }
  const size_t dot = name.find('.', 4);
  if (dot == std::string::npos) return "";
  const std::string block = name.substr(4, dot - 4), inner = name.substr(dot + 1);
  auto hf = Find(architecture.own, inner);
  if (!hf && architecture.name == "llama" && HasExperts(file, architecture)) {
    hf = Find(kMixtral, inner);
  }
  if (!hf) hf = Find(kCommon, inner);
  return hf ? StrCat("model.layers.", block, ".", *hf) : "";
}

std::optional<DType> FloatType(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return DType::kF32;
    case GgmlType::kF16:
      return DType::kF16;
    case GgmlType::kBF16:
      return DType::kBF16;
    case GgmlType::kF64:
      return DType::kF64;
    default:
      return std::nullopt;
  }
}

std::string LowerName(GgmlType type) {
  std::string name(InfoOf(type).name);
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return name;
}

}  // namespace

// Row (h, p, j) of a checkpoint is row (h, j, p) of the file: pairs that turn together are
// neighbours there and half a head apart here.
size_t GgufModelTensor::StoredRow(size_t row) const {
  if (heads == 0) return row;
  const size_t width = rows / heads, half = width / 2, inner = row % width;
  return row - inner + inner % half * 2 + inner / half;
}

std::shared_ptr<const GgufModel> GgufModel::Open(const std::filesystem::path& path) {
  return Of(GgufFile::Open(path));
}

std::shared_ptr<const GgufModel> GgufModel::Of(GgufFile file) {
  auto model = std::shared_ptr<GgufModel>(new GgufModel(std::move(file)));
  model->AddTensors();
  model->MakeConfig();
  return model;
}

void GgufModel::AddTensors() {
  const Architecture& architecture = ArchitectureOf(file_);
  const std::string prefix = StrCat(architecture.name, ".attention.");
  const size_t heads = file_.Unsigned(prefix + "head_count");
  const size_t kv_heads = file_.Unsigned(prefix + "head_count_kv", heads);

  for (const GgufTensor& stored : file_.tensors()) {
    const size_t dot = stored.name.rfind('.');
    const std::string ending = dot == std::string::npos ? "" : stored.name.substr(dot);
    const std::string module = stored.name.substr(0, dot);
    if (module.starts_with("rope_f")) {  // rope_freqs, rope_factors_long and _short
      unread_.push_back(stored.name);
      continue;
    }
    const std::string name = ModuleName(file_, architecture, module);
    if (name.empty() || (ending != ".weight" && ending != ".bias")) {
      ThrowBadInput(file_.place(), StrCat("tensors of the architecture ", architecture.name),
                    StrCat("'", stored.name.substr(0, 80), "'"),
                    "the file was made for another version of it");
    }

    GgufModelTensor tensor;
    tensor.stored = &stored;
    const bool is_vector = stored.shape.size() < 2;
    tensor.rows = is_vector ? stored.row_elements() : stored.rows();
    const bool is_query = module.ends_with(".attn_q"), is_key = module.ends_with(".attn_k");
    if (architecture.is_permuted && (is_query || is_key)) {
      tensor.heads = is_query ? heads : kv_heads;
      if (tensor.heads == 0 || tensor.rows % (2 * tensor.heads) != 0) {
        ThrowBadInput(StrCat(file_.place(), ": ", stored.name),
                      StrCat("rows of ", tensor.heads, " heads of even width"),
                      StrCat(tensor.rows));
      }
    }
    tensor.has_one_added = architecture.has_one_added && module.ends_with("norm");

    // One tensor for each expert.
    const size_t star = name.find('*');
    if (star == std::string::npos) {
      tensor.name = name + ending;
      tensors_.push_back(std::move(tensor));
      continue;
    }
    if (stored.shape.size() != 3) {
      ThrowBadInput(StrCat(file_.place(), ": ", stored.name), "[experts, out, in]",
                    StrCat(stored.shape.size(), " dimensions"));
    }
    tensor.rows = stored.shape[1];
    for (size_t e = 0; e < stored.shape[0]; ++e) {
      tensor.first_row = e * tensor.rows;
      tensor.name = StrCat(name.substr(0, star), e, name.substr(star + 1), ending);
      tensors_.push_back(tensor);
    }
  }
  std::ranges::sort(tensors_, {}, &GgufModelTensor::name);
}

namespace {

// Rotary scaling by the metadata's words, or by a tensor of factors.
void AddRotary(const GgufFile& file, const std::string& prefix, size_t context, Json& config) {
  config["rope_theta"] = file.Number(prefix + "rope.freq_base", 10000);
  const std::string kind = file.Text(prefix + "rope.scaling.type", "none");
  const double factor =
      file.Number(prefix + "rope.scaling.factor", file.Number(prefix + "rope.scale_linear", 1));

  // Divisors of the frequencies, in place of the rule that they were made by.
  const auto floats = [&](const char* name) -> std::optional<Json> {
    const GgufTensor* tensor = file.FindTensor(name);
    if (tensor == nullptr) return std::nullopt;
    if (tensor->type != GgmlType::kF32) {
      ThrowBadInput(StrCat(file.place(), ": ", name), "F32", InfoOf(tensor->type).name);
    }
    Json list = Json::array();
    for (size_t at = 0; at + sizeof(float) <= tensor->bytes.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, tensor->bytes.data() + at, sizeof(value));
      list.push_back(value);
    }
    return list;
  };
  const auto freqs = floats("rope_freqs.weight");
  const auto longs = floats("rope_factors_long.weight"),
             shorts = floats("rope_factors_short.weight");
  if (freqs || (longs && shorts)) {
    Json scaling = {{"rope_type", "longrope"}};
    scaling["long_factor"] = freqs ? *freqs : *longs;
    scaling["short_factor"] = freqs ? *freqs : *shorts;
    scaling["attention_factor"] = freqs ? 1.0 : file.Number(prefix + "rope.scaling.attn_factor", 1);
    scaling["original_max_position_embeddings"] =
        file.Unsigned(prefix + "rope.scaling.original_context_length", context);
    config["rope_scaling"] = scaling;
    return;
  }
  if (kind == "none" || (kind == "linear" && factor == 1)) return;
  if (kind != "linear" && kind != "yarn") {
    ThrowBadInput(StrCat(file.place(), ": ", prefix, "rope.scaling.type"), "none, linear or yarn",
                  StrCat("'", kind.substr(0, 40), "'"));
  }
  Json scaling = {{"rope_type", kind}, {"factor", factor}};
  if (kind == "yarn") {
    scaling["original_max_position_embeddings"] =
        file.Unsigned(prefix + "rope.scaling.original_context_length", context);
  }
  config["rope_scaling"] = scaling;
}

}  // namespace

// What config.json would say. Keys that a family does not read may not be there.
void GgufModel::MakeConfig() {
  const Architecture& architecture = ArchitectureOf(file_);
  const std::string prefix = StrCat(architecture.name, ".");
  const auto size = [&](const char* key) { return file_.Unsigned(prefix + key); };
  config_ = std::make_shared<Json>(Json::object());
  Json& config = *config_;
  const bool is_mixtral = architecture.name == "llama" && HasExperts(file_, architecture);
  config["model_type"] = is_mixtral ? "mixtral" : std::string(architecture.model_type);

  const auto find = [&](std::string_view name) {
    const auto found = std::ranges::find(tensors_, name, &GgufModelTensor::name);
    return found == tensors_.end() ? nullptr : &*found;
  };
  const GgufModelTensor* table = find("model.embed_tokens.weight");
  if (table == nullptr) {
    ThrowBadInput(file_.place(), "a tensor token_embd.weight", "none");
  }
  const size_t heads = size("attention.head_count");
  if (heads == 0) ThrowBadInput(file_.place(), "attention.head_count above 0", "0");
  config["vocab_size"] = table->rows;
  config["hidden_size"] = size("embedding_length");
  config["num_hidden_layers"] = size("block_count");
  config["intermediate_size"] = size("feed_forward_length");
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = file_.Unsigned(prefix + "attention.head_count_kv", heads);
  const size_t head_dim =
      file_.Unsigned(prefix + "attention.key_length", size("embedding_length") / heads);
  if (head_dim != size("embedding_length") / heads) config["head_dim"] = head_dim;
  config["max_position_embeddings"] = size("context_length");
  const std::string eps =
      architecture.eps_key == "rms_norm_eps" ? "layer_norm_rms_epsilon" : "layer_norm_epsilon";
  config[std::string(architecture.eps_key)] = file_.Number(prefix + "attention." + eps);
  config["tie_word_embeddings"] = find("lm_head.weight") == nullptr;
  AddRotary(file_, prefix, size("context_length"), config);

  // What single architectures have beyond that.
  if (architecture.name == "gemma2") {
    config["attn_logit_softcapping"] = file_.Number(prefix + "attn_logit_softcapping", 50);
    config["final_logit_softcapping"] = file_.Number(prefix + "final_logit_softcapping", 30);
  }
  if (architecture.name == "gemma2" || architecture.name == "gemma3") {
    config["sliding_window"] = size("attention.sliding_window");
    // llama.cpp takes the width of a head, but of the largest models the hidden size by the heads.
    const size_t largest = architecture.name == "gemma2" ? 46 : 62;
    config["query_pre_attn_scalar"] =
        size("block_count") == largest ? size("embedding_length") / heads : head_dim;
    config["head_dim"] = head_dim;
  }
  if (architecture.name == "gemma3") {
    config["rope_local_base_freq"] = file_.Number(prefix + "rope.freq_base_swa", 10000);
  }
  if (architecture.name == "gemma") config["head_dim"] = head_dim;
  if (architecture.name == "llama" || architecture.name == "starcoder2") {
    const char* key = architecture.name == "llama" ? "attention_bias" : "use_bias";
    config[key] = find("model.layers.0.self_attn.q_proj.bias") != nullptr;
  }
  if (architecture.name == "phi3" && file_.Find(prefix + "attention.sliding_window") != nullptr) {
    config["sliding_window"] = size("attention.sliding_window");
  }
  if (architecture.name == "granite") {
    config["embedding_multiplier"] = file_.Number(prefix + "embedding_scale", 1);
    config["residual_multiplier"] = file_.Number(prefix + "residual_scale", 1);
    config["attention_multiplier"] = file_.Number(prefix + "attention.scale");
    config["logits_scaling"] = file_.Number(prefix + "logit_scale", 1);
  }
  if (HasExperts(file_, architecture)) {
    config[is_mixtral ? "num_local_experts" : "num_experts"] = size("expert_count");
    config["num_experts_per_tok"] = size("expert_used_count");
    const auto width = file_.Find(prefix + "expert_feed_forward_length");
    if (width != nullptr) config["moe_intermediate_size"] = size("expert_feed_forward_length");
  }
  for (const auto& [key, name] : {std::pair{"tokenizer.ggml.bos_token_id", "bos_token_id"},
                                  std::pair{"tokenizer.ggml.eos_token_id", "eos_token_id"}}) {
    if (file_.Find(key) != nullptr) config[name] = file_.Unsigned(key);
  }
}

namespace {

// Copies of what had to be undone, next to the model that the rest looks into.
struct FloatMemory {
  std::shared_ptr<const GgufModel> model;
  std::vector<std::vector<std::byte>> copies;
};

// The rows of a float tensor in the checkpoint's order, less what the converter added.
std::vector<std::byte> Undone(const GgufModelTensor& tensor, size_t row_bytes, DType type) {
  const std::byte* from = tensor.stored->bytes.data() + tensor.first_row * row_bytes;
  std::vector<std::byte> bytes(tensor.rows * row_bytes);
  for (size_t r = 0; r < tensor.rows; ++r) {
    std::memcpy(bytes.data() + r * row_bytes, from + tensor.StoredRow(r) * row_bytes, row_bytes);
  }
  if (!tensor.has_one_added) return bytes;

  std::vector<float> values(bytes.size() / SizeOf(type));
  ConvertToFloat(type, bytes.data(), values.data(), values.size());
  for (float& value : values) value -= 1;
  ConvertFromFloat(values.data(), type, bytes.data(), values.size());
  return bytes;
}

}  // namespace

TensorFile GgufFloatTensors(const std::shared_ptr<const GgufModel>& model) {
  auto memory = std::make_shared<FloatMemory>();
  memory->model = model;
  std::vector<TensorView> views;
  for (const GgufModelTensor& tensor : model->tensors()) {
    const std::optional<DType> type = FloatType(tensor.stored->type);
    if (!type) continue;
    const bool is_vector = tensor.stored->shape.size() < 2;
    const size_t cols = is_vector ? 1 : tensor.stored->row_elements();
    TensorView view;
    view.name = tensor.name;
    view.type = *type;
    view.shape =
        is_vector ? std::vector<size_t>{tensor.rows} : std::vector<size_t>{tensor.rows, cols};
    const size_t row_bytes = cols * SizeOf(*type);
    if (tensor.heads > 0 || tensor.has_one_added) {
      memory->copies.push_back(Undone(tensor, row_bytes, *type));
      view.bytes = memory->copies.back();
    } else {
      view.bytes =
          tensor.stored->bytes.subspan(tensor.first_row * row_bytes, tensor.rows * row_bytes);
    }
    views.push_back(std::move(view));
  }

  uint64_t bytes = 0;
  for (const std::filesystem::path& file : model->file().files()) {
    bytes += std::filesystem::file_size(file);
  }
  const std::vector<std::filesystem::path> files = model->file().files();
  return TensorFile::Of(std::move(views), "gguf", files, bytes, std::move(memory));
}

namespace {

class GgufLayers final : public QuantizedLayers {
 public:
  GgufLayers(std::shared_ptr<const GgufModel> model, const ReadOptions& options)
      : QuantizedLayers(options), model_(std::move(model)) {
    std::map<std::string, size_t> types;
    for (const GgufModelTensor& tensor : model_->tensors()) {
      const GgmlType type = tensor.stored->type;
      ++types[std::string(InfoOf(type).name)];
      if (FloatType(type)) continue;
      if (!tensor.name.ends_with(".weight")) {
        ThrowBadInput(tensor.stored->name, "floats in a bias", InfoOf(type).name);
      }
      if (tensor.stored->shape.size() < 2) {
        ThrowBadInput(tensor.stored->name, StrCat("[out, in] in ", InfoOf(type).name),
                      "one dimension", "norms are floats");
      }
      StoredLayer layer;
      layer.name = tensor.name.substr(0, tensor.name.size() - std::string_view(".weight").size());
      layer.out = tensor.rows;
      layer.in = tensor.stored->row_elements();
      layer.type = LowerName(type);
      layer.is_in_blocks = HasGgmlCodebook(static_cast<uint32_t>(type));
      layer.bytes = tensor.rows * tensor.stored->row_bytes();
      by_name_.emplace(layer.name, &tensor);
      layers_.push_back(std::move(layer));
    }

    // What the file really holds, most of it first; its name may say something else.
    std::vector<std::pair<size_t, std::string>> counts;
    for (const auto& [name, count] : types) counts.emplace_back(count, name);
    std::ranges::sort(counts, std::greater());
    std::vector<std::string> texts;
    for (const auto& [count, name] : counts) texts.push_back(StrCat(count, " ", name));
    description_.name = "gguf";
    description_.variant = Join(texts, ", ");
    Sort();
  }

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& stored) const override {
    const GgufModelTensor& tensor = *by_name_.find(stored.name)->second;
    const auto type = static_cast<uint32_t>(tensor.stored->type);
    const size_t row_bytes = tensor.stored->row_bytes();
    const auto bytes =
        tensor.stored->bytes.subspan(tensor.first_row * row_bytes, tensor.rows * row_bytes);
    if (HasGgmlCodebook(type)) {
      // The decoder keeps the model's file mapped.
      RowBlocks blocks{stored.out, stored.in, stored.type, stored.bytes, nullptr};
      blocks.decoder =
          GgmlCodebookRows(type, bytes, stored.in,
                           [model = model_, &tensor](size_t row) { return tensor.StoredRow(row); });
      return blocks;
    }
    if (!HasGgmlGrid(type)) {
      ThrowBadInput(stored.name, "a type that is read", InfoOf(tensor.stored->type).name);
    }
    QuantizedLinear layer = GridOfGgml(type, bytes, stored.out, stored.in,
                                       [&](size_t row) { return tensor.StoredRow(row); });
    At(stored.name, [&] { layer.Validate(); });
    return layer;
  }

 private:
  std::shared_ptr<const GgufModel> model_;
  std::map<std::string, const GgufModelTensor*, std::less<>> by_name_;
};

}  // namespace

std::unique_ptr<QuantizedLayers> OpenGgufLayers(std::shared_ptr<const GgufModel> model,
                                                const ReadOptions& options) {
  return std::make_unique<GgufLayers>(std::move(model), options);
}

}  // namespace qualm
