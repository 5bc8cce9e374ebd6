// Writes a checkpoint with outliers: each block's input scales are drawn, applied as a transform
// would apply them (block_tensors.h), and the changed tensors are written in place of the source's.
// All other tensors are copied.
#include "quantize/stress.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "artefact/store.h"
#include "base/context.h"
#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/strings.h"
#include "quantize/block_tensors.h"
#include "quantize/output_folder.h"

namespace qualm {
namespace {

constexpr const char* kIndexName = "model.safetensors.index.json";

// `count` different numbers below `size`, drawn from the stream.
std::vector<size_t> Draw(size_t size, size_t count, Rng rng) {
  std::vector<size_t> all(size);
  std::iota(all.begin(), all.end(), size_t{0});
  for (size_t i = 0; i < count; ++i) std::swap(all[i], all[i + rng.Below(size - i)]);
  all.resize(count);
  return all;
}

// Whether storing the values as `type` loses nothing.
bool IsExactIn(DType type, std::span<const float> values) {
  return std::ranges::all_of(values, [&](float v) { return RoundTo(v, type) == v; });
}

// One stress model. The constructor checks the options and the folder; Run writes block after block
// and keeps one block in memory.
class StressRun {
 public:
  StressRun(const StressOptions& options, const Context& context)
      : options_(options), context_(context), checkpoint_(Checkpoint::Open(options.model)) {
    // Options that cannot give a sensible model.
    if (!(options.factor > 0) || !std::isfinite(options.factor)) {
      ThrowBadInput("--factor", "a positive number", StrCat(options.factor), "30 to 100 is usual");
    }

    size_t narrowest = checkpoint_.plan().hidden_size;
    for (const BlockPlan& block : checkpoint_.plan().blocks) {
      for (const SiteInput& input : SiteInputs(block)) narrowest = std::min(narrowest, input.width);
    }
    if (options.channels < 1 || options.channels > narrowest) {
      ThrowBadInput("--channels", StrCat("1..", narrowest), StrCat(options.channels),
                    "the narrowest input has that many channels");
    }

    PrepareFolder();
  }

  StressReport Run() {
    const size_t blocks = checkpoint_.plan().blocks.size();
    context_.progress.Begin("stress", blocks);
    for (size_t b = 0; b < blocks; ++b) {
      WriteBlock(b);
      context_.progress.Advance(b + 1, StrCat("block ", b));
    }
    WriteRest();
    context_.progress.End();
    return std::move(report_);
  }

 private:
  void PrepareFolder() const {
    std::error_code error;
    std::filesystem::create_directories(options_.out, error);
    if (error) ThrowFailed(options_.out.string(), StrCat("cannot create: ", error.message()));
    if (std::filesystem::is_empty(options_.out, error) && !error) return;
    ThrowBadInput(options_.out.string(), "a new or empty folder", "one with files");
  }

  // 1/factor for the drawn channels. All readers of the hidden states draw the same ones.
  std::vector<float> Scale(size_t block, const SiteInput& input) const {
    const std::string stream =
        input.reads_residual ? "stress hidden" : StrCat("stress ", input.name, " ", block);
    std::vector<float> scale(input.width, 1.0f);
    for (size_t c : Draw(input.width, options_.channels, Rng(options_.seed, stream))) {
      scale[c] = static_cast<float>(1 / options_.factor);
    }
    return scale;
  }

  // Scales every input that can take it.
  void WriteBlock(size_t b) {
    BlockTensors tensors(checkpoint_, b, /*rotation=*/nullptr);
    const std::vector<SiteInput> inputs = SiteInputs(checkpoint_.plan().blocks[b]);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!tensors.CanFold(i)) {
        NoteLeftOut(inputs[i].name);
        continue;
      }
      InputEdit edit;
      edit.scale = Scale(b, inputs[i]);
      tensors.Apply(i, "stress", edit, context_);
      ++report_.inputs_changed;
    }

    // Changed tensors, in their stored type if it holds the new values exactly.
    const std::vector<ChangedTensor> changed = tensors.Changed({});
    TensorBatch batch;
    std::map<std::string, bool> is_replaced;
    for (const ChangedTensor& tensor : changed) {
      const TensorView& source = checkpoint_.tensors().Get(tensor.name);
      RequireFinite(tensor);
      // A type that cannot hold the new values is replaced by float32.
      const DType type = IsExactIn(source.type, tensor.values) ? source.type : DType::kF32;
      batch.AddFloats(tensor.name, type, tensor.shape, tensor.values);
      is_replaced[tensor.name] = true;
      ++report_.tensors_changed;
    }

    // Then the block's other tensors as they are.
    const std::string prefix = checkpoint_.plan().NameIn(b, "");
    for (const std::string& name : checkpoint_.tensors().names()) {
      if (!name.starts_with(prefix)) continue;
      written_[name] = true;
      if (!is_replaced.contains(name)) batch.AddView(checkpoint_.tensors().Get(name));
    }

    Write(StrCat("block-", b, ".safetensors"), batch);
    checkpoint_.ReleaseBlock(b);
  }

  // Blocks may differ in their inputs; each name is reported once.
  void NoteLeftOut(const std::string& name) {
    if (std::ranges::find(report_.left_out, name) != report_.left_out.end()) return;
    report_.left_out.push_back(name);
  }

  static void RequireFinite(const ChangedTensor& tensor) {
    if (std::ranges::all_of(tensor.values, [](float v) { return std::isfinite(v); })) return;
    ThrowBadInput("--factor", "one that leaves all weights finite", "an overflow",
                  StrCat("in ", tensor.name));
  }

  void Write(const std::string& name, const TensorBatch& batch) {
    WriteSafetensors(options_.out / name, batch.tensors(), {{"format", "pt"}});
    for (const TensorToWrite& tensor : batch.tensors()) weight_map_[tensor.name] = name;
  }

  // The index is written last: without it the folder is not a checkpoint.
  void WriteRest() {
    TensorBatch rest;
    for (const std::string& name : checkpoint_.tensors().names()) {
      if (!written_.contains(name)) rest.AddView(checkpoint_.tensors().Get(name));
    }
    Write("rest.safetensors", rest);
    for (const std::string& name : CompanionFiles(options_.model.folder)) {
      if (name == "config.json" && !options_.model.config.empty()) {
        WriteJsonFile(options_.out / name, ReadModelConfig(options_.model));
      } else {
        CopyCompanion(options_.model.folder, name, options_.out);
      }
    }
    WriteJsonFile(options_.out / kIndexName, Json{{"weight_map", weight_map_}});
  }

  const StressOptions& options_;
  const Context& context_;
  Checkpoint checkpoint_;
  StressReport report_;
  std::map<std::string, bool> written_;
  std::map<std::string, std::string> weight_map_;
};

}  // namespace

StressReport MakeStressModel(const StressOptions& options, const Context& context) {
  return StressRun(options, context).Run();
}

}  // namespace qualm
