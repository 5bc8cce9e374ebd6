// Drives a whole quantization: opens the checkpoint, decides which recipes can share a pass over
// the float model, and takes the hidden states block by block through quantizing or, for blocks
// that an earlier run has written, through replaying. How a block is quantized is in block_run.cc,
// how results are committed in run_output.cc.
#include "quantize/run.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "artefact/store.h"
#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "kernels/packed.h"
#include "quantize/allocation_run.h"
#include "quantize/block_run.h"
#include "quantize/run_checks.h"
#include "quantize/run_output.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Checkpoint OpenFloat(const ModelSource& model) {
  if (HasManifest(model.folder)) {
    ThrowBadInput(model.name, "a float checkpoint", "a quantized one");
  }
  return Checkpoint::Open(model);
}

// Whether the recipe's blocks have the float model's hidden states as inputs.
bool SeesFloatModel(const Recipe& recipe) {
  return recipe.block_order == Order::kParallel && recipe.rotation() == nullptr;
}

// Whether its statistics are those of the float block, too, so that recipes can share them.
bool CollectsFromFloatBlock(const Recipe& recipe) {
  return SeesFloatModel(recipe) && recipe.layer_order == Order::kParallel &&
         recipe.transforms.empty();
}

// One pass of the hidden states, which serves one output or, if all of them see the float model,
// several. Holds what lives from the first block to the manifests. Execute is called once.
class Run {
 public:
  Run(const Checkpoint& checkpoint, const std::vector<RunOutput*>& outputs, const Context& context)
      : checkpoint_(checkpoint),
        outputs_(outputs),
        options_(outputs.front()->options()),
        context_(context),
        plan_(checkpoint.plan()) {
    const Recipe& recipe = options_.recipe;
    blocks_see_float_ = recipe.block_order == Order::kParallel;
    QUALM_CHECK(outputs.size() == 1 || SeesFloatModel(recipe));
    if (!blocks_see_float_) plan_.kv_cache = recipe.kv_cache;  // float blocks keep float caches
    if (const RotationOptions* rotation = recipe.rotation()) {
      rotation_.emplace(checkpoint_, *rotation, context_);
    }
  }

  void Execute() {
    // Outputs that are complete already need nothing.
    std::erase_if(outputs_, [](RunOutput* output) { return !output->Open(); });
    if (outputs_.empty()) return;

    // An allocation measures all blocks before the first one is quantized.
    if (options_.calibration) PrepareHiddenStates();
    for (RunOutput* output : outputs_) Allocate(*output);
    const size_t blocks = plan_.blocks.size();

    context_.progress.Begin("quantize", blocks);
    for (size_t b = 0; b < blocks; ++b) {
      // A block that every output has is replayed, since the next block needs its outputs.
      const std::vector<RunOutput*> waiting = Waiting(b);
      if (waiting.empty()) {
        if (std::ranges::all_of(outputs_, &RunOutput::IsStopped)) break;
        Replay(b);
        context_.progress.Advance(b + 1, StrCat("block ", b, " (already written)"));
      } else {
        const Clock::time_point start = Clock::now();
        Quantize(b, waiting);
        context_.progress.Advance(b + 1,
                                  StrCat("block ", b, " in ", HumanSeconds(SecondsSince(start))));
      }
    }

    // An output that was asked to stop early keeps its journal instead.
    context_.progress.End();
    for (RunOutput* output : outputs_) {
      if (!output->IsStopped()) output->Finish(rotation());
    }
  }

 private:
  const ModelRotation* rotation() const { return rotation_ ? &*rotation_ : nullptr; }

  // The outputs that lack block b.
  std::vector<RunOutput*> Waiting(size_t b) const {
    std::vector<RunOutput*> waiting;
    for (RunOutput* output : outputs_) {
      if (output->blocks_done() == b && !output->IsStopped()) waiting.push_back(output);
    }
    return waiting;
  }

  // Calibration and held-out sequences as embeddings, the first block's inputs.
  void PrepareHiddenStates() {
    const CalibrationSet& set = *options_.calibration;
    Matrix rotated;
    // In the basis that the blocks work in.
    InputLayers input = LoadInput(checkpoint_, context_);
    if (rotation_) {
      rotated = rotation_->Embedding();
      input.embedding.weight = {rotated.data(), DType::kF32, rotated.rows(), rotated.cols()};
    }

    auto make = [&](std::span<const std::vector<TokenId>> sequences, const char* name) {
      std::optional<std::filesystem::path> spill;
      if (options_.spill) spill = options_.out / name;
      auto states = std::make_unique<HiddenStates>(sequences, plan_, spill);
      states->Embed(input, context_);
      return states;
    };

    calibration_ = make(set.sequences, "hidden.tmp");
    held_out_ = make(set.held_out, "held-out.tmp");
  }

  // Gives the output the bits of each layer, if its recipe asks for an allocation.
  void Allocate(RunOutput& output) {
    if (!output.recipe().allocation) return;
    output.SetLayerBits(AllocateModelBits(
        checkpoint_, output.recipe(), rotation(), *calibration_,
        [&](size_t b) { return FloatBlock(b); }, context_));
  }

  // The block as the checkpoint has it, in the rotated basis if there is one.
  std::unique_ptr<DecoderBlock> FloatBlock(size_t b) {
    std::unique_ptr<DecoderBlock> block =
        BuildBlock(checkpoint_.tensors(), plan_, b, [&](const std::string& name) {
          return MakeDenseWeight(checkpoint_.Weight(name), context_);
        });
    if (rotation_) BlockTensors(checkpoint_, b, &*rotation_).PutInto(*block, context_);
    return block;
  }

  void Advance(const DecoderBlock& block) {
    if (calibration_ == nullptr) return;
    calibration_->Advance(block, context_);
    held_out_->Advance(block, context_);
  }

  // Takes the hidden states through a block that an earlier run has written.
  void Replay(size_t b) {
    if (calibration_ == nullptr) return;
    if (blocks_see_float_) {
      Advance(*FloatBlock(b));
    } else {
      // The next blocks see the quantized block, which is read from the file that was written.
      const JournalEntry& entry = outputs_.front()->entries()[b];
      const ModelTensors tensors(TensorFile::Open(options_.out / entry.file.name), plan_);
      Advance(*BuildBlock(tensors, plan_, b, [&](const std::string& name) {
        for (const LayerRecord& record : entry.layers) {
          if (record.name != name) continue;
          return MakePackedWeight(ReadQuantizedLinear(tensors.file(), record), context_);
        }
        return MakeDenseWeight(tensors.Get(name + ".weight").AsWeight(), context_);
      }));
    }
    checkpoint_.ReleaseBlock(b);
  }

  // Block b of the outputs that lack it, and the hidden states after it.
  void Quantize(size_t b, const std::vector<RunOutput*>& waiting) {
    // Statistics that several outputs share are collected once; each is charged an equal part.
    const Clock::time_point start = Clock::now();
    const std::vector<InputStats> collected = CollectForAll(b, waiting);
    const double share = SecondsSince(start) / static_cast<double>(waiting.size());

    std::unique_ptr<DecoderBlock> block;
    for (RunOutput* output : waiting) {
      block = FloatBlock(b);
      QuantizeOne(b, *output, collected, share, *block);
    }

    // Sequential layers have taken the hidden states along already, unless the next block is to see
    // the float model.
    const bool is_last = b + 1 == plan_.blocks.size();
    const bool is_advanced =
        !blocks_see_float_ && options_.recipe.layer_order == Order::kSequential;
    if (!is_last && !is_advanced) {
      if (blocks_see_float_) block = FloatBlock(b);
      Advance(*block);
    }
    checkpoint_.ReleaseBlock(b);
  }

  // Statistics of the float block for all outputs that read them, if there are several.
  std::vector<InputStats> CollectForAll(size_t b, const std::vector<RunOutput*>& waiting) {
    std::vector<const Recipe*> recipes;
    for (const RunOutput* output : waiting) {
      if (CollectsFromFloatBlock(output->recipe())) recipes.push_back(&output->recipe());
    }
    // A single recipe collects its statistics itself, which needs less memory.
    if (recipes.size() < 2 || calibration_ == nullptr) return {};
    return BlockStatistics(checkpoint_, b, recipes, calibration_.get(), held_out_.get(), nullptr,
                           context_)
        .CollectAll(*FloatBlock(b));
  }

  // Sequential layers take the hidden states through the quantized block. If the next block must
  // see the float block's output, the states are saved before and restored after it.
  void QuantizeOne(size_t b, RunOutput& output, const std::vector<InputStats>& collected,
                   double collect_seconds, DecoderBlock& block) {
    const Clock::time_point start = Clock::now();
    const Recipe& recipe = output.recipe();
    const bool is_shared = !collected.empty() && CollectsFromFloatBlock(recipe);

    // The states are needed again only if the next block must not see this one's output.
    std::optional<StateBuffer> saved, saved_held_out;
    if (calibration_ != nullptr && recipe.layer_order == Order::kSequential && blocks_see_float_) {
      saved = calibration_->Save();
      saved_held_out = held_out_->Save();
    }

    const QuantizedBlock quantized =
        QuantizeBlock({checkpoint_, recipe, rotation(), calibration_.get(), held_out_.get(),
                       is_shared ? &collected : nullptr, output.options().seed, context_},
                      block);

    if (saved) {
      calibration_->Restore(*saved);
      held_out_->Restore(*saved_held_out);
    }

    output.Commit(b, quantized, SecondsSince(start) + (is_shared ? collect_seconds : 0),
                  context_.pool.threads());
  }

  const Checkpoint& checkpoint_;
  std::vector<RunOutput*> outputs_;
  const QuantizeOptions& options_;  // of the first output; what this class reads is equal for all
  const Context& context_;
  bool blocks_see_float_;
  ModelPlan plan_;  // with the cache that the hidden states go through
  std::optional<ModelRotation> rotation_;
  std::unique_ptr<HiddenStates> calibration_, held_out_;
};

}  // namespace

void CheckQuantizeOptions(const QuantizeOptions& options) {
  RefuseWhatCannotBeDone(options, OpenFloat(options.model));
}

QuantizeResult QuantizeModel(const QuantizeOptions& options, const Context& context) {
  return std::move(QuantizeModels({&options, 1}, context).front());
}

std::vector<QuantizeResult> QuantizeModels(std::span<const QuantizeOptions> all,
                                           const Context& context) {
  if (all.empty()) return {};
  const Checkpoint checkpoint = OpenFloat(all.front().model);
  // The checkpoint is read for its hash once; the set of all files takes that over.
  InputSet files = checkpoint.Inputs();
  const std::string source_hash = Checkpoint::HashOf(files);
  files.Add(SourceFiles(checkpoint));
  if (all.front().on_inputs) all.front().on_inputs(files);

  // Recipes that see the float model run together, all others by themselves.
  std::vector<std::unique_ptr<RunOutput>> outputs;
  std::vector<RunOutput*> together;
  std::vector<std::vector<RunOutput*>> runs;
  for (const QuantizeOptions& options : all) {
    QUALM_CHECK(options.model == all.front().model);
    outputs.push_back(std::make_unique<RunOutput>(options, checkpoint, source_hash, context));
    if (SeesFloatModel(options.recipe)) {
      together.push_back(outputs.back().get());
    } else {
      runs.push_back({outputs.back().get()});
    }
  }

  if (!together.empty()) runs.insert(runs.begin(), together);
  for (const std::vector<RunOutput*>& run : runs) {
    if (run.size() > 1) {
      context.progress.Info(StrCat(run.size(), " recipes share one pass over the float model"));
    } else if (all.size() > 1) {
      context.progress.Info(StrCat(run.front()->recipe().name, " has a separate pass"));
    }
    Run(checkpoint, run, context).Execute();
  }

  // Results in the order of the options, however they ran.
  std::vector<QuantizeResult> results;
  for (const auto& output : outputs) results.push_back(std::move(output->result()));
  return results;
}

}  // namespace qualm
