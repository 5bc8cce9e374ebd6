// Collects what goes into the checkpoint, cuts it into shards, and writes them one after the other:
// at most one layer's weight is in memory.
#include "formats/hf_export.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "artefact/manifest.h"
#include "artefact/store.h"
#include "base/context.h"
#include "base/error_place.h"
#include "base/file.h"
#include "base/strings.h"
#include "formats/gguf_model.h"
#include "formats/peft_adapter.h"
#include "io/hash.h"
#include "io/safetensors.h"
#include "tokenize/gguf_tokenizer.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRunFile = "convert.json.part";  // while a run is not finished

// Where quantized layers come from: another tool's file, or a folder of our own.
class LayerSource {
 public:
  virtual ~LayerSource() = default;
  virtual QuantizedWeight Read(size_t layer) const = 0;
};

class ForeignSource final : public LayerSource {
 public:
  explicit ForeignSource(std::unique_ptr<QuantizedLayers> layers) : layers_(std::move(layers)) {}
  QuantizedWeight Read(size_t layer) const override {
    return layers_->Read(layers_->layers()[layer]);
  }

 private:
  std::unique_ptr<QuantizedLayers> layers_;
};

class OwnSource final : public LayerSource {
 public:
  OwnSource(const TensorFile& file, std::vector<LayerRecord> records)
      : file_(file), records_(std::move(records)) {}
  QuantizedWeight Read(size_t layer) const override {
    return ReadQuantizedLinear(file_, records_[layer]);
  }

 private:
  const TensorFile& file_;
  std::vector<LayerRecord> records_;
};

// A tensor that is written: a stored one as it is, or layers side by side.
struct OutTensor {
  std::string name;
  DType type = DType::kF32;
  std::vector<size_t> shape;
  const TensorView* stored = nullptr;
  std::vector<size_t> layers;  // one, or all experts of a fused tensor
  bool is_transposed = false;  // [in, out], as gpt-oss keeps its experts

  uint64_t bytes() const {
    uint64_t count = SizeOf(type);
    for (const size_t extent : shape) count *= extent;
    return count;
  }
};

struct Shard {
  std::string name;
  std::vector<OutTensor> tensors;
};

// Everything that the run needs to know, opened once.
struct Job {
  HfExportPlan plan;
  std::shared_ptr<const GgufModel> gguf;
  std::unique_ptr<TensorFile> file;
  std::unique_ptr<LayerSource> source;
  Json config;
  std::vector<Shard> shards;
  std::vector<fs::path> copied;  // small files, copied as they are
};

// Whether the file says how the model is quantized, or holds its tensors.
bool IsReplaced(const std::string& name) {
  constexpr std::array<std::string_view, 8> kNames = {
      "config.json",          "quantize_config.json",
      "quant_config.json",    "quantization_config.json",
      "hf_quant_config.json", kManifestName,
      kJournalName,           "recipe.yaml"};
  constexpr std::array<std::string_view, 9> kEndings = {
      ".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json", ".h5", ".onnx", ".msgpack"};
  return std::ranges::find(kNames, name) != kNames.end() ||
         std::ranges::any_of(kEndings,
                             [&](std::string_view ending) { return name.ends_with(ending); });
}

void CollectFiles(const fs::path& folder, Job& job) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && !IsReplaced(name)) job.copied.push_back(entry.path());
  }
  std::ranges::sort(job.copied);
}

// Layers of the module BASE.EXPERT.NAME that gpt-oss keeps in one tensor BASE.NAME.
bool IsFusedExpert(const FormatDescription& description) { return description.name == "mxfp4"; }

void AddLayer(const HfExportOptions& options, const std::string& module, size_t index, size_t out,
              size_t in, DType value_type, bool is_fused,
              std::map<std::string, OutTensor>& tensors) {
  const DType type = options.dtype.value_or(value_type);
  if (!is_fused) {
    OutTensor tensor;
    tensor.name = module + ".weight";
    tensor.type = type;
    tensor.shape = {out, in};
    tensor.layers = {index};
    tensors.emplace(tensor.name, std::move(tensor));
    return;
  }

  // "experts.3.down_proj" belongs to "experts.down_proj".
  const size_t last = module.rfind('.'), number = module.rfind('.', last - 1);
  const std::string name = module.substr(0, number) + module.substr(last);
  const size_t expert = std::stoul(module.substr(number + 1, last - number - 1));
  OutTensor& tensor = tensors[name];
  tensor.name = name;
  tensor.type = type;
  tensor.is_transposed = true;
  tensor.layers.resize(std::max(tensor.layers.size(), expert + 1));
  tensor.layers[expert] = index;
  tensor.shape = {tensor.layers.size(), in, out};
}

// Names of the tensors that quantized layers are stored in.
std::set<std::string> AddForeign(const HfExportOptions& options, Job& job,
                                 std::unique_ptr<QuantizedLayers> layers,
                                 std::map<std::string, OutTensor>& tensors) {
  job.plan.description = layers->description();
  job.plan.layers = layers->layers().size();
  std::set<std::string> used(layers->other_tensors().begin(), layers->other_tensors().end());
  if (!used.empty()) {
    job.plan.warnings.push_back(
        StrCat(used.size(), " tensors of caches, activations or rotations are left out"));
  }
  for (size_t i = 0; i < layers->layers().size(); ++i) {
    const StoredLayer& layer = layers->layers()[i];
    used.insert(layer.tensors.begin(), layer.tensors.end());
    AddLayer(options, layer.name, i, layer.out, layer.in,
             options.read.float32_weights ? DType::kF32 : layer.value_type,
             IsFusedExpert(job.plan.description), tensors);
  }
  job.source = std::make_unique<ForeignSource>(std::move(layers));
  return used;
}

// A folder of our own. What is done to activations has no place in a float checkpoint.
std::set<std::string> AddOwn(const HfExportOptions& options, Job& job,
                             std::map<std::string, OutTensor>& tensors) {
  Manifest manifest = ReadManifest(options.model);
  job.plan.description.name = "qualm";
  job.plan.description.variant = manifest.recipe_name;
  job.plan.layers = manifest.layers.size();
  std::set<std::string> used;
  bool rounds_inputs = manifest.kv_cache.has_value();
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    const LayerRecord& record = manifest.layers[i];
    if (!record.transforms.empty()) {
      ThrowBadInput(record.name, "a layer without online transforms",
                    StrCat(record.transforms.size(), " of them"),
                    "a float checkpoint has no place for what happens to the layer's inputs");
    }
    rounds_inputs = rounds_inputs || record.activations.has_value();
    AddLayer(options, record.name, i, record.out_features, record.in_features, DType::kF32,
             /*is_fused=*/false, tensors);
    const std::string prefix = record.name + ".";
    for (const TensorView& tensor : job.file->tensors()) {
      if (tensor.name.starts_with(prefix) && tensor.name != prefix + "bias") {
        used.insert(tensor.name);
      }
    }
  }
  if (rounds_inputs) {
    job.plan.warnings.push_back("the rounding of activations and caches is left out");
  }
  job.source = std::make_unique<OwnSource>(*job.file, std::move(manifest.layers));
  return used;
}

// Tensors in the order of their names, as many in a shard as fit.
void CutIntoShards(const HfExportOptions& options, std::map<std::string, OutTensor> tensors,
                   Job& job) {
  uint64_t bytes = 0;
  for (auto& [name, tensor] : tensors) {
    const uint64_t size = tensor.bytes();
    if (job.shards.empty() || (bytes > 0 && bytes + size > options.shard_bytes)) {
      job.shards.emplace_back();
      bytes = 0;
    }
    bytes += size;
    job.plan.bytes += size;
    ++job.plan.tensors;
    job.shards.back().tensors.push_back(std::move(tensor));
  }
  const auto padded = [](size_t number) {
    const std::string digits = StrCat(number);
    return std::string(5 - std::min<size_t>(5, digits.size()), '0') + digits;
  };
  for (size_t i = 0; i < job.shards.size(); ++i) {
    job.shards[i].name = job.shards.size() == 1 ? "model.safetensors"
                                                : StrCat("model-", padded(i + 1), "-of-",
                                                         padded(job.shards.size()), ".safetensors");
    job.plan.shards.push_back(job.shards[i].name);
  }
}

// What is converted: the model, and an adapter that is merged into it.
struct Origin {
  fs::path model;
  std::shared_ptr<const PeftAdapter> adapter;  // null: none
};

Origin OriginOf(const HfExportOptions& options) {
  if (!PeftAdapter::IsOne(options.model)) {
    if (options.base.empty()) return {options.model, nullptr};
    ThrowBadInput("--base", "an adapter of PEFT to merge into it", options.model.string());
  }
  auto adapter = std::make_shared<const PeftAdapter>(PeftAdapter::Open(options.model));
  return {BaseOfAdapter(*adapter, options.model, options.base), adapter};
}

Job Prepare(const HfExportOptions& options) {
  Job job;
  const Origin origin = OriginOf(options);
  const auto merged = [&](std::unique_ptr<QuantizedLayers> layers) {
    if (origin.adapter == nullptr) return layers;
    return At(options.model.string(), [&] {
      return MergeAdapter(origin.adapter, std::move(layers), *job.file, options.read);
    });
  };
  std::map<std::string, OutTensor> tensors;
  std::set<std::string> used;
  if (IsGgufFile(origin.model)) {
    job.gguf = GgufModel::Open(origin.model);
    job.file = std::make_unique<TensorFile>(GgufFloatTensors(job.gguf));
    job.config = job.gguf->config();
    used = AddForeign(options, job, merged(OpenGgufLayers(job.gguf, options.read)), tensors);
  } else {
    job.config = ReadJsonFile(origin.model / "config.json");
    job.file = std::make_unique<TensorFile>(TensorFile::Open(origin.model));
    if (HasManifest(origin.model)) {
      if (origin.adapter != nullptr) {
        ThrowBadInput(origin.model.string(), "a float model, or one of another tool, as the base",
                      "a folder of qualm", "convert it to a float checkpoint first");
      }
      used = AddOwn(options, job, tensors);
    } else {
      auto layers = merged(OpenQuantizedLayers(*job.file, origin.model, job.config, options.read));
      if (layers == nullptr) {
        ThrowBadInput(origin.model.string(), "a quantized model", "a float checkpoint",
                      "there is nothing to dequantize");
      }
      used = AddForeign(options, job, std::move(layers), tensors);
    }
    CollectFiles(origin.model, job);
  }
  for (const char* key : {"quantization_config", "compression_config"}) job.config.erase(key);

  // What is not quantized stays as it is.
  for (const TensorView& stored : job.file->tensors()) {
    if (used.contains(stored.name)) continue;
    OutTensor tensor;
    tensor.name = stored.name;
    tensor.type = stored.type;
    tensor.shape = stored.shape;
    tensor.stored = &stored;
    if (!tensors.emplace(tensor.name, tensor).second) {
      ThrowBadInput(stored.name, "one tensor of this name",
                    "a float one next to the quantized one");
    }
  }
  CutIntoShards(options, std::move(tensors), job);
  return job;
}

// One tensor's bytes, made row by row on all threads.
void WriteTensor(const OutTensor& tensor, const LayerSource& source, const Context& context,
                 AtomicFile& file) {
  if (tensor.stored != nullptr) {
    file.Write(tensor.stored->bytes.data(), tensor.stored->bytes.size());
    return;
  }
  const size_t item = SizeOf(tensor.type);
  for (const size_t layer : tensor.layers) {
    const QuantizedWeight weight = source.Read(layer);
    const std::pair<size_t, size_t> shape = ShapeOf(weight);
    const size_t rows = shape.first, width = shape.second;
    std::vector<std::byte> bytes(rows * width * item);
    context.pool.ParallelFor(rows, [&](size_t row) {
      std::vector<float> values(width);
      if (const auto* linear = std::get_if<QuantizedLinear>(&weight)) {
        linear->DequantizeRow(row, values);
      } else {
        std::get<RowBlocks>(weight).decoder->Decode(row, 0, values);
      }
      if (!tensor.is_transposed) {
        ConvertFromFloat(values.data(), tensor.type, bytes.data() + row * width * item, width);
        return;
      }
      for (size_t c = 0; c < width; ++c) {
        ConvertFromFloat(&values[c], tensor.type, bytes.data() + (c * rows + row) * item, 1);
      }
    });
    file.Write(bytes.data(), bytes.size());
  }
}

void WriteShard(const fs::path& path, const Shard& shard, const LayerSource& source,
                const Context& context) {
  std::vector<TensorToWrite> headers;
  for (const OutTensor& tensor : shard.tensors) {
    headers.push_back({tensor.name, tensor.type, tensor.shape, {}});
  }
  AtomicFile file(path);
  file.Write(SafetensorsHeader(headers, {{"format", "pt"}}));
  for (const OutTensor& tensor : shard.tensors) {
    At(tensor.name, [&] { WriteTensor(tensor, source, context, file); });
  }
  file.Commit();
}

// What the result depends on: a run with another key may not take up this one's shards.
std::string RunKey(const HfExportOptions& options, const Job& job) {
  Hasher hasher;
  for (const fs::path& file : job.file->files()) {
    hasher.Add(file.filename().string());
    hasher.Add(StrCat(fs::file_size(file)));
    hasher.Add(StrCat(fs::last_write_time(file).time_since_epoch().count()));
  }
  hasher.Add(job.config.dump());
  hasher.Add(options.dtype ? NameOf(*options.dtype) : "library");
  hasher.Add(NameOfEnum(options.read.gptq_zeros));
  hasher.Add(options.read.float32_weights ? "float32" : "");
  if (PeftAdapter::IsOne(options.model)) {
    hasher.Add(PeftAdapter::InputsOf(options.model).Hash());
  }
  for (const Shard& shard : job.shards) hasher.Add(StrCat(shard.name, " ", shard.tensors.size()));
  return hasher.Hex();
}

// The folder is new, empty, or holds a run of the same key.
void PrepareFolder(const fs::path& out, const std::string& key) {
  std::error_code error;
  fs::create_directories(out, error);
  if (error) ThrowFailed(out.string(), StrCat("cannot be made: ", error.message()));
  const fs::path run = out / kRunFile;
  if (fs::exists(run)) {
    const Json json = ReadJsonFile(run);
    if (json.is_object() && json.contains("key") && json["key"] == key) return;
    ThrowBadInput(out.string(), "an unfinished run of the same conversion", "one of another",
                  "remove the folder, or give another one");
  }
  if (!fs::is_empty(out)) {
    ThrowBadInput(out.string(), "a new or empty folder", "one with files in it");
  }
  WriteJsonFile(run, {{"key", key}});
}

void WriteIndex(const fs::path& out, const Job& job) {
  if (job.shards.size() < 2) return;
  Json map = Json::object();
  for (const Shard& shard : job.shards) {
    for (const OutTensor& tensor : shard.tensors) map[tensor.name] = shard.name;
  }
  WriteJsonFile(out / "model.safetensors.index.json",
                {{"metadata", {{"total_size", job.plan.bytes}}}, {"weight_map", map}});
}

// The files next to the tensors.
void WriteRest(const HfExportOptions& options, const Job& job) {
  WriteIndex(options.out, job);
  for (const fs::path& file : job.copied) {
    WriteFileAtomically(options.out / file.filename(), ReadFile(file));
  }
  if (job.gguf != nullptr && HasGgufTokenizer(job.gguf->file())) {
    for (const auto& [name, text] : GgufTokenizerFiles(job.gguf->file())) {
      WriteFileAtomically(options.out / name, text);
    }
  }
  WriteJsonFile(options.out / "config.json", job.config);
}

}  // namespace

HfExportPlan PlanHfExport(const HfExportOptions& options) { return Prepare(options).plan; }

HfExportPlan ExportHf(const HfExportOptions& options, const Context& context) {
  const Job job = Prepare(options);
  PrepareFolder(options.out, RunKey(options, job));
  context.progress.Begin("convert", job.shards.size());
  for (size_t i = 0; i < job.shards.size(); ++i) {
    const fs::path path = options.out / job.shards[i].name;
    // A shard has its name only when it is complete.
    if (!fs::exists(path)) WriteShard(path, job.shards[i], *job.source, context);
    context.progress.Advance(i + 1, job.shards[i].name);
  }
  WriteRest(options, job);
  fs::remove(options.out / kRunFile);
  context.progress.End();
  return job.plan;
}

}  // namespace qualm
