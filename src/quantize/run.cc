#include "quantize/run.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "artefact/store.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "io/hash.h"
#include "kernels/packed.h"
#include "quantize/allocation_run.h"
#include "quantize/block_run.h"
#include "quantize/journal.h"
#include "quantize/output_folder.h"
#include "tensor/dense.h"
#include "tensor/isa.h"

namespace qualm {
namespace {

std::string RunKey(const QuantizeOptions& options, const std::string& source_hash) {
  Hasher hasher;
  hasher.Add(options.recipe.CanonicalJson());
  hasher.Add(source_hash);
  hasher.Add(options.calibration ? options.calibration->hash + options.calibration->held_out_hash
                                 : "");
  hasher.Add(StrCat(options.seed));
  hasher.Add(options.qualm_version);
  hasher.Add(InstructionSet());
  // The tokenizer's files are copied into the result.
  for (const std::string& name : CompanionFiles(options.model)) {
    hasher.Add(name);
    hasher.Add(HashFile(options.model / name));
  }
  return hasher.Hex();
}

CalibrationRecord RecordOf(const CalibrationSet& set) {
  CalibrationRecord record;
  record.corpus = set.corpus;
  record.sampler = set.sampler;
  record.hash = set.hash;
  record.held_out_hash = set.held_out_hash;
  record.samples = set.sequences.size();
  record.length = set.length;
  record.tokens = set.tokens();
  record.seed = set.seed;
  record.held_out_samples = set.held_out.size();
  record.held_out_tokens = set.held_out.size() * set.length;
  return record;
}

Checkpoint OpenFloat(const std::filesystem::path& model) {
  if (HasManifest(model)) ThrowBadInput(model.string(), "a float checkpoint", "a quantized one");
  return Checkpoint::Open(model);
}

// What goes in and out of a layer can be grouped no wider than it is.
void CheckActivations(const std::string& place, const LayerPlan& plan, size_t in) {
  if (!plan.activations || plan.activations->scheme.granularity != Granularity::kGroup) return;
  if (static_cast<size_t>(plan.activations->scheme.group_size) <= in) return;
  ThrowBadInput(place, StrCat("activations with group_size of at most in_features ", in),
                StrCat(plan.activations->scheme.group_size),
                "use a smaller group or granularity: token");
}

// Group sizes are known to fit before anything is written.
void CheckPlan(const QuantizeOptions& options, const Checkpoint& checkpoint, size_t block,
               const LinearGroup& group, const LinearSpec& linear) {
  std::string name = LinearName(checkpoint.family(), block, linear.name);
  LayerPlan plan = options.recipe.PlanFor(name);
  size_t in = SizeOf(group.in, checkpoint.config());
  const RotationOptions* rotation = options.recipe.rotation();
  if (plan.skip && rotation != nullptr && rotation->online && group.in == Width::kIntermediate) {
    ThrowBadInput(StrCat("recipe ", options.recipe.name, ": ", name),
                  "a quantized layer: its input is rotated online", "a skipped one",
                  "use {quarot: {online: false}}");
  }
  if (plan.skip) return;
  plan.rounder->RequireScheme(plan.scheme, name);
  CheckActivations(StrCat("recipe ", options.recipe.name, ": ", name), plan, in);
  if (plan.scheme.granularity != Granularity::kGroup) return;
  if (static_cast<size_t>(plan.scheme.group_size) <= in) return;
  ThrowBadInput(StrCat("recipe ", options.recipe.name, ": ", name),
                StrCat("group_size of at most in_features ", in), StrCat(plan.scheme.group_size),
                "use a smaller group or granularity: channel");
}

// A pattern that matches nothing is a spelling mistake that would change the result in silence.
void CheckPatterns(const Recipe& recipe, const std::vector<std::string>& names) {
  const auto check = [&](const std::string& key, const std::string& pattern) {
    const auto matches = [&](const std::string& name) { return MatchesGlob(name, pattern); };
    if (std::ranges::any_of(names, matches)) return;
    const std::string nearest = NearestName(pattern, names);
    ThrowBadInput(StrCat("recipe ", recipe.name, ": ", key), "a pattern that matches some layer",
                  StrCat("'", pattern, "'"),
                  StrCat("names are like ", nearest.empty() ? names.front() : nearest));
  };
  for (const std::string& pattern : recipe.skip) check("skip", pattern);
  for (const std::string& pattern : recipe.activation_skip) check("activations: skip", pattern);
  for (const Recipe::Override& override : recipe.overrides) check("overrides", override.match);
}

// What the file of a block will hold for a quantized layer must not be there already.
void CheckTensorNames(const QuantizeOptions& options, const Checkpoint& checkpoint,
                      const std::vector<std::string>& names) {
  for (const TensorView& tensor : checkpoint.tensors().tensors()) {
    for (const std::string& name : names) {
      if (!tensor.name.starts_with(name + ".") || options.recipe.PlanFor(name).skip) continue;
      const std::string_view part = std::string_view(tensor.name).substr(name.size());
      if (part == ".weight" || part == ".bias") continue;
      ThrowBadInput(StrCat(options.model.string(), ": ", tensor.name),
                    StrCat("only a weight and a bias of ", name), "another tensor",
                    "is this checkpoint quantized already?");
    }
  }
}

void CheckTokens(const QuantizeOptions& options, const Checkpoint& checkpoint) {
  const auto vocab = checkpoint.config().vocab_size;
  for (const auto* sequences : {&options.calibration->sequences, &options.calibration->held_out}) {
    for (const auto& sequence : *sequences) {
      for (TokenId id : sequence) {
        if (id >= 0 && static_cast<size_t>(id) < vocab) continue;
        ThrowBadInput("--calibration", StrCat("token ids in 0..", vocab - 1), StrCat(id),
                      "do the tokenizer and the model belong together?");
      }
    }
  }
}

void RefuseWhatCannotBeDone(const QuantizeOptions& options, const Checkpoint& checkpoint) {
  if (options.recipe.NeedsCalibration() && !options.calibration) {
    ThrowBadInput("--calibration", StrCat("a corpus: recipe ", options.recipe.name, " reads data"),
                  "none");
  }
  if (!options.recipe.PlanFor(checkpoint.family().head).skip) {
    ThrowBadInput(StrCat("recipe ", options.recipe.name),
                  StrCat("'", checkpoint.family().head, "' among the skipped layers"),
                  "a recipe that quantizes it", "the head stays in its stored type");
  }
  if (options.calibration && options.calibration->length > checkpoint.config().context) {
    ThrowBadInput("--length",
                  StrCat("at most ", checkpoint.config().context, " (the model's context)"),
                  StrCat(options.calibration->length));
  }
  if (options.calibration) CheckTokens(options, checkpoint);
  if (const RotationOptions* rotation = options.recipe.rotation()) {
    RequireRotatable(checkpoint.config(), *rotation);
  }
  std::vector<std::string> names;
  for (size_t b = 0; b < checkpoint.config().layers; ++b) {
    for (const LinearGroup& group : checkpoint.family().groups) {
      for (const LinearSpec& linear : group.linears) {
        CheckPlan(options, checkpoint, b, group, linear);
        names.push_back(LinearName(checkpoint.family(), b, linear.name));
      }
    }
  }
  CheckTensorNames(options, checkpoint, names);
  if (std::ranges::all_of(
          names, [&](const std::string& name) { return options.recipe.PlanFor(name).skip; })) {
    ThrowBadInput(StrCat("recipe ", options.recipe.name), "a layer to quantize",
                  "skip patterns that match all of them");
  }
  names.push_back(checkpoint.family().head);
  CheckPatterns(options.recipe, names);
}

// The run itself: state that lives from the first block to the manifest.
class Run {
 public:
  Run(const QuantizeOptions& options, ThreadPool& pool, Progress& progress)
      : options_(options),
        recipe_(options.recipe),
        pool_(pool),
        progress_(progress),
        checkpoint_(OpenFloat(options.model)),
        source_hash_(checkpoint_.Hash()),
        config_(checkpoint_.config()) {
    // Float blocks keep float caches.
    if (options.recipe.block_order == Order::kSequential)
      config_.kv_cache = options.recipe.kv_cache;
    if (const RotationOptions* rotation = options.recipe.rotation()) {
      rotation_.emplace(checkpoint_, *rotation, pool_);
    }
    RefuseWhatCannotBeDone(options_, checkpoint_);
    run_key_ = RunKey(options, source_hash_);
  }

  QuantizeResult Execute() {
    QuantizeResult result;
    OutputLock lock(options_.out);
    if (AlreadyFinished(result)) return result;
    PrepareOutput(options_.out, options_.model, options_.overwrite);
    journal_.emplace(options_.out, run_key_);
    if (options_.calibration) PrepareHiddenStates();
    if (recipe_.allocation) {
      recipe_.layer_bits = AllocateModelBits(
          checkpoint_, recipe_, rotation_ ? &*rotation_ : nullptr, *calibration_,
          [&](size_t b) { return FloatBlock(b); }, pool_, progress_);
    }
    size_t layers = checkpoint_.config().layers;
    result.blocks_resumed = journal_->entries().size();
    if (result.blocks_resumed > 0) {
      progress_.Info(StrCat("resuming behind block ", result.blocks_resumed, " of ", layers));
    }
    progress_.Begin("quantize", layers);
    for (size_t b = 0; b < layers; ++b) {
      if (b < result.blocks_resumed) {
        Replay(b);
        progress_.Advance(b + 1, StrCat("block ", b, " (already written)"));
        continue;
      }
      if (options_.stop_after_blocks && result.blocks_written == *options_.stop_after_blocks) {
        progress_.End();
        return result;
      }
      double seconds = QuantizeOne(b);
      ++result.blocks_written;
      progress_.Advance(b + 1, StrCat("block ", b, " in ", HumanSeconds(seconds)));
    }
    progress_.End();
    result.manifest = Finish();
    result.finished = true;
    return result;
  }

 private:
  // The same command on its own finished output has nothing to do.
  bool AlreadyFinished(QuantizeResult& result) const {
    if (options_.overwrite || !HasManifest(options_.out)) return false;
    result.manifest = ReadManifest(options_.out);
    if (result.manifest.run_key != run_key_) return false;
    RequireFiles(result.manifest);
    // A kill between the manifest and the journal's end leaves both.
    std::filesystem::remove(options_.out / kJournalName);
    progress_.Info(StrCat(options_.out.string(), " is already complete"));
    result.finished = true;
    return true;
  }

  // A finished folder is only taken for one if it still holds what was written.
  void RequireFiles(const Manifest& manifest) const {
    for (const FileRecord& file : manifest.files) {
      const std::filesystem::path path = options_.out / file.name;
      std::error_code error;
      const bool is_whole = std::filesystem::file_size(path, error) == file.bytes && !error &&
                            HashFile(path) == file.hash;
      if (is_whole) continue;
      ThrowBadInput(path.string(), "the file that this command wrote before",
                    error ? "none" : "a damaged one", "start over with --overwrite");
    }
  }

  void PrepareHiddenStates() {
    const CalibrationSet& set = *options_.calibration;
    Matrix rotated;
    WeightView embedding = checkpoint_.EmbeddingWeight();
    if (rotation_) {
      rotated = rotation_->Embedding();
      embedding = {rotated.data(), DType::kF32, rotated.rows(), rotated.cols()};
    }
    auto make = [&](std::span<const std::vector<TokenId>> sequences, const char* name) {
      std::optional<std::filesystem::path> spill;
      if (options_.spill) spill = options_.out / name;
      auto states = std::make_unique<HiddenStates>(sequences, config_, spill);
      states->Embed({embedding});
      return states;
    };
    calibration_ = make(set.sequences, "hidden.tmp");
    held_out_ = make(set.held_out, "held-out.tmp");
  }

  std::unique_ptr<DecoderBlock> FloatBlock(size_t b) {
    std::unique_ptr<DecoderBlock> block = BuildBlock(
        checkpoint_.tensors(), config_, checkpoint_.family(), b,
        [&](const std::string& name) { return MakeDenseWeight(checkpoint_.Weight(name), pool_); });
    if (rotation_) BlockTensors(checkpoint_, b, &*rotation_).PutInto(*block, pool_);
    return block;
  }

  void Advance(const DecoderBlock& block) {
    if (calibration_ == nullptr) return;
    calibration_->Advance(block, pool_);
    held_out_->Advance(block, pool_);
  }

  // Brings the hidden states behind a block that an earlier run has written.
  void Replay(size_t b) {
    if (calibration_ == nullptr) return;
    if (options_.recipe.block_order == Order::kParallel) {
      Advance(*FloatBlock(b));
    } else {
      const JournalEntry& entry = journal_->entries()[b];
      TensorFile file = TensorFile::Open(options_.out / entry.file.name);
      Advance(*BuildBlock(file, config_, checkpoint_.family(), b, [&](const std::string& name) {
        for (const LayerRecord& record : entry.layers) {
          if (record.name != name) continue;
          return MakePackedWeight(ReadQuantizedLinear(file, record), pool_);
        }
        return MakeDenseWeight(file.Get(name + ".weight").AsWeight(), pool_);
      }));
    }
    checkpoint_.ReleaseBlock(b);
  }

  double QuantizeOne(size_t b) {
    auto start = std::chrono::steady_clock::now();
    std::unique_ptr<DecoderBlock> block = FloatBlock(b);
    // Sequential layers take the hidden states through the quantized block on the way; if the next
    // block is to see the float block's output they must come back first.
    bool layers_advance = options_.recipe.layer_order == Order::kSequential;
    bool blocks_see_float = options_.recipe.block_order == Order::kParallel;
    std::optional<StateBuffer> saved, saved_held_out;
    if (calibration_ != nullptr && layers_advance && blocks_see_float) {
      saved = calibration_->Save();
      saved_held_out = held_out_->Save();
    }
    QuantizedBlock quantized =
        QuantizeBlock({checkpoint_, recipe_, rotation_ ? &*rotation_ : nullptr, calibration_.get(),
                       held_out_.get(), options_.seed, pool_, progress_},
                      *block);
    JournalEntry entry{b, WriteBlockFile(options_.out, checkpoint_, b, quantized), {}, {}};
    for (const auto& [record, layer] : quantized.layers) entry.layers.push_back(record);
    if (saved) {
      calibration_->Restore(*saved);
      held_out_->Restore(*saved_held_out);
    }
    bool is_last = b + 1 == checkpoint_.config().layers;
    if (!is_last && (blocks_see_float || !layers_advance)) {
      if (blocks_see_float) block = FloatBlock(b);
      Advance(*block);
    }
    checkpoint_.ReleaseBlock(b);
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    entry.times = TimesOf(b, quantized, seconds);
    journal_->Append(std::move(entry));
    return seconds;
  }

  std::string TimesOf(size_t b, const QuantizedBlock& quantized, double seconds) const {
    Json stages = Json::object();
    for (const auto& [stage, value] : quantized.seconds) stages[stage] = value;
    return Json{
        {"block", b}, {"threads", pool_.threads()}, {"seconds", seconds}, {"stages", stages}}
        .dump();
  }

  Manifest Finish() {
    Manifest manifest;
    std::vector<FileRecord> block_files;
    uint64_t layer_bytes = 0, weights = 0;
    for (const JournalEntry& entry : journal_->entries()) {
      block_files.push_back(entry.file);
      for (const LayerRecord& layer : entry.layers) {
        layer_bytes += layer.stored_bytes;
        weights += layer.out_features * layer.in_features;
        manifest.layers.push_back(layer);
      }
    }
    manifest.qualm_version = options_.qualm_version;
    manifest.recipe_name = options_.recipe.name;
    manifest.recipe_json = options_.recipe.CanonicalJson();
    manifest.source_name = std::filesystem::absolute(options_.model).lexically_normal().filename();
    manifest.source_hash = source_hash_;
    const Family& family = checkpoint_.family();
    manifest.source_dtype =
        NameOf(checkpoint_.Weight(LinearName(family, 0, family.groups[0].linears[0].name)).type);
    manifest.instruction_set = InstructionSet();
    manifest.run_key = run_key_;
    manifest.seed = options_.seed;
    if (options_.calibration) manifest.calibration = RecordOf(*options_.calibration);
    manifest.kv_cache = options_.recipe.kv_cache;
    manifest.files =
        WriteRemainingFiles(options_.out, checkpoint_, rotation_ ? &*rotation_ : nullptr,
                            block_files, options_.calibration ? &*options_.calibration : nullptr);
    manifest.changed_tensors = ChangedTensorNames(options_.out, checkpoint_, manifest.files);
    manifest.bits_per_weight_layers =
        weights == 0 ? 0 : 8 * static_cast<double>(layer_bytes) / static_cast<double>(weights);
    manifest.bits_per_weight_model = ModelBitsPerWeight(manifest.files);
    WriteTimings();
    WriteManifest(options_.out, manifest);
    journal_->Finish();
    return manifest;
  }

  double ModelBitsPerWeight(const std::vector<FileRecord>& files) const {
    uint64_t bytes = 0, parameters = 0;
    for (const FileRecord& file : files) {
      if (IsTensorFile(file.name)) bytes += file.bytes;
    }
    for (const TensorView& tensor : checkpoint_.tensors().tensors()) {
      parameters += tensor.elements();
    }
    return 8 * static_cast<double>(bytes) / static_cast<double>(parameters);
  }

  void WriteTimings() const {
    Json blocks = Json::array();
    for (const JournalEntry& entry : journal_->entries()) {
      blocks.push_back(ParseJson(entry.times, "timings"));
    }
    WriteJsonFile(options_.out / "timings.json", Json{{"blocks", blocks}});
  }

  const QuantizeOptions& options_;
  Recipe recipe_;  // with the bits that an allocation gave
  ThreadPool& pool_;
  Progress& progress_;
  Checkpoint checkpoint_;
  std::string source_hash_, run_key_;
  std::optional<ModelRotation> rotation_;
  ModelConfig config_;  // with the cache that the hidden states go through
  std::optional<Journal> journal_;
  std::unique_ptr<HiddenStates> calibration_, held_out_;
};

}  // namespace

void CheckQuantizeOptions(const QuantizeOptions& options) {
  RefuseWhatCannotBeDone(options, OpenFloat(options.model));
}

QuantizeResult QuantizeModel(const QuantizeOptions& options, ThreadPool& pool, Progress& progress) {
  return Run(options, pool, progress).Execute();
}

}  // namespace qualm
