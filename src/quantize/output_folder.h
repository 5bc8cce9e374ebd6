// The folder a run writes to: what may be in it at the start, the files of blocks, and what is
// added at the end so that it is a model folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "artefact/manifest.h"
#include "io/json.h"
#include "model/checkpoint.h"
#include "quantize/block_run.h"

namespace qualm {

struct CalibrationSet;

// Keeps other processes out of `out` (which it creates) for its lifetime; the system lets go of it
// when the process ends, however it ends. Throws bad input if another run holds it. The lock is on
// the folder itself: it does not create a file.
class OutputLock {
 public:
  explicit OutputLock(const std::filesystem::path& out);
  ~OutputLock();
  OutputLock(const OutputLock&) = delete;
  OutputLock& operator=(const OutputLock&) = delete;

 private:
  int fd_ = -1;
};

// Creates `out` if need be and removes the temporary files of a killed run. Throws bad input if it
// holds a finished artefact (unless `overwrite`) or files that are not ours; with `overwrite`
// removes what an earlier run left there (also of another model), nothing else.
void PrepareOutput(const std::filesystem::path& out, const std::filesystem::path& model,
                   bool overwrite);

// Writes "block-00003.safetensors": the quantized layers, the tensors that transforms changed (as
// float32), then the block's other tensors as they are.
FileRecord WriteBlockFile(const std::filesystem::path& out, const Checkpoint& checkpoint,
                          size_t block, const QuantizedBlock& quantized);

// The config.json of the rotated model of a plan: its head is not its embedding, and is used as it
// is stored.
Json RotatedConfig(Json config, const ModelPlan& plan);

// Writes "rest.safetensors" (every tensor outside the blocks), the index, copies of config and
// tokenizer files and, with a calibration set, the hashes of its 13-grams. `block_files` are the
// names from WriteBlockFile. With `rotation` (null: none) embedding, head and last norm are the
// rotated ones, and config.json says that the head is no longer tied. Returns the records of all
// files that decide the model's function, in a fixed order.
std::vector<FileRecord> WriteRemainingFiles(const std::filesystem::path& out,
                                            const Checkpoint& checkpoint,
                                            const ModelRotation* rotation,
                                            const std::vector<FileRecord>& block_files,
                                            const CalibrationSet* calibration);

// Names of the float tensors of `files` that are not the checkpoint's, byte for byte; sorted.
std::vector<std::string> ChangedTensorNames(const std::filesystem::path& out,
                                            const Checkpoint& checkpoint,
                                            const std::vector<FileRecord>& files);

// Whether the file holds tensors of the model.
bool IsTensorFile(std::string_view name);

// Names of the files, other than the weights, that belong to a model (tokenizer, generation
// settings), below its folder: further chat templates lie in their own folder.
std::vector<std::string> CompanionFiles(const std::filesystem::path& model);
// Copies one of them into the folder `out`, which exists.
void CopyCompanion(const std::filesystem::path& model, const std::string& name,
                   const std::filesystem::path& out);

// The files that quantizing a float model reads or copies: its checkpoint and its companions.
InputSet SourceFiles(const Checkpoint& checkpoint);

}  // namespace qualm
