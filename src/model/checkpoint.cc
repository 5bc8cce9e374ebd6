// Opens a checkpoint: reads its plan from config.json, maps its tensors, and checks that
// every tensor of the plan is there in the right shape. Blocks and weights are then built from it
// by name, and its hash identifies the model in artefacts and results.
#include "model/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "formats/gguf_model.h"
#include "formats/peft_adapter.h"
#include "io/hash.h"
#include "model/unread_tensors.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

std::string ShapeText(std::span<const size_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += StrCat(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

// Tensors that tools keep codes and scales in. A folder of them may lack the configuration that
// says so.
void RefuseQuantizedTensors(const ModelTensors& tensors, const std::filesystem::path& folder) {
  constexpr std::string_view kEndings[] = {".qweight", ".weight_packed", ".weight_scale_inv",
                                           ".SCB", ".quant_state.bitsandbytes__nf4"};
  for (const std::string& name : tensors.names()) {
    for (std::string_view ending : kEndings) {
      if (!name.ends_with(ending)) continue;
      ThrowBadInput(
          folder.string(), "a float checkpoint",
          StrCat("one that another tool has quantized (tensor '", name.substr(0, 200), "')"),
          "use the float checkpoint that it was made from");
    }
  }
}

}  // namespace

Checkpoint Checkpoint::Open(const ModelSource& source, bool allow_missing_linears) {
  Checkpoint checkpoint;
  checkpoint.source_ = source;
  checkpoint.plan_ = std::make_unique<ModelPlan>(ReadModelPlan(source));
  const bool is_gguf = IsGgufFile(source.folder);
  const auto gguf = is_gguf ? GgufModel::Open(source.folder) : nullptr;
  auto file = std::make_shared<const TensorFile>(is_gguf ? GgufFloatTensors(gguf)
                                                         : TensorFile::Open(source.folder));

  // What another tool has quantized comes first: its codes are not tensors of the model.
  std::unique_ptr<QuantizedLayers> layers;
  if (is_gguf) {
    layers = OpenGgufLayers(gguf, source.read);
  } else if (!allow_missing_linears) {
    layers = OpenQuantizedLayers(*file, source.folder, ReadModelConfig(source), source.read);
  }
  if (!source.adapter.empty()) {
    if (allow_missing_linears) {
      ThrowBadInput(source.folder.string(), "a float model, or one of another tool, with --adapter",
                    "a folder of qualm", "convert it to a float checkpoint first");
    }
    auto adapter = std::make_shared<const PeftAdapter>(PeftAdapter::Open(source.adapter));
    layers = At(source.adapter.string(), [&] {
      return MergeAdapter(std::move(adapter), std::move(layers), *file, source.read);
    });
  }
  std::set<std::string> not_weights;
  if (layers != nullptr) {
    for (const StoredLayer& layer : layers->layers()) {
      not_weights.insert(layer.tensors.begin(), layer.tensors.end());
    }
    not_weights.insert(layers->other_tensors().begin(), layers->other_tensors().end());
  }

  // The plan knows which stored tensors hold which layers.
  At(source.folder.string(), [&] {
    checkpoint.tensors_ =
        std::make_unique<ModelTensors>(std::move(file), *checkpoint.plan_, not_weights);
    checkpoint.quantized_ = std::make_unique<QuantizedSites>(
        std::move(layers), *checkpoint.tensors_, *checkpoint.plan_);
  });
  if (!allow_missing_linears) RefuseQuantizedTensors(*checkpoint.tensors_, source.folder);
  checkpoint.CheckTensors(allow_missing_linears);

  // The tensors of a quantized folder are those of its manifest.
  if (!allow_missing_linears) {
    std::vector<std::string> names = checkpoint.tensors_->all_names();
    for (const std::string& name : checkpoint.quantized_->unused()) {
      names.push_back(name + ".weight");
    }
    checkpoint.tensors_->LeaveOut(
        UnreadTensors(names, *checkpoint.plan_, checkpoint.NeededTensors(), source));
  }
  return checkpoint;
}

// Any float type will do: weights are converted where they are used.
void Checkpoint::CheckMatrix(const std::string& name, size_t rows, size_t cols) const {
  const TensorView* tensor = tensors_->Header(name);
  if (tensor == nullptr) tensor = &tensors_->Get(name);  // which says what is missing
  if (tensor->shape == std::vector<size_t>{rows, cols} && IsFloat(tensor->type)) return;
  ThrowBadInput(StrCat(folder().string(), ": ", name),
                StrCat("a float tensor of shape [", rows, ", ", cols, "]"),
                StrCat(NameOf(tensor->type), " ", ShapeText(tensor->shape)),
                "config.json and the tensors do not belong together");
}

void Checkpoint::CheckVector(const std::string& name, size_t size) const {
  const TensorView* tensor = tensors_->Header(name);
  if (tensor == nullptr) tensor = &tensors_->Get(name);
  if (tensor->shape == std::vector<size_t>{size} && IsFloat(tensor->type)) return;
  ThrowBadInput(StrCat(folder().string(), ": ", name),
                StrCat("a float tensor of shape [", size, "]"),
                StrCat(NameOf(tensor->type), " ", ShapeText(tensor->shape)));
}

// A norm with weights for each group may be stored as a matrix.
void Checkpoint::CheckNorm(const std::string& name, const NormPlan& norm) const {
  const auto check = [&](const std::string& tensor) {
    const TensorView* header = tensors_->Header(tensor);
    if (norm.groups > 1 && header != nullptr && header->shape.size() == 2) {
      CheckMatrix(tensor, norm.groups, norm.width);
    } else {
      CheckVector(tensor, norm.weights());
    }
  };
  if (norm.has_weight) check(name + ".weight");
  if (norm.has_bias) check(name + ".bias");
}

// A quantized folder keeps its linear weights under other names, so these may be missing. A bias
// that the file has is used even where the family does not require one.
void Checkpoint::CheckSite(const std::string& name, const LinearSite& site,
                           bool may_be_missing) const {
  const bool is_quantized = quantized_->Find(name) != nullptr;
  if (!is_quantized && (!may_be_missing || tensors_->Header(name + ".weight") != nullptr)) {
    CheckMatrix(name + ".weight", site.out, site.in);
  }
  if (site.requires_bias || tensors_->Header(name + ".bias") != nullptr) {
    CheckVector(name + ".bias", site.out);
  }
}

// Names the first tensor that is missing or has another shape, before any memory is spent on
// weights.
void Checkpoint::CheckTensors(bool allow_missing_linears) const {
  for (const std::optional<NormPlan>* norm : {&plan_->embedding_norm, &plan_->final_norm}) {
    if (*norm) CheckNorm((*norm)->name, **norm);
  }
  for (size_t b = 0; b < plan_->blocks.size(); ++b) {
    const BlockPlan& block = plan_->blocks[b];
    for (const NormPlan& norm : NormsOf(block)) CheckNorm(plan_->NameIn(b, norm.name), norm);
    for (const NormPlan& norm : InnerNormsOf(block)) CheckNorm(plan_->NameIn(b, norm.name), norm);
    for (const LinearSite& site : SitesOf(block)) {
      CheckSite(plan_->NameIn(b, site.name), site, allow_missing_linears);
    }
  }
  CheckTables();
}

// Embedding and head come through the functions that know which name a shared table has.
void Checkpoint::CheckTables() const {
  const auto check_table = [&](const WeightView& weight, size_t rows, size_t cols,
                               std::string_view name) {
    if (weight.rows == rows && weight.cols == cols) return;
    ThrowBadInput(StrCat(folder().string(), ": ", name), StrCat("shape [", rows, ", ", cols, "]"),
                  StrCat("[", weight.rows, ", ", weight.cols, "]"));
  };
  // Those that are quantized have been checked.
  if (quantized_->Find(EmbeddingName()) == nullptr) {
    check_table(EmbeddingWeight(), plan_->embedding.rows, plan_->embedding.width,
                plan_->embedding.name);
  }
  if (quantized_->Find(HeadName()) == nullptr) {
    check_table(StoredHead(), plan_->head.out, plan_->head.in, plan_->head.name);
  }
  if (plan_->head.requires_bias) CheckVector(plan_->head.name + ".bias", plan_->head.out);

  if (const auto& table = plan_->positions; table && quantized_->Find(table->name) == nullptr) {
    CheckMatrix(table->name + ".weight", table->rows, table->width);
  }
  for (const std::optional<LinearSite>* site : {&plan_->project_in, &plan_->project_out}) {
    if (*site) CheckSite((*site)->name, **site, /*may_be_missing=*/false);
  }
}

// Under the names of the plan. A tensor that the plan says is not there is none of them, so that
// it is not passed over.
std::set<std::string> Checkpoint::NeededTensors() const {
  std::set<std::string> names;
  const auto add_norm = [&](const NormPlan& norm, const std::string& name) {
    if (norm.has_weight) names.insert(name + ".weight");
    if (norm.has_bias) names.insert(name + ".bias");
  };
  const auto add_site = [&](const std::string& name) {
    names.insert(name + ".weight");
    names.insert(name + ".bias");
  };

  // A head that is tied may be stored once more; what counts is the embedding.
  names.insert(plan_->embedding.name + ".weight");
  names.insert(plan_->head.name + ".weight");
  if (plan_->head.requires_bias) names.insert(plan_->head.name + ".bias");
  if (plan_->positions) names.insert(plan_->positions->name + ".weight");
  for (const std::optional<NormPlan>* norm : {&plan_->embedding_norm, &plan_->final_norm}) {
    if (*norm) add_norm(**norm, (*norm)->name);
  }
  for (const std::optional<LinearSite>* site : {&plan_->project_in, &plan_->project_out}) {
    if (*site) add_site((*site)->name);
  }

  for (size_t b = 0; b < plan_->blocks.size(); ++b) {
    const BlockPlan& block = plan_->blocks[b];
    for (const std::vector<NormPlan>& norms : {NormsOf(block), InnerNormsOf(block)}) {
      for (const NormPlan& norm : norms) add_norm(norm, plan_->NameIn(b, norm.name));
    }
    for (const LinearSite& site : SitesOf(block)) add_site(plan_->NameIn(b, site.name));
  }
  return names;
}

WeightView Checkpoint::Weight(std::string_view layer_name) const {
  if (quantized_->Find(layer_name) != nullptr) {
    ThrowBadInput(StrCat(folder().string(), ": ", layer_name), "a float weight",
                  StrCat("one that ", quantized_->layers()->description().name, " has quantized"),
                  "make the float checkpoint of it: qualm convert MODEL --to hf");
  }
  return tensors_->Get(StrCat(layer_name, ".weight")).AsWeight();
}

uint64_t Checkpoint::WeightBytes(std::string_view layer_name) const {
  if (const QuantizedSites::Site* site = quantized_->Find(layer_name)) return site->bytes;
  return tensors_->BytesOf(StrCat(layer_name, ".weight"));
}

std::vector<float> Checkpoint::BiasOf(std::string_view layer_name) const {
  const TensorView* bias = tensors_->Find(StrCat(layer_name, ".bias"));
  return bias == nullptr ? std::vector<float>{} : bias->AsFloats();
}

std::vector<float> Checkpoint::NormWeight(const NormPlan& norm, std::string_view name) const {
  return LoadNorm(*tensors_, norm, name).weight;
}

std::vector<float> Checkpoint::NormBias(const NormPlan& norm, std::string_view name) const {
  return LoadNorm(*tensors_, norm, name).bias;
}

// Some files store the table of tied embeddings under the head's name only.
const std::string& Checkpoint::EmbeddingName() const {
  const std::string& name = plan_->embedding.name;
  const bool is_absent =
      tensors_->Header(name + ".weight") == nullptr && quantized_->Find(name) == nullptr;
  return plan_->tied_embeddings && is_absent ? plan_->head.name : name;
}

const std::string& Checkpoint::HeadName() const {
  return plan_->tied_embeddings ? EmbeddingName() : plan_->head.name;
}

WeightView Checkpoint::EmbeddingWeight() const { return Weight(EmbeddingName()); }

WeightView Checkpoint::StoredHead() const { return Weight(HeadName()); }

uint64_t Checkpoint::HeadBytes() const {
  if (const QuantizedSites::Site* site = quantized_->Find(HeadName())) return site->bytes;
  return StoredHead().size_bytes();
}

// The division by a length of zero is left out, as the published code bounds the length from below.
WeightView Checkpoint::HeadWeight(Matrix& memory) const {
  const bool is_quantized = quantized_->Find(HeadName()) != nullptr;
  if (!is_quantized && !plan_->head_has_unit_rows) return StoredHead();
  memory = is_quantized ? Dequantize(quantized_->Read(HeadName())) : ToMatrix(StoredHead());
  if (!plan_->head_has_unit_rows) {
    return {memory.data(), DType::kF32, memory.rows(), memory.cols()};
  }
  for (size_t r = 0; r < memory.rows(); ++r) {
    double squares = 0;
    for (const float v : memory.row(r)) squares += double{v} * v;
    const double length = std::max(std::sqrt(squares), 1e-12);
    for (float& v : memory.row(r)) v = static_cast<float>(v / length);
  }
  return {memory.data(), DType::kF32, memory.rows(), memory.cols()};
}

void Checkpoint::ReleaseBlock(size_t block) const {
  const std::string prefix = plan_->NameIn(block, "");
  tensors_->Release(prefix);
  for (auto at = quantized_->sites().lower_bound(prefix);
       at != quantized_->sites().end() && at->first.starts_with(prefix); ++at) {
    for (const std::string& tensor : at->second.stored->tensors) {
      tensors_->file().Release(tensors_->file().Get(tensor));
    }
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
  const bool is_gguf = tensors_->file().container() == "gguf";
  if (!is_gguf) inputs.Add("config.json", folder() / "config.json");
  if (!is_gguf && quantized_->layers() != nullptr) {
    const std::filesystem::path description =
        QuantizationFileOf(folder(), ReadJsonFile(folder() / "config.json"));
    if (!description.empty()) inputs.Add(description.filename().string(), description);
  }
  if (const auto& index = tensors_->file().index(); !index.empty()) {
    inputs.Add(index.filename().string(), index);
  }
  for (const auto& path : tensors_->file().files()) inputs.Add(path.filename().string(), path);
  AddOverrides(source_, inputs);
  return inputs;
}

NormLayer LoadNorm(const ModelTensors& tensors, const NormPlan& norm, std::string_view name) {
  // A norm with weights for each group may be stored as a matrix.
  const auto floats = [&](const char* ending) {
    TensorView view = tensors.Get(StrCat(name, ending));
    if (norm.groups > 1) view.shape = {norm.weights()};
    return view.AsFloats();
  };
  NormLayer layer{norm, {}, {}};
  if (norm.has_weight) layer.weight = floats(".weight");
  if (norm.has_bias) layer.bias = floats(".bias");
  return layer;
}

InputLayers LoadInputNorms(const Checkpoint& checkpoint) {
  const ModelPlan& plan = checkpoint.plan();
  InputLayers input;
  if (const auto& norm = plan.embedding_norm) {
    input.norm = LoadNorm(checkpoint.tensors(), *norm, norm->name);
  }
  input.position_offset = plan.positions ? plan.position_offset : 0;
  return input;
}

InputLayers LoadInput(const Checkpoint& checkpoint, const Context& context) {
  const ModelPlan& plan = checkpoint.plan();
  InputLayers input = LoadInputNorms(checkpoint);
  input.embedding = {checkpoint.EmbeddingWeight(), plan.embedding.scale};
  if (const auto& site = plan.project_in) {
    input.project = LinearLayer{site->name, MakeDenseWeight(checkpoint.Weight(site->name), context),
                                checkpoint.BiasOf(site->name)};
  }
  if (const auto& table = plan.positions) {
    input.positions = EmbeddingTable{checkpoint.Weight(table->name), table->scale};
  }
  return input;
}

std::unique_ptr<DecoderBlock> BuildBlock(const ModelTensors& tensors, const ModelPlan& plan,
                                         size_t index, const WeightFactory& make_weight) {
  // The plan says which norms and linear layers there are; `make_weight` decides how a product is
  // computed (dense or packed).
  const BlockPlan& block_plan = plan.blocks[index];
  auto block = std::make_unique<DecoderBlock>(block_plan, index);
  for (const std::vector<NormPlan>& norms : {NormsOf(block_plan), InnerNormsOf(block_plan)}) {
    for (const NormPlan& norm : norms) {
      block->Norm(norm.name) = LoadNorm(tensors, norm, plan.NameIn(index, norm.name));
    }
  }

  for (const LinearSite& site : SitesOf(block_plan)) {
    LinearLayer& layer = block->Linear(site.name);
    layer.name = plan.NameIn(index, site.name);
    layer.weight = make_weight(layer.name);
    if (const TensorView* bias = tensors.Find(layer.name + ".bias")) layer.bias = bias->AsFloats();
  }
  return block;
}

}  // namespace qualm
