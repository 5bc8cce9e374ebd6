// One folder of a run: its recipe, its journal, and what becomes of them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "model/checkpoint.h"
#include "quantize/block_run.h"
#include "quantize/journal.h"
#include "quantize/output_folder.h"
#include "quantize/run.h"

namespace qualm {

struct Context;

// Used in this order: construct (checks), Open, Commit for each block that is missing, Finish. A
// run with several recipes has one of these for each.
class RunOutput {
 public:
  // The arguments must outlive this object. Throws as RefuseWhatCannotBeDone does.
  RunOutput(const QuantizeOptions& options, const Checkpoint& checkpoint,
            const std::string& source_hash, const Context& context);

  // Takes the folder for this process and opens its journal. False if an earlier run has finished
  // it: result() is complete then.
  bool Open();

  const QuantizeOptions& options() const { return options_; }
  const Recipe& recipe() const { return recipe_; }
  void SetLayerBits(std::map<std::string, int> bits) { recipe_.layer_bits = std::move(bits); }
  const std::vector<JournalEntry>& entries() const { return journal_->entries(); }
  size_t blocks_done() const { return entries().size(); }
  // Whether it has written as many blocks as it was asked to, before the last one.
  bool IsStopped() const;
  QuantizeResult& result() { return result_; }

  // Writes the block's file and commits it. `seconds` is what it took, in `threads`.
  void Commit(size_t block, const QuantizedBlock& quantized, double seconds, int threads);
  // Writes everything else; the last block has been committed.
  void Finish(const ModelRotation* rotation);

 private:
  bool AlreadyFinished();
  void RequireFiles(const Manifest& manifest) const;
  Manifest MakeManifest(const ModelRotation* rotation) const;
  double ModelBitsPerWeight(const std::vector<FileRecord>& files) const;
  void WriteTimings() const;

  const QuantizeOptions& options_;
  Recipe recipe_;  // with the bits that an allocation gave
  const Checkpoint& checkpoint_;
  const std::string& source_hash_;
  const Context& context_;
  std::string run_key_;
  std::optional<OutputLock> lock_;
  std::optional<Journal> journal_;
  QuantizeResult result_;
};

}  // namespace qualm
