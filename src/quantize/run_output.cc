// One output folder from lock to manifest: Open takes the folder and reads its journal, Commit adds
// a block, Finish writes all that is left. The run key ties a journal to the inputs of a run, so a
// killed run is continued only by the same command.
#include "quantize/run_output.h"

#include <nlohmann/json.hpp>

#include "artefact/store.h"
#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"
#include "quantize/run_checks.h"
#include "tensor/isa.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// A hash over everything that the result depends on.
std::string RunKey(const QuantizeOptions& options, const std::string& source_hash) {
  Hasher hasher;
  hasher.Add(options.recipe.CanonicalJson());
  hasher.Add(source_hash);
  hasher.Add(options.calibration ? options.calibration->hash + options.calibration->held_out_hash
                                 : "");
  hasher.Add(StrCat(options.seed));
  hasher.Add(options.qualm_version);
  hasher.Add(InstructionSet());

  // The tokenizer's files are copied into the result, so they are part of the key.
  for (const std::string& name : CompanionFiles(options.model.folder)) {
    hasher.Add(name);
    hasher.Add(HashFile(options.model.folder / name));
  }
  return hasher.Hex();
}

CalibrationRecord RecordOf(const CalibrationSet& set) {
  CalibrationRecord record;
  // A name of a file may hold any bytes, and the manifest is written when all work is done.
  record.corpus = RepairUtf8(set.corpus);
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

std::string TimesOf(size_t block, const QuantizedBlock& quantized, double seconds, int threads) {
  Json stages = Json::object();
  for (const auto& [stage, value] : quantized.seconds) stages[stage] = value;
  return Json{{"block", block}, {"threads", threads}, {"seconds", seconds}, {"stages", stages}}
      .dump();
}

}  // namespace

RunOutput::RunOutput(const QuantizeOptions& options, const Checkpoint& checkpoint,
                     const std::string& source_hash, const Context& context)
    : options_(options),
      recipe_(options.recipe),
      checkpoint_(checkpoint),
      source_hash_(source_hash),
      context_(context) {
  RefuseWhatCannotBeDone(options_, checkpoint_);
  run_key_ = RunKey(options, source_hash_);
}

// The lock comes first: nobody else may change the folder between the checks and the writing.
bool RunOutput::Open() {
  lock_.emplace(options_.out);
  if (AlreadyFinished()) return false;
  PrepareOutput(options_.out, options_.model.folder, options_.overwrite);
  journal_.emplace(options_.out, run_key_);
  result_.blocks_resumed = blocks_done();
  if (result_.blocks_resumed > 0) {
    context_.progress.Info(StrCat(options_.out.string(), ": resuming after block ",
                                  result_.blocks_resumed, " of ",
                                  checkpoint_.plan().blocks.size()));
  }
  return true;
}

bool RunOutput::IsStopped() const {
  return options_.stop_after_blocks && result_.blocks_written == *options_.stop_after_blocks &&
         blocks_done() < checkpoint_.plan().blocks.size();
}

void RunOutput::Commit(size_t block, const QuantizedBlock& quantized, double seconds, int threads) {
  JournalEntry entry{block, WriteBlockFile(options_.out, checkpoint_, block, quantized), {}, {}};
  for (const auto& [record, layer] : quantized.layers) entry.layers.push_back(record);
  entry.times = TimesOf(block, quantized, seconds, threads);
  journal_->Append(std::move(entry));
  ++result_.blocks_written;
}

void RunOutput::Finish(const ModelRotation* rotation) {
  result_.manifest = MakeManifest(rotation);
  WriteTimings();
  WriteManifest(options_.out, result_.manifest);
  journal_->Finish();
  result_.finished = true;
}

// Whether the same command has finished this output before, so that there is nothing to do.
bool RunOutput::AlreadyFinished() {
  if (options_.overwrite || !HasManifest(options_.out)) return false;
  result_.manifest = ReadManifest(options_.out);
  if (result_.manifest.run_key != run_key_) return false;
  RequireFiles(result_.manifest);
  // A process killed after writing the manifest and before removing the journal leaves both.
  std::filesystem::remove(options_.out / kJournalName);
  context_.progress.Info(StrCat(options_.out.string(), " is already complete"));
  result_.finished = true;
  return true;
}

// A finished folder counts as finished only if it still holds what was written.
void RunOutput::RequireFiles(const Manifest& manifest) const {
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

// Gathers the manifest from the journal and from the files, which are written here.
Manifest RunOutput::MakeManifest(const ModelRotation* rotation) const {
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

  // The inputs of the run.
  manifest.qualm_version = options_.qualm_version;
  manifest.recipe_name = options_.recipe.name;
  manifest.recipe_json = options_.recipe.CanonicalJson();
  manifest.source_name = RepairUtf8(
      std::filesystem::absolute(options_.model.name).lexically_normal().filename().string());
  manifest.source_hash = source_hash_;
  // All linear layers have one type in practice, so the first one names the source's.
  const ModelPlan& plan = checkpoint_.plan();
  const std::string first_layer = plan.NameIn(0, SitesOf(plan.blocks[0]).front().name);
  manifest.source_dtype = NameOf(checkpoint_.Weight(first_layer).type);
  manifest.instruction_set = InstructionSet();
  manifest.run_key = run_key_;
  manifest.seed = options_.seed;

  if (options_.calibration) manifest.calibration = RecordOf(*options_.calibration);
  manifest.kv_cache = options_.recipe.kv_cache;
  // Writing the files gives their hashes.
  manifest.files = WriteRemainingFiles(options_.out, checkpoint_, rotation, block_files,
                                       options_.calibration ? &*options_.calibration : nullptr);
  manifest.changed_tensors = ChangedTensorNames(options_.out, checkpoint_, manifest.files);

  manifest.bits_per_weight_layers =
      weights == 0 ? 0 : 8 * static_cast<double>(layer_bytes) / static_cast<double>(weights);
  manifest.bits_per_weight_model = ModelBitsPerWeight(manifest.files);
  return manifest;
}

double RunOutput::ModelBitsPerWeight(const std::vector<FileRecord>& files) const {
  uint64_t bytes = 0, parameters = 0;
  for (const FileRecord& file : files) {
    if (IsTensorFile(file.name)) bytes += file.bytes;
  }
  for (const std::string& name : checkpoint_.tensors().names()) {
    parameters += checkpoint_.tensors().ElementsOf(name);
  }
  return 8 * static_cast<double>(bytes) / static_cast<double>(parameters);
}

void RunOutput::WriteTimings() const {
  Json blocks = Json::array();
  for (const JournalEntry& entry : journal_->entries()) {
    blocks.push_back(ParseJson(entry.times, "timings"));
  }
  WriteJsonFile(options_.out / "timings.json", Json{{"blocks", blocks}});
}

}  // namespace qualm
