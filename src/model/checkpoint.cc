#include "model/checkpoint.h"

#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"

namespace qualm {
namespace {

std::string ShapeText(std::span<const size_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += StrCat(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

}  // namespace

Checkpoint Checkpoint::Open(const std::filesystem::path& folder, bool allow_missing_linears) {
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  checkpoint.config_ = std::make_unique<ModelConfig>(ReadModelConfig(folder));
  checkpoint.family_ = &FindFamily(checkpoint.config_->model_type, folder.string());
  checkpoint.tensors_ = std::make_unique<TensorFile>(TensorFile::Open(folder));
  checkpoint.CheckTensors(allow_missing_linears);
  return checkpoint;
}

void Checkpoint::CheckMatrix(const std::string& name, size_t rows, size_t cols) const {
  WeightView weight = tensors_->Get(name).AsWeight();
  if (weight.rows != rows || weight.cols != cols) {
    ThrowBadInput(StrCat(folder_.string(), ": ", name), StrCat("shape [", rows, ", ", cols, "]"),
                  StrCat("[", weight.rows, ", ", weight.cols, "]"),
                  "config.json and the tensors do not belong together");
  }
}

void Checkpoint::CheckVector(const std::string& name, size_t size) const {
  const TensorView& tensor = tensors_->Get(name);
  if (tensor.shape != std::vector<size_t>{size} || !IsFloat(tensor.type)) {
    ThrowBadInput(StrCat(folder_.string(), ": ", name),
                  StrCat("a float tensor of shape [", size, "]"),
                  StrCat(NameOf(tensor.type), " ", ShapeText(tensor.shape)));
  }
}

void Checkpoint::CheckTensors(bool allow_missing_linears) const {
  const ModelConfig& c = *config_;
  CheckVector(family_->final_norm + ".weight", c.hidden_size);
  for (size_t block = 0; block < c.layers; ++block) {
    CheckVector(LinearName(*family_, block, family_->attention_norm) + ".weight", c.hidden_size);
    CheckVector(LinearName(*family_, block, family_->mlp_norm) + ".weight", c.hidden_size);
    for (size_t g = 0; g < family_->groups.size(); ++g) {
      bool needs_bias = g == 0 ? c.qkv_bias : g == 1 ? c.o_bias : c.mlp_bias;
      const LinearGroup& group = family_->groups[g];
      for (const LinearSpec& linear : group.linears) {
        std::string name = LinearName(*family_, block, linear.name);
        size_t out = SizeOf(linear.out, c);
        if (!allow_missing_linears || tensors_->Find(name + ".weight") != nullptr) {
          CheckMatrix(name + ".weight", out, SizeOf(group.in, c));
        }
        if (needs_bias || tensors_->Find(name + ".bias") != nullptr) {
          CheckVector(name + ".bias", out);
        }
      }
    }
  }
  auto check_table = [&](const WeightView& weight, std::string_view name) {
    if (weight.rows == c.vocab_size && weight.cols == c.hidden_size) return;
    ThrowBadInput(StrCat(folder_.string(), ": ", name),
                  StrCat("shape [", c.vocab_size, ", ", c.hidden_size, "]"),
                  StrCat("[", weight.rows, ", ", weight.cols, "]"));
  };
  check_table(EmbeddingWeight(), family_->embedding);
  check_table(HeadWeight(), family_->head);
}

WeightView Checkpoint::Weight(std::string_view layer_name) const {
  return tensors_->Get(StrCat(layer_name, ".weight")).AsWeight();
}

std::vector<float> Checkpoint::Vector(std::string_view tensor_name) const {
  return tensors_->Get(tensor_name).AsFloats();
}

std::vector<float> Checkpoint::BiasOf(std::string_view layer_name) const {
  const TensorView* bias = tensors_->Find(StrCat(layer_name, ".bias"));
  return bias == nullptr ? std::vector<float>{} : bias->AsFloats();
}

WeightView Checkpoint::EmbeddingWeight() const {
  std::string name = family_->embedding + ".weight";
  if (config_->tied_embeddings && tensors_->Find(name) == nullptr) return Weight(family_->head);
  return Weight(family_->embedding);
}

WeightView Checkpoint::HeadWeight() const {
  return config_->tied_embeddings ? EmbeddingWeight() : Weight(family_->head);
}

void Checkpoint::ReleaseBlock(size_t block) const {
  std::string prefix = StrCat(family_->block_prefix, block, ".");
  for (const TensorView& tensor : tensors_->tensors()) {
    if (tensor.name.starts_with(prefix)) tensors_->Release(tensor);
  }
}

std::string Checkpoint::Hash() const {
  InputSet inputs = Inputs();
  return HashOf(inputs);
}

std::string Checkpoint::HashOf(InputSet& inputs) {
  inputs.HashFiles();
  Hasher hasher;
  for (const InputFile& file : inputs.files()) {
    // The index says nothing that the tensor files do not say.
    if (!file.role.ends_with(".index.json")) hasher.Add(file.hash);
  }
  return hasher.Hex();
}

InputSet Checkpoint::Inputs() const {
  InputSet inputs;
  inputs.Add("config.json", folder_ / "config.json");
  if (const auto& index = tensors_->index(); !index.empty()) {
    inputs.Add(index.filename().string(), index);
  }
  for (const auto& path : tensors_->files()) inputs.Add(path.filename().string(), path);
  return inputs;
}

std::unique_ptr<DecoderBlock> BuildBlock(const TensorFile& tensors, const ModelConfig& config,
                                         const Family& family, size_t index,
                                         const WeightFactory& make_weight) {
  auto block = std::make_unique<DecoderBlock>(config, family, index);
  auto norm = [&](const std::string& name) {
    return tensors.Get(LinearName(family, index, name) + ".weight").AsFloats();
  };
  block->attention_norm = norm(family.attention_norm);
  block->mlp_norm = norm(family.mlp_norm);
  for (const LinearGroup& group : family.groups) {
    for (const LinearSpec& linear : group.linears) {
      LinearLayer& layer = block->Linear(linear.name);
      layer.name = LinearName(family, index, linear.name);
      layer.weight = make_weight(layer.name);
      const TensorView* bias = tensors.Find(layer.name + ".bias");
      if (bias != nullptr) layer.bias = bias->AsFloats();
    }
  }
  return block;
}

}  // namespace qualm
