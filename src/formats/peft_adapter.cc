// Reads the configuration strictly, matches lora_A with lora_B, and decodes merged rows on demand.
#include "formats/peft_adapter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_tensors.h"
#include "formats/module_patterns.h"
#include "io/json.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigName = "adapter_config.json";
constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kA = ".lora_A.weight", kB = ".lora_B.weight";
constexpr int64_t kLargestRank = 1 << 16;

// How the adapter was trained and set up, or what its tensors say as well.
constexpr std::string_view kWithoutInfluence[] = {
    "peft_type", "peft_version", "task_type", "inference_mode", "revision", "auto_mapping",
    "base_model_name_or_path", "target_modules", "exclude_modules", "layers_to_transform",
    "layers_pattern", "lora_dropout", "loftq_config", "eva_config", "corda_config",
    "lora_ga_config", "megatron_config", "megatron_core", "qalora_group_size", "runtime_config",
    "ensure_weight_tying",
    // These are read.
    "r", "init_lora_weights", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "bias"};

// Nothing is asked for: null, false, 0, "" and empty lists and objects.
bool IsOff(const Json& value) {
  return value.is_null() || value == false || value == 0 || value == "" ||
         ((value.is_array() || value.is_object()) && value.empty());
}

// The numbers that apply to a module: those of the first pattern that its name ends in.
class PatternNumbers {
 public:
  PatternNumbers(const Json& config, const char* key, double otherwise) : otherwise_(otherwise) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) return;
    if (!found->is_object()) ThrowBadInput(key, "an object", found->type_name());
    for (const auto& [pattern, value] : found->items()) {
      const std::string place = StrCat(key, "['", pattern.substr(0, 80), "']");
      if (!value.is_number()) ThrowBadInput(place, "a number", value.type_name());
      const bool is_anchored = pattern.starts_with('^');
      rules_.push_back(
          {is_anchored,
           ModulePattern(is_anchored ? pattern : StrCat("(.*\\.)?(", pattern, ")"), place),
           value.get<double>()});
    }
  }
  double Of(const std::string& module) const {
    for (const Rule& rule : rules_) {
      const bool matches =
          rule.is_anchored ? rule.pattern.MatchesFront(module) : rule.pattern.MatchesWhole(module);
      if (matches) return rule.value;
    }
    return otherwise_;
  }

 private:
  struct Rule {
    bool is_anchored;
    ModulePattern pattern;
    double value;
  };
  double otherwise_;
  std::vector<Rule> rules_;
};

// PEFT repeats some ways to begin when it loads an adapter, and they change the base's own weights
// (PiSSA, CorDA, OLoRA, LoftQ, ...). Those that only fill A and B have been overwritten since.
void CheckBeginning(const Json& config) {
  const auto found = config.find("init_lora_weights");
  if (found == config.end() || !found->is_string()) return;
  constexpr std::string_view kHarmless[] = {"gaussian", "eva", "orthogonal"};
  const std::string way = found->get<std::string>();
  if (std::ranges::find(kHarmless, way) != std::end(kHarmless)) return;
  ThrowBadInput("init_lora_weights", "true, false, gaussian, eva or orthogonal",
                StrCat("'", way.substr(0, 40), "'"),
                "it changes the base's weights: save the adapter as a plain LoRA in PEFT");
}

void CheckKeys(const Json& config) {
  if (!config.is_object()) ThrowExpected("an object", config.type_name());
  const std::string type = GetString(config, "peft_type", kConfigName, "");
  if (type != "LORA") ThrowBadInput("peft_type", "LORA", StrCat("'", type.substr(0, 40), "'"));
  const std::string bias = GetString(config, "bias", kConfigName, "none");
  if (bias != "none") {
    ThrowBadInput("bias", "none", StrCat("'", bias.substr(0, 40), "'"),
                  "adapters that change biases are not read");
  }
  CheckBeginning(config);
  for (const auto& [key, value] : config.items()) {
    const bool is_known = std::ranges::find(kWithoutInfluence, key) != std::end(kWithoutInfluence);
    if (is_known || IsOff(value)) continue;
    ThrowBadInput(key.substr(0, 80), "no value: what it asks for is not read",
                  value.dump().substr(0, 80),
                  "merge the adapter in PEFT, and take the merged model");
  }
}

float ScaleOf(double alpha, size_t rank, bool is_rank_stabilised) {
  const auto r = static_cast<double>(rank);
  return static_cast<float>(alpha / (is_rank_stabilised ? std::sqrt(r) : r));
}

fs::path TensorsOf(const fs::path& folder) {
  std::error_code ignored;
  fs::path file = folder / "adapter_model.safetensors";
  return fs::exists(file, ignored) ? file : folder / "adapter_model.bin";
}

// The weight with the addition, row by row.
class MergedRows final : public RowDecoder {
 public:
  // `base` gives the rows of W as floats.
  MergedRows(std::shared_ptr<const RowDecoder> base, const LoraModule& module)
      : base_(std::move(base)),
        in_(module.in),
        rank_(module.rank),
        scale_(module.scale),
        a_(FloatsOf(*module.a)),
        b_(FloatsOf(*module.b)) {}
  void Decode(size_t row, size_t begin, std::span<float> to) const override {
    base_->Decode(row, begin, to);
    std::vector<float> sums(to.size(), 0);
    for (size_t r = 0; r < rank_; ++r) {
      const float factor = b_[row * rank_ + r];
      const float* from = a_.data() + r * in_ + begin;
      for (size_t i = 0; i < to.size(); ++i) sums[i] = std::fma(factor, from[i], sums[i]);
    }
    for (size_t i = 0; i < to.size(); ++i) to[i] += sums[i] * scale_;
  }

 private:
  std::shared_ptr<const RowDecoder> base_;
  size_t in_, rank_;
  float scale_;
  std::vector<float> a_, b_;
};

// A float tensor's rows.
class FloatRows final : public RowDecoder {
 public:
  explicit FloatRows(const TensorView& tensor) : tensor_(tensor) {}
  void Decode(size_t row, size_t begin, std::span<float> to) const override {
    const size_t item = SizeOf(tensor_.type);
    ConvertToFloat(tensor_.type, tensor_.bytes.data() + (row * tensor_.shape[1] + begin) * item,
                   to.data(), to.size());
  }

 private:
  TensorView tensor_;
};

class AdaptedLayers final : public QuantizedLayers {
 public:
  AdaptedLayers(std::shared_ptr<const PeftAdapter> adapter, std::unique_ptr<QuantizedLayers> base,
                const TensorFile& tensors, const ReadOptions& options)
      : QuantizedLayers(options),
        adapter_(std::move(adapter)),
        base_(std::move(base)),
        tensors_(tensors) {
    if (base_ != nullptr) {
      description_ = base_->description();
      layers_ = base_->layers();
      other_tensors_ = base_->other_tensors();
    }
    description_.name = base_ == nullptr ? "lora" : StrCat(description_.name, " + lora");
    description_.variant = base_ == nullptr ? adapter_->Title()
                                            : StrCat(description_.variant, "; ", adapter_->Title());
    for (const auto& entry : adapter_->modules()) {
      At(entry.first, [&] { Adapt(entry.first, entry.second); });
    }
    Sort();
  }

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& stored) const override {
    const StoredLayer* inner = base_ == nullptr ? nullptr : base_->Find(stored.name);
    const auto module = adapter_->modules().find(stored.name);
    if (module == adapter_->modules().end()) return base_->Read(*inner);
    std::shared_ptr<const RowDecoder> rows =
        inner != nullptr ? RowsOf(ReadBase(*inner))
                         : std::make_shared<FloatRows>(tensors_.Get(stored.name + ".weight"));
    return RowBlocks{.out_features = stored.out,
                     .in_features = stored.in,
                     .format = stored.type,
                     .stored_bytes = stored.bytes,
                     .decoder = std::make_shared<MergedRows>(std::move(rows), module->second),
                     .runs_as_floats = true};
  }
  ConfiguredAttention WholeAttention(const std::string& module) const override {
    return base_ == nullptr ? ConfiguredAttention() : base_->Attention(module);
  }

 private:
  void Adapt(const std::string& name, const LoraModule& module) {
    auto layer = std::ranges::find(layers_, name, &StoredLayer::name);
    if (layer == layers_.end()) {
      const TensorView* weight = tensors_.Find(name + ".weight");
      if (weight == nullptr || weight->shape.size() != 2 || !IsFloat(weight->type)) {
        ThrowExpected("a linear layer of the base model", weight == nullptr ? "none" : "another",
                      "the adapter belongs to another model, or changes a tied weight");
      }
      layer = layers_.insert(
          layers_.end(), LayerOf(tensors_, name, weight->shape[0], weight->shape[1], {".weight"}));
      layer->type = StrCat(NameOf(weight->type));
    }
    if (layer->out != module.out || layer->in != module.in) {
      ThrowExpected(StrCat("an addition to [", layer->out, ", ", layer->in, "]"),
                    StrCat("[", module.out, ", ", module.in, "]"),
                    "the adapter belongs to another model");
    }
    layer->type += StrCat("+lora-r", module.rank);
    layer->value_type = DType::kF32;
    layer->is_in_blocks = true;
    layer->bytes += module.a->bytes.size() + module.b->bytes.size();
  }

  // What happens to a layer's inputs cannot be merged.
  QuantizedWeight ReadBase(const StoredLayer& inner) const {
    QuantizedWeight weight = base_->Read(inner);
    if (auto* linear = std::get_if<QuantizedLinear>(&weight)) {
      if (!linear->transforms.empty()) {
        ThrowBadInput(inner.name, "a layer without online transforms under an adapter",
                      StrCat(linear->transforms.size(), " of them"));
      }
      if (linear->activations) {
        ThrowBadInput(inner.name, "a layer whose inputs are not rounded under an adapter",
                      "one with rounded inputs", "--weights-only leaves the rounding out");
      }
    }
    return weight;
  }

  std::shared_ptr<const PeftAdapter> adapter_;
  std::unique_ptr<QuantizedLayers> base_;
  const TensorFile& tensors_;
};

}  // namespace

bool PeftAdapter::IsOne(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kConfigName, ignored);
}

PeftAdapter PeftAdapter::Open(const fs::path& folder) {
  PeftAdapter adapter;
  const fs::path config_path = folder / kConfigName;
  const Json config = ReadJsonFile(config_path);
  At(config_path.string(), [&] { CheckKeys(config); });
  adapter.base_ = GetString(config, "base_model_name_or_path", kConfigName, "");

  adapter.tensors_ = std::make_shared<const TensorFile>(TensorFile::Open(TensorsOf(folder)));

  // A and B of each module; every tensor must be one of them.
  const double rank = GetDouble(config, "r", kConfigName, 8);
  const double alpha = GetDouble(config, "lora_alpha", kConfigName, 8);
  const bool is_rank_stabilised = GetBool(config, "use_rslora", kConfigName, false);
  At(config_path.string(), [&] {
    const PatternNumbers ranks(config, "rank_pattern", rank);
    const PatternNumbers alphas(config, "alpha_pattern", alpha);
    for (const TensorView& tensor : adapter.tensors_->tensors()) {
      const std::string& name = tensor.name;
      const bool is_a = name.ends_with(kA), is_b = name.ends_with(kB);
      if (!name.starts_with(kPrefix) || (!is_a && !is_b)) {
        ThrowBadInput(name.substr(0, 200), "lora_A.weight or lora_B.weight of a module of the base",
                      "another tensor", "merge the adapter in PEFT, and take the merged model");
      }
      const std::string module_name =
          name.substr(kPrefix.size(), name.size() - kPrefix.size() - kA.size());
      LoraModule& module = adapter.modules_[module_name];
      (is_a ? module.a : module.b) = &tensor;
      (void)MatrixOf(*adapter.tensors_, name, {DType::kF32, DType::kF16, DType::kBF16});
      for (const float value : FloatsOf(tensor)) {
        if (!std::isfinite(value)) ThrowBadInput(name, "finite numbers", StrCat(value));
      }
    }
    if (adapter.modules_.empty()) ThrowExpected("a module with lora_A and lora_B", "none");

    for (auto& entry : adapter.modules_) {
      const std::string& name = entry.first;
      LoraModule& module = entry.second;
      At(name, [&] {
        if (module.a == nullptr || module.b == nullptr) {
          ThrowExpected("lora_A and lora_B", module.a == nullptr ? "no lora_A" : "no lora_B");
        }
        module.rank = module.a->shape[0];
        module.in = module.a->shape[1];
        module.out = module.b->shape[0];
        const double wanted = ranks.Of(name);
        const bool fits = module.b->shape[1] == module.rank &&
                          wanted == static_cast<double>(module.rank) && wanted <= kLargestRank;
        if (!fits) {
          ThrowExpected(StrCat("lora_A [r, in] and lora_B [out, r] with r = ", wanted),
                        StrCat(TypeAndShape(*module.a), " and ", TypeAndShape(*module.b)));
        }
        module.scale = ScaleOf(alphas.Of(name), module.rank, is_rank_stabilised);
        if (!std::isfinite(module.scale)) ThrowExpected("a finite scale", StrCat(module.scale));
      });
    }
  });
  return adapter;
}

std::string PeftAdapter::Title() const {
  std::set<size_t> ranks;
  for (const auto& [name, module] : modules_) ranks.insert(module.rank);
  std::vector<std::string> texts;
  for (const size_t rank : ranks) texts.push_back(StrCat(rank));
  return StrCat("LoRA of ", modules_.size(), modules_.size() == 1 ? " module" : " modules",
                ranks.size() == 1 ? ", rank " : ", ranks ", Join(texts, ", "));
}

InputSet PeftAdapter::InputsOf(const fs::path& folder) {
  InputSet inputs;
  inputs.Add(kConfigName, folder / kConfigName);
  const fs::path file = TensorsOf(folder);
  inputs.Add(file.filename().string(), file);
  return inputs;
}

std::unique_ptr<QuantizedLayers> MergeAdapter(std::shared_ptr<const PeftAdapter> adapter,
                                              std::unique_ptr<QuantizedLayers> layers,
                                              const TensorFile& tensors,
                                              const ReadOptions& options) {
  return std::make_unique<AdaptedLayers>(std::move(adapter), std::move(layers), tensors, options);
}

fs::path BaseOfAdapter(const PeftAdapter& adapter, const fs::path& folder, const fs::path& base) {
  if (!base.empty()) return base;
  std::error_code ignored;
  const auto is_model = [&](const fs::path& path) {
    return fs::exists(path / "config.json", ignored) && !PeftAdapter::IsOne(path);
  };
  const fs::path named = adapter.base();
  if (!named.empty()) {
    for (const fs::path& path : {folder / named, folder.parent_path() / named, named}) {
      if (is_model(path)) return path;
    }
  }

  // The only checkpoint next to the adapter.
  std::vector<fs::path> found;
  const fs::path above = fs::absolute(folder).lexically_normal();
  const fs::path parent =
      above.has_filename() ? above.parent_path() : above.parent_path().parent_path();
  for (fs::directory_iterator entries(parent, ignored), end; !ignored && entries != end;
       entries.increment(ignored)) {
    if (is_model(entries->path())) found.push_back(entries->path());
  }
  if (found.size() == 1) return found[0];
  ThrowBadInput(folder.string(), "the model that the adapter belongs to",
                found.empty() ? StrCat("base_model_name_or_path '", adapter.base().substr(0, 100),
                                       "', a folder that is not here")
                              : StrCat(found.size(), " models next to it"),
                "name it by --base");
}

}  // namespace qualm
