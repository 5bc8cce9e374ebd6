// Loads a model folder, float or quantized, into a decoder: each linear layer gets the product that
// fits how it is stored. The tokenizer is loaded if the folder has one.
#include "model/model.h"

#include <algorithm>
#include <map>
#include <optional>

#include "artefact/store.h"
#include "base/context.h"
#include "base/error.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "io/hash.h"
#include "kernels/activation_weight.h"
#include "kernels/block_weight.h"
#include "kernels/integer_weight.h"
#include "kernels/packed.h"
#include "kernels/transformed_weight.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

// [rows·cols] bfloat16 bits, row by row through one float buffer.
std::vector<uint16_t> RoundedToBf16(const WeightView& weight) {
  std::vector<uint16_t> bits(weight.rows * weight.cols);
  std::vector<float> row(weight.cols);
  const auto* from = static_cast<const std::byte*>(weight.data);
  for (size_t r = 0; r < weight.rows; ++r) {
    ConvertToFloat(weight.type, from + r * weight.cols * SizeOf(weight.type), row.data(),
                   weight.cols);
    ConvertFromFloat(row.data(), DType::kBF16, bits.data() + r * weight.cols, weight.cols);
  }
  return bits;
}

// A product as bfloat16 hardware computes it: weights and inputs rounded to bfloat16, sums in
// float32.
class Bf16Product final : public LinearWeight {
 public:
  explicit Bf16Product(std::unique_ptr<LinearWeight> weight) : weight_(std::move(weight)) {}
  size_t out_features() const override { return weight_->out_features(); }
  size_t in_features() const override { return weight_->in_features(); }
  size_t weight_bytes() const override { return weight_->weight_bytes(); }
  std::string_view format() const override { return "bf16-product"; }
  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    Matrix rounded = Matrix::CopyOf(x);
    for (size_t t = 0; t < rounded.rows(); ++t) {
      for (float& v : rounded.row(t)) v = ToFloat(BFloat16FromFloat(v));
    }
    weight_->Multiply(rounded, y, context);
  }

 private:
  std::unique_ptr<LinearWeight> weight_;
};

std::unique_ptr<LinearWeight> MakeFloatWeight(const WeightView& weight, const LoadOptions& options,
                                              const Context& context) {
  if (!options.compute_in_bf16) return MakeDenseWeight(weight, context);
  if (weight.type == DType::kBF16) {
    return std::make_unique<Bf16Product>(MakeDenseWeight(weight, context));
  }
  std::vector<uint16_t> rounded = RoundedToBf16(weight);
  return std::make_unique<Bf16Product>(
      MakeDenseWeight({rounded.data(), DType::kBF16, weight.rows, weight.cols}, context));
}

const LayerRecord* FindRecord(const Manifest* manifest, const std::string& name) {
  if (manifest == nullptr) return nullptr;
  for (const LayerRecord& record : manifest->layers) {
    if (record.name == name) return &record;
  }
  return nullptr;
}

// A layer as wrappers around its product on float32 weights: inputs are transformed, then rounded,
// then multiplied, in the same order as around packed weights.
std::unique_ptr<LinearWeight> MakeDequantized(const QuantizedLinear& layer,
                                              const Context& context) {
  if (IsIntegerProduct(layer)) {
    return WithTransforms(MakePlainIntegerWeight(layer), layer.transforms);
  }
  const Matrix values = layer.Dequantize();
  std::unique_ptr<LinearWeight> weight =
      MakeDenseWeight({values.data(), DType::kF32, values.rows(), values.cols()}, context);
  if (layer.activations) weight = WithActivations(std::move(weight), layer);
  return WithTransforms(std::move(weight), layer.transforms);
}

// The product of a layer that another tool has quantized.
std::unique_ptr<LinearWeight> MakeQuantized(const QuantizedWeight& weight,
                                            const LoadOptions& options, const Context& context) {
  if (const auto* layer = std::get_if<QuantizedLinear>(&weight)) {
    return options.dequantize ? MakeDequantized(*layer, context)
                              : MakePackedWeight(*layer, context);
  }
  const auto& blocks = std::get<RowBlocks>(weight);
  if (!options.dequantize && !blocks.runs_as_floats) return MakeBlockWeight(blocks);
  const Matrix values = Dequantize(weight);
  return MakeDenseWeight({values.data(), DType::kF32, values.rows(), values.cols()}, context);
}

// The weight of a layer around the blocks, by its name in the plan.
std::unique_ptr<LinearWeight> MakeOuterWeight(const Checkpoint& checkpoint, const std::string& name,
                                              const LoadOptions& options, const Context& context) {
  if (checkpoint.quantized().Find(name) != nullptr) {
    return MakeQuantized(checkpoint.quantized().Read(name), options, context);
  }
  return MakeFloatWeight(checkpoint.Weight(name), options, context);
}

// A table as it is stored, or rounded where the options ask for it.
EmbeddingTable MakeTable(Model& model, const std::string& name, const TableSite& site,
                         const LoadOptions& options) {
  const Checkpoint& checkpoint = *model.checkpoint;
  const float scale = site.scale;
  if (checkpoint.quantized().Find(name) != nullptr) {
    return {{nullptr, DType::kF32, site.rows, site.width},
            scale,
            RowsOf(checkpoint.quantized().Read(name))};
  }
  WeightView weight = checkpoint.Weight(name);
  if (!options.compute_in_bf16 || weight.type == DType::kBF16) return {weight, scale};

  // The model owns the rounded copy, because the table is only a view.
  model.rounded.push_back(std::make_unique<std::vector<uint16_t>>(RoundedToBf16(weight)));
  weight = {model.rounded.back()->data(), DType::kBF16, weight.rows, weight.cols};
  return {weight, scale};
}

LinearLayer MakeFloatLayer(const Checkpoint& checkpoint, const LinearSite& site,
                           const LoadOptions& options, const Context& context) {
  return {site.name, MakeOuterWeight(checkpoint, site.name, options, context),
          checkpoint.BiasOf(site.name)};
}

// What surrounds the blocks stays float.
void LoadSurroundings(Model& model, const LoadOptions& options, const Context& context) {
  const Checkpoint& checkpoint = *model.checkpoint;
  Decoder& decoder = *model.decoder;
  const ModelPlan& plan = decoder.plan;

  decoder.input = LoadInputNorms(checkpoint);
  decoder.input.embedding = MakeTable(model, checkpoint.EmbeddingName(), plan.embedding, options);
  if (plan.positions) {
    decoder.input.positions = MakeTable(model, plan.positions->name, *plan.positions, options);
  }
  if (plan.project_in) {
    decoder.input.project = MakeFloatLayer(checkpoint, *plan.project_in, options, context);
  }

  if (plan.final_norm) {
    decoder.final_norm = LoadNorm(checkpoint.tensors(), *plan.final_norm, plan.final_norm->name);
  }
  if (plan.project_out) {
    decoder.project_out = MakeFloatLayer(checkpoint, *plan.project_out, options, context);
  }
  decoder.head.name = plan.head.name;
  if (checkpoint.quantized().Find(checkpoint.HeadName()) != nullptr && !plan.head_has_unit_rows) {
    decoder.head.weight = MakeOuterWeight(checkpoint, checkpoint.HeadName(), options, context);
  } else {
    Matrix memory;
    decoder.head.weight = MakeFloatWeight(checkpoint.HeadWeight(memory), options, context);
  }
  if (plan.head.requires_bias) decoder.head.bias = checkpoint.BiasOf(plan.head.name);
}

// Checks the hashes of small files (configuration, tokenizer), which decide how tensors are read.
// The tensor files are large; `qualm verify` hashes them.
void CheckSmallFiles(const std::filesystem::path& folder, const Manifest& manifest) {
  for (const FileRecord& file : manifest.files) {
    if (file.name.ends_with(".safetensors")) continue;
    const std::filesystem::path path = folder / file.name;
    if (!std::filesystem::exists(path)) ThrowBadInput(path.string(), "the file", "none");
    if (const std::string hash = HashFile(path); hash != file.hash) {
      ThrowBadInput(path.string(), StrCat("the file with hash ", file.hash), hash,
                    "it was changed after the model was quantized");
    }
  }
}

// A file that decides what the model does and that the manifest does not know: it was put there
// after the model was quantized, and the artefact's hash says nothing of it.
void RefuseAddedFiles(const InputSet& opened, const Manifest& manifest) {
  for (const InputFile& file : opened.files()) {
    const bool is_known =
        file.role == kManifestName || file.path.empty() ||  // the command line's
        std::ranges::find(manifest.files, file.role, &FileRecord::name) != manifest.files.end();
    if (is_known) continue;
    ThrowBadInput(file.path, "only files that the manifest lists", "one that it does not list",
                  "it was added after the model was quantized: remove it, or quantize again");
  }
}

// A journal without a manifest is left by a quantization that was interrupted.
void RefuseUnfinished(const std::filesystem::path& folder) {
  if (HasManifest(folder) || !std::filesystem::exists(folder / kJournalName)) return;
  ThrowBadInput(folder.string(), "a finished model", "an unfinished quantization",
                "run the same 'qualm quantize' command again: it resumes");
}

// What a folder holds besides weights in memory, and the files that were opened for it.
struct OpenedFolder {
  std::optional<Manifest> manifest;
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;  // null if the folder has none
  GenerationConfig generation;
  InputSet inputs;
};

// The manifest first: it says which weights the checkpoint may lack.
OpenedFolder OpenFolder(const ModelSource& source) {
  const std::filesystem::path& folder = source.folder;
  RefuseUnfinished(folder);
  OpenedFolder opened;
  if (HasManifest(folder)) {
    opened.manifest = ReadManifest(folder);
    opened.inputs.Add(kManifestName, folder / kManifestName);
    CheckSmallFiles(folder, *opened.manifest);
  }

  opened.checkpoint = std::make_unique<Checkpoint>(
      Checkpoint::Open(source, /*allow_missing_linears=*/opened.manifest.has_value()));
  if (opened.manifest) CheckLayerRecords(*opened.checkpoint, *opened.manifest);
  opened.inputs.Add(opened.checkpoint->Inputs());

  if (HasTokenizer(folder)) {
    opened.tokenizer = LoadTokenizer(folder);
    opened.inputs.Add(opened.tokenizer->inputs());
  }
  opened.generation = ReadGenerationConfig(source, opened.checkpoint->plan().vocab_size());
  opened.inputs.Add(opened.generation.inputs);
  if (opened.manifest) RefuseAddedFiles(opened.inputs, *opened.manifest);
  return opened;
}

// What another tool's file configures inside the attentions: rotations of heads, rounded caches.
void ConfigureAttention(const Checkpoint& checkpoint, ModelPlan& plan) {
  const QuantizedLayers* layers = checkpoint.quantized().layers();
  if (layers == nullptr) return;
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    for (Branch& branch : plan.blocks[b].branches) {
      auto* attention = std::get_if<AttentionPlan>(&branch.part);
      if (attention == nullptr) continue;
      // The module that the query layer is in.
      const std::string query = plan.NameIn(b, attention->query.name);
      ConfiguredAttention configured = layers->Attention(query.substr(0, query.rfind('.')));
      attention->head_rotation = std::move(configured.rotation);
      attention->head_rotation_side = configured.rotation_side;
      attention->key_rounding = configured.keys;
      attention->value_rounding = configured.values;
    }
    At(plan.NameIn(b, ""), [&] { CheckPlan(plan.blocks[b], plan.hidden_size); });
  }
}

}  // namespace

const Tokenizer& Model::RequireTokenizer() const {
  if (tokenizer == nullptr) {
    ThrowBadInput(folder.string(), "tokenizer.json, tokenizer.model or vocab.json with merges.txt",
                  "none of them", "copy the tokenizer's files into the model's folder");
  }
  return *tokenizer;
}

// The hash of a quantized folder is over the records of its files, so the files must still be
// those.
std::string Model::Hash() const {
  InputSet files = inputs;
  if (!manifest) return files.Hash();

  files.HashFiles();
  for (const FileRecord& record : manifest->files) {
    const InputFile* file = files.Find(record.name);
    if (file == nullptr || file->hash == record.hash) continue;
    ThrowBadInput(file->path, StrCat("the file with hash ", record.hash), file->hash,
                  "it was changed after the model was quantized");
  }
  const std::string hash = manifest->ArtefactHash();
  InputSet changed;
  AddOverrides(source, changed);
  if (changed.files().empty()) return hash;

  // With another configuration, or read in another way, the same artefact is another model.
  Hasher hasher;
  hasher.Add(hash);
  hasher.Add(changed.Hash());
  return hasher.Hex();
}

InputSet ModelFiles(const ModelSource& source) { return OpenFolder(source).inputs; }

// A layer that another tool has quantized, or with a record in the manifest, runs on its packed
// weights, unless `dequantize` asks for float weights that give the same outputs. All other layers
// are dense.
std::unique_ptr<LinearWeight> LoadLinear(const Checkpoint& checkpoint, const Manifest* manifest,
                                         const std::string& name, const LoadOptions& options,
                                         const Context& context) {
  if (checkpoint.quantized().Find(name) != nullptr) {
    return MakeQuantized(checkpoint.quantized().Read(name), options, context);
  }
  const LayerRecord* record = FindRecord(manifest, name);
  if (record == nullptr) return MakeFloatWeight(checkpoint.Weight(name), options, context);
  const TensorFile& tensors = checkpoint.tensors().file();
  if (!options.dequantize) {
    std::optional<PackedLinear> packed = ReadPackedLinear(tensors, *record);
    if (packed) {
      if (checkpoint.source().read.weights_only) packed->layer.activations.reset();
      return MakePackedWeight(*packed, context);
    }
  }

  // Float weights, or groups of different widths, are made from codes one in a byte.
  QuantizedLinear layer = ReadQuantizedLinear(tensors, *record);
  if (checkpoint.source().read.weights_only) layer.activations.reset();
  return options.dequantize ? MakeDequantized(layer, context) : MakePackedWeight(layer, context);
}

// Every record must belong to a site of the plan and have its shape. Sites without a record are
// float layers, whose tensors must then exist.
void CheckLayerRecords(const Checkpoint& checkpoint, const Manifest& manifest) {
  std::map<std::string_view, const LayerRecord*> records;
  for (const LayerRecord& record : manifest.layers) {
    if (records.emplace(record.name, &record).second) continue;
    ThrowBadInput(kManifestName, "one record of each layer", StrCat("two of ", record.name));
  }

  // Sites take their records out of the map; what remains belongs to no site.
  for (size_t b = 0; b < checkpoint.plan().blocks.size(); ++b) {
    for (const LinearSite& site : SitesOf(checkpoint.plan().blocks[b])) {
      const std::string name = checkpoint.plan().NameIn(b, site.name);
      const auto found = records.find(name);
      if (found == records.end()) {
        (void)checkpoint.Weight(name);  // of the right shape, or the checkpoint would be refused
        continue;
      }
      const LayerRecord& record = *found->second;
      records.erase(found);
      if (record.out_features == site.out && record.in_features == site.in) continue;
      ThrowBadInput(StrCat(kManifestName, ": ", name),
                    StrCat("shape [", site.out, ", ", site.in, "]"),
                    StrCat("[", record.out_features, ", ", record.in_features, "]"),
                    "config.json and the manifest do not belong together");
    }
  }

  if (records.empty()) return;
  ThrowBadInput(kManifestName, "records of the model's linear layers only", records.begin()->first);
}

Model LoadModel(const ModelSource& source, const LoadOptions& options, const Context& context) {
  OpenedFolder opened = OpenFolder(source);
  Model model;
  model.folder = source.folder;
  model.source = source;
  model.manifest = std::move(opened.manifest);
  model.checkpoint = std::move(opened.checkpoint);
  model.tokenizer = std::move(opened.tokenizer);
  model.inputs = std::move(opened.inputs);
  const Manifest* manifest = model.manifest ? &*model.manifest : nullptr;

  model.generation = std::move(opened.generation);
  for (const std::string& warning : model.generation.warnings) context.progress.Warn(warning);
  if (const QuantizedLayers* layers = model.checkpoint->quantized().layers()) {
    for (const std::string& warning : layers->description().warnings) {
      context.progress.Warn(warning);
    }
  }
  if (model.tokenizer != nullptr) {
    for (const std::string& warning : model.tokenizer->warnings()) context.progress.Warn(warning);
  }

  // Blocks are loaded one at a time, and the file's pages of a block are released once its weights
  // are packed: memory holds the model about once.
  const Checkpoint& checkpoint = *model.checkpoint;
  model.decoder = std::make_unique<Decoder>();
  Decoder& decoder = *model.decoder;
  decoder.plan = checkpoint.plan();
  if (manifest != nullptr && !source.read.weights_only) {
    decoder.plan.kv_cache = manifest->kv_cache;
  }
  ConfigureAttention(checkpoint, decoder.plan);
  for (size_t b = 0; b < decoder.plan.blocks.size() && !options.without_blocks; ++b) {
    decoder.blocks.push_back(
        BuildBlock(checkpoint.tensors(), decoder.plan, b, [&](const std::string& name) {
          return LoadLinear(checkpoint, manifest, name, options, context);
        }));
    checkpoint.ReleaseBlock(b);
  }

  LoadSurroundings(model, options, context);
  return model;
}

}  // namespace qualm
