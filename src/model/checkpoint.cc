// Opens a checkpoint: reads its plan from config.json, maps its tensors, and checks that
// every tensor of the plan is there in the right shape. Blocks and weights are then built from it
// by name, and its hash identifies the model in artefacts and results.
#include "model/checkpoint.h"

#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"
#include "model/unread_tensors.h"

namespace qualm {
namespace {

std::string ShapeText(std::span<const size_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += StrCat(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

// Tensors that tools keep codes and scales in. A folder of them may lack the configuration that
// says so.
void RefuseQuantizedTensors(const TensorFile& tensors, const std::filesystem::path& folder) {
  constexpr std::string_view kEndings[] = {".qweight", ".weight_packed", ".weight_scale_inv",
                                           ".SCB", ".quant_state.bitsandbytes__nf4"};
  for (const TensorView& tensor : tensors.tensors()) {
    for (std::string_view ending : kEndings) {
      if (!tensor.name.ends_with(ending)) continue;
      ThrowBadInput(
          folder.string(), "a float checkpoint",
          StrCat("one that another tool has quantized (tensor '", tensor.name.substr(0, 200), "')"),
          "use the float checkpoint that it was made from");
    }
  }
}

}  // namespace

Checkpoint Checkpoint::Open(const ModelSource& source, bool allow_missing_linears) {
  Checkpoint checkpoint;
  checkpoint.source_ = source;
  checkpoint.plan_ = std::make_unique<ModelPlan>(ReadModelPlan(source));
  checkpoint.tensors_ = std::make_unique<TensorFile>(TensorFile::Open(source.folder));
  if (!allow_missing_linears) RefuseQuantizedTensors(*checkpoint.tensors_, source.folder);
  checkpoint.CheckTensors(allow_missing_linears);

  // The tensors of a quantized folder are those of its manifest.
  if (!allow_missing_linears) {
    checkpoint.left_out_ =
        UnreadTensors(*checkpoint.tensors_, *checkpoint.plan_, checkpoint.NeededTensors(), source);
    checkpoint.tensors_->LeaveOut(checkpoint.left_out_);
  }
  return checkpoint;
}

// Any float type will do: weights are converted where they are used.
void Checkpoint::CheckMatrix(const std::string& name, size_t rows, size_t cols) const {
  WeightView weight = tensors_->Get(name).AsWeight();
  if (weight.rows != rows || weight.cols != cols) {
    ThrowBadInput(StrCat(folder().string(), ": ", name), StrCat("shape [", rows, ", ", cols, "]"),
                  StrCat("[", weight.rows, ", ", weight.cols, "]"),
                  "config.json and the tensors do not belong together");
  }
}

void Checkpoint::CheckVector(const std::string& name, size_t size) const {
  const TensorView& tensor = tensors_->Get(name);
  if (tensor.shape != std::vector<size_t>{size} || !IsFloat(tensor.type)) {
    ThrowBadInput(StrCat(folder().string(), ": ", name),
                  StrCat("a float tensor of shape [", size, "]"),
                  StrCat(NameOf(tensor.type), " ", ShapeText(tensor.shape)));
  }
}

void Checkpoint::CheckNorm(const std::string& name, const NormPlan& norm) const {
  CheckVector(name + ".weight", norm.width);
  if (norm.has_bias) CheckVector(name + ".bias", norm.width);
}

// A quantized folder keeps its linear weights under other names, so these may be missing. A bias
// that the file has is used even where the family does not require one.
void Checkpoint::CheckSite(const std::string& name, const LinearSite& site,
                           bool may_be_missing) const {
  if (!may_be_missing || tensors_->Find(name + ".weight") != nullptr) {
    CheckMatrix(name + ".weight", site.out, site.in);
  }
  if (site.requires_bias || tensors_->Find(name + ".bias") != nullptr) {
    CheckVector(name + ".bias", site.out);
  }
}

// Names the first tensor that is missing or has another shape, before any memory is spent on
// weights.
void Checkpoint::CheckTensors(bool allow_missing_linears) const {
  CheckNorm(plan_->final_norm.name, plan_->final_norm);
  for (size_t b = 0; b < plan_->blocks.size(); ++b) {
    for (const NormPlan& norm : NormsOf(plan_->blocks[b])) {
      CheckNorm(plan_->NameIn(b, norm.name), norm);
    }
    for (const LinearSite& site : SitesOf(plan_->blocks[b])) {
      CheckSite(plan_->NameIn(b, site.name), site, allow_missing_linears);
    }
  }

  // Embedding and head come last, through the functions that know which name a shared table has.
  const auto check_table = [&](const WeightView& weight, size_t rows, size_t cols,
                               std::string_view name) {
    if (weight.rows == rows && weight.cols == cols) return;
    ThrowBadInput(StrCat(folder().string(), ": ", name), StrCat("shape [", rows, ", ", cols, "]"),
                  StrCat("[", weight.rows, ", ", weight.cols, "]"));
  };
  check_table(EmbeddingWeight(), plan_->embedding.rows, plan_->embedding.width,
              plan_->embedding.name);
  check_table(HeadWeight(), plan_->head.out, plan_->head.in, plan_->head.name);
  if (plan_->head.requires_bias) CheckVector(plan_->head.name + ".bias", plan_->head.out);
}

std::set<std::string> Checkpoint::NeededTensors() const {
  std::set<std::string> names;
  const auto add = [&](const std::string& layer) {
    names.insert(layer + ".weight");
    names.insert(layer + ".bias");
  };
  const auto add_norm = [&](const std::string& name, const NormPlan& norm) {
    names.insert(name + ".weight");
    if (norm.has_bias) names.insert(name + ".bias");
  };

  add_norm(plan_->final_norm.name, plan_->final_norm);
  for (size_t b = 0; b < plan_->blocks.size(); ++b) {
    for (const NormPlan& norm : NormsOf(plan_->blocks[b])) {
      add_norm(plan_->NameIn(b, norm.name), norm);
    }
    for (const LinearSite& site : SitesOf(plan_->blocks[b])) add(plan_->NameIn(b, site.name));
  }
  names.insert(plan_->embedding.name + ".weight");
  // Tied files often store the table under both names.
  names.insert(plan_->head.name + ".weight");
  if (plan_->head.requires_bias) names.insert(plan_->head.name + ".bias");
  return names;
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
  const std::string& name = plan_->embedding.name;
  // Some files store the table of tied embeddings under the head's name only.
  const bool is_under_head = plan_->tied_embeddings && tensors_->Find(name + ".weight") == nullptr;
  return Weight(is_under_head ? plan_->head.name : name);
}

WeightView Checkpoint::HeadWeight() const {
  return plan_->tied_embeddings ? EmbeddingWeight() : Weight(plan_->head.name);
}

void Checkpoint::ReleaseBlock(size_t block) const {
  const std::string prefix = plan_->NameIn(block, "");
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
    // The index repeats what the tensor files' headers say; a folder may lack it.
    if (!file.role.ends_with(".index.json")) hasher.Add(file.hash);
  }
  return hasher.Hex();
}

InputSet Checkpoint::Inputs() const {
  InputSet inputs;
  inputs.Add("config.json", folder() / "config.json");
  if (const auto& index = tensors_->index(); !index.empty()) {
    inputs.Add(index.filename().string(), index);
  }
  for (const auto& path : tensors_->files()) inputs.Add(path.filename().string(), path);
  AddOverrides(source_, inputs);
  return inputs;
}

std::unique_ptr<DecoderBlock> BuildBlock(const TensorFile& tensors, const ModelPlan& plan,
                                         size_t index, const WeightFactory& make_weight) {
  // The plan says which norms and linear layers there are; `make_weight` decides how a product is
  // computed (dense or packed).
  auto block = std::make_unique<DecoderBlock>(plan.blocks[index], index);
  for (const NormPlan& norm : NormsOf(plan.blocks[index])) {
    const std::string name = plan.NameIn(index, norm.name);
    NormLayer& layer = block->Norm(norm.name);
    layer.weight = tensors.Get(name + ".weight").AsFloats();
    if (norm.has_bias) layer.bias = tensors.Get(name + ".bias").AsFloats();
  }

  for (const LinearSite& site : SitesOf(plan.blocks[index])) {
    LinearLayer& layer = block->Linear(site.name);
    layer.name = plan.NameIn(index, site.name);
    layer.weight = make_weight(layer.name);
    if (const TensorView* bias = tensors.Find(layer.name + ".bias")) layer.bias = bias->AsFloats();
  }
  return block;
}

}  // namespace qualm
