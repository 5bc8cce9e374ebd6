// Everything a run writes into its output folder except journal and manifest: block files, the rest
// of the tensors, index, copies of config and tokenizer. Before that it decides whether the folder
// may be used at all, since a wrong answer would delete a user's files.
#include "quantize/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "artefact/store.h"
#include "base/error.h"
#include "base/error_place.h"
#include "base/file.h"
#include "base/strings.h"
#include "calibrate/sampler.h"
#include "chat/model_templates.h"
#include "data/overlap.h"
#include "io/hash.h"
#include "model/config_reader.h"
#include "model/family.h"

namespace qualm {
namespace {

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kRestName = "rest.safetensors";
constexpr const char* kTimingsName = "timings.json";
// What LoadTokenizer and chat templates read (names or globs), and the model's two configurations.
constexpr std::array<std::string_view, 17> kCompanions = {"config.json",
                                                          "generation_config.json",
                                                          "tokenizer.json",
                                                          "tokenizer.model",
                                                          "tokenizer_config.json",
                                                          "special_tokens_map.json",
                                                          "added_tokens.json",
                                                          "vocab.json",
                                                          "merges.txt",
                                                          "chat_template.jinja",
                                                          "chat_template.json",
                                                          "vocab.txt",
                                                          "*.tiktoken",
                                                          "tiktoken.model",
                                                          "spiece.model",
                                                          "sentencepiece.bpe.model",
                                                          "spm.model"};

bool IsCompanion(const std::string& name) {
  return std::ranges::any_of(kCompanions,
                             [&](std::string_view glob) { return MatchesGlob(name, glob); });
}

std::string BlockFileName(size_t block) {
  std::string digits = StrCat(block);
  return StrCat("block-", std::string(5 - std::min<size_t>(5, digits.size()), '0'), digits,
                ".safetensors");
}

// `name` is below the output folder.
FileRecord RecordOfFile(const std::filesystem::path& out, const std::string& name) {
  return {name, HashFile(out / name), std::filesystem::file_size(out / name)};
}

// Whether a block file holds the tensor. Leftovers of blocks that the configuration does not have
// belong to the rest.
bool IsInsideABlock(const Checkpoint& checkpoint, const std::string& name) {
  for (size_t b = 0; b < checkpoint.plan().blocks.size(); ++b) {
    if (name.starts_with(checkpoint.plan().NameIn(b, ""))) return true;
  }
  return false;
}

// Temporary files are named by AtomicFile: the final name, ".tmp." and the writer's process id.
bool IsTemporary(const std::string& name) {
  const size_t at = name.find(".tmp.");
  return at != std::string::npos && name.size() > at + 5 &&
         name.find_first_not_of("0123456789", at + 5) == std::string::npos;
}

// Whether a run may have written a file of this name, finished or not.
bool IsOurs(const std::string& temporary_or_name) {
  std::string name = temporary_or_name;
  if (IsTemporary(name)) name.resize(name.find(".tmp."));
  for (const char* own :
       {kIndexName, kRestName, kTimingsName, kManifestName, kJournalName, kCalibrationGramsName}) {
    if (name == own) return true;
  }
  return MatchesGlob(name, "block-?????.safetensors") || IsCompanion(name);
}

// Names of the files in the model's folder of further chat templates, sorted.
std::vector<std::string> TemplatesBeside(const std::filesystem::path& model) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(model / kMoreTemplatesFolder, ignored)) {
    const std::filesystem::path name = entry.path().filename();
    if (name.extension() == ".jinja" && entry.is_regular_file(ignored)) {
      found.push_back(StrCat(kMoreTemplatesFolder, "/", name.string()));
    }
  }
  std::ranges::sort(found);
  return found;
}

// Whether the folder is one of chat templates that a run may have made. A link leads to files of
// somebody else.
bool IsOurTemplateFolder(const std::filesystem::directory_entry& entry) {
  if (entry.path().filename() != kMoreTemplatesFolder) return false;
  if (entry.is_symlink() || !entry.is_directory()) return false;
  return std::ranges::all_of(
      std::filesystem::directory_iterator(entry.path()), [](const auto& file) {
        const std::string name = file.path().filename().string();
        return !file.is_directory() && (name.ends_with(".jinja") || IsTemporary(name));
      });
}

// Adds embedding, head and last norm in the rotated basis; returns the names of what they replace.
std::vector<std::string> AddRotatedTables(const Checkpoint& checkpoint,
                                          const ModelRotation& rotation, TensorBatch& rest) {
  const ModelPlan& plan = checkpoint.plan();
  const auto add = [&](const std::string& name, const Matrix& values) {
    rest.AddFloats(name, DType::kF32, {values.rows(), values.cols()},
                   {values.data(), values.rows() * values.cols()});
  };

  // The head has a table of its weights even if it was tied: norm and rotation make it another
  // matrix.
  add(plan.embedding.name + ".weight", rotation.Embedding());
  add(plan.head.name + ".weight", rotation.Head());
  std::vector<std::string> replaced = {plan.embedding.name + ".weight", plan.head.name + ".weight"};
  if (plan.final_norm && plan.final_norm->has_weight) {
    replaced.push_back(plan.final_norm->name + ".weight");
    const std::vector<float> norm = rotation.FinalNorm();
    rest.AddFloats(replaced.back(), DType::kF32, {norm.size()}, norm);
  }
  return replaced;
}

// Removes files that a killed run was writing. A live run holds the lock, so none of its files is
// here.
void RemoveAll(const std::vector<std::filesystem::path>& files) {
  for (const auto& path : files) std::filesystem::remove(path);
}

}  // namespace

std::vector<std::string> CompanionFiles(const std::filesystem::path& model) {
  std::vector<std::string> found;
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(model)) {
    names.insert(entry.path().filename().string());
  }

  // In the table's order, which the hash of a source depends on.
  for (std::string_view glob : kCompanions) {
    std::ranges::copy_if(names, std::back_inserter(found),
                         [&](const std::string& name) { return MatchesGlob(name, glob); });
  }
  for (std::string& name : TemplatesBeside(model)) found.push_back(std::move(name));
  return found;
}

void CopyCompanion(const std::filesystem::path& model, const std::string& name,
                   const std::filesystem::path& out) {
  std::filesystem::create_directories((out / name).parent_path());
  WriteFileAtomically(out / name, ReadFile(model / name));
}

InputSet SourceFiles(const Checkpoint& checkpoint) {
  InputSet files = checkpoint.Inputs();
  for (const std::string& name : CompanionFiles(checkpoint.folder())) {
    files.Add(name, checkpoint.folder() / name);
  }
  return files;
}

// The lock is on the folder's descriptor: it needs no file and ends with the process.
OutputLock::OutputLock(const std::filesystem::path& out) {
  std::error_code error;
  if (std::filesystem::exists(out) && !std::filesystem::is_directory(out)) {
    ThrowBadInput(out.string(), "an output folder", "a file");
  }
  std::filesystem::create_directories(out, error);
  if (error) ThrowFailed(out.string(), StrCat("cannot create the folder: ", error.message()));

  fd_ = ::open(out.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0) ThrowFailed(out.string(), StrCat("cannot open: ", std::strerror(errno)));
  // A lock that cannot be had at once belongs to another run.
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  ::close(fd_);
  ThrowBadInput(out.string(), "a folder that no other run writes to", "one that is being written",
                "wait for it, or choose another folder");
}

OutputLock::~OutputLock() { ::close(fd_); }

void PrepareOutput(const std::filesystem::path& out, const std::filesystem::path& model,
                   bool overwrite) {
  // The model itself must never be overwritten.
  std::error_code error;
  if (std::filesystem::equivalent(out, model, error)) {
    ThrowBadInput(out.string(), "an output folder beside the model", "the model's own folder");
  }
  std::filesystem::create_directories(out, error);
  if (error) ThrowFailed(out.string(), StrCat("cannot create the folder: ", error.message()));

  // What is there, by who wrote it.
  bool is_artefact = HasManifest(out), is_unfinished = std::filesystem::exists(out / kJournalName);
  std::vector<std::filesystem::path> ours, foreign, temporary;
  for (const auto& entry : std::filesystem::directory_iterator(out)) {
    std::string name = entry.path().filename().string();
    if (IsOurTemplateFolder(entry)) {
      // Its files go before itself.
      for (const auto& file : std::filesystem::directory_iterator(entry.path())) {
        (IsTemporary(file.path().filename().string()) ? temporary : ours).push_back(file.path());
      }
      ours.push_back(entry.path());
    } else if (!IsOurs(name)) {
      foreign.push_back(entry.path());
    } else if (IsTemporary(name)) {
      temporary.push_back(entry.path());
    } else {
      ours.push_back(entry.path());
    }
  }

  // Without manifest and journal the folder is not an earlier output: it must be empty, except for
  // temporary files.
  if (!is_artefact && !is_unfinished) {
    if (ours.empty() && foreign.empty()) {
      RemoveAll(temporary);
      return;
    }
    ThrowBadInput(out.string(), "a new or empty folder, or an earlier output of qualm quantize",
                  StrCat("a folder with other files, such as ",
                         (foreign.empty() ? ours : foreign)[0].filename().string()));
  }

  if (is_artefact && !overwrite) {
    ThrowBadInput(out.string(), "a new folder or an unfinished run", "a finished artefact",
                  "choose another folder or give --overwrite");
  }

  RemoveAll(temporary);
  if (!overwrite) return;
  // From here the earlier output is removed. A journal marks the folder as ours until the last file
  // is gone, and without a manifest nothing that is half removed passes for an artefact.
  if (!is_unfinished) WriteFileAtomically(out / kJournalName, "");
  std::filesystem::remove(out / kManifestName);
  for (const auto& path : ours) {
    if (path.filename() != kJournalName) std::filesystem::remove(path);
  }
  std::filesystem::remove(out / kJournalName);
}

bool IsTensorFile(std::string_view name) {
  return name.ends_with(".safetensors") && name != kCalibrationGramsName;
}

namespace {

// Whether the family of this configuration asks for the key; in any other family's it is an error.
bool AsksFor(const Json& config, const std::string& key) {
  const ConfigReader reader(config);
  const std::string model_type = GetString(config, "model_type", kNoPlace);
  (void)FindFamily(model_type, AllFamilies()).plan(reader);
  return reader.WasAskedFor({key});
}

}  // namespace

// A head that nobody can tie is as it was rotated.
Json RotatedConfig(Json config, const ModelPlan& plan) {
  if (AsksFor(config, "tie_word_embeddings")) config["tie_word_embeddings"] = false;
  if (plan.head_has_unit_rows) config["norm_head"] = false;
  return config;
}

// Quantized layers first, then changed tensors, then every tensor of the block that is neither.
FileRecord WriteBlockFile(const std::filesystem::path& out, const Checkpoint& checkpoint,
                          size_t block, const QuantizedBlock& quantized) {
  TensorBatch batch;
  std::vector<std::string> replaced;
  // `replaced` collects the names of source tensors that are not copied below.
  for (const auto& [record, layer] : quantized.layers) {
    batch.AddQuantized(record.name, layer);
    replaced.push_back(record.name + ".weight");
  }
  for (const ChangedTensor& tensor : quantized.changed) {
    batch.AddFloats(tensor.name, DType::kF32, tensor.shape, tensor.values);
    replaced.push_back(tensor.name);
  }

  std::string prefix = checkpoint.plan().NameIn(block, "");
  for (const std::string& name : checkpoint.tensors().names()) {
    if (!name.starts_with(prefix)) continue;
    if (std::ranges::find(replaced, name) != replaced.end()) continue;
    batch.AddView(checkpoint.tensors().Get(name));
  }

  const std::string name = BlockFileName(block);
  WriteSafetensors(out / name, batch.tensors(), {{"format", "qualm"}});
  return RecordOfFile(out, name);
}

std::vector<FileRecord> WriteRemainingFiles(const std::filesystem::path& out,
                                            const Checkpoint& checkpoint,
                                            const ModelRotation* rotation,
                                            const std::vector<FileRecord>& block_files,
                                            const CalibrationSet* calibration) {
  // Everything outside the blocks, rotated or as it is.
  TensorBatch rest;
  const bool is_rotated = rotation != nullptr && rotation->changes_residual();
  const std::vector<std::string> replaced =
      is_rotated ? AddRotatedTables(checkpoint, *rotation, rest) : std::vector<std::string>{};
  for (const std::string& name : checkpoint.tensors().names()) {
    if (IsInsideABlock(checkpoint, name)) continue;
    if (std::ranges::find(replaced, name) != replaced.end()) continue;
    rest.AddView(checkpoint.tensors().Get(name));
  }
  WriteSafetensors(out / kRestName, rest.tensors(), {{"format", "qualm"}});

  // The index says which file holds a tensor.
  std::map<std::string, std::string> weight_map;
  uint64_t total = 0;
  auto add = [&](const std::string& name) {
    TensorFile file = TensorFile::Open(out / name);
    for (const TensorView& tensor : file.tensors()) {
      weight_map[tensor.name] = name;
      total += tensor.bytes.size();
    }
  };
  for (const FileRecord& file : block_files) add(file.name);
  add(kRestName);
  WriteJsonFile(out / kIndexName,
                Json{{"metadata", Json{{"total_size", total}}}, {"weight_map", weight_map}});

  // Records of all files so far, then of the files that are copied from the model.
  std::vector<FileRecord> records = block_files;
  records.push_back(RecordOfFile(out, kRestName));
  records.push_back(RecordOfFile(out, kIndexName));
  for (const std::string& name : CompanionFiles(checkpoint.folder())) {
    // A rotated head is not the embedding any more, and what the command line changed stays so.
    if (name == "config.json" && (is_rotated || !checkpoint.source().config.empty())) {
      const Json config = ReadModelConfig(checkpoint.source());
      WriteJsonFile(out / name, is_rotated ? RotatedConfig(config, checkpoint.plan()) : config);
    } else {
      CopyCompanion(checkpoint.folder(), name, out);
    }
    records.push_back(RecordOfFile(out, name));
  }

  if (calibration != nullptr) {
    WriteGramHashes(out, GramHashes(calibration->sequences));
    records.push_back(RecordOfFile(out, kCalibrationGramsName));
  }
  return records;
}

std::vector<std::string> ChangedTensorNames(const std::filesystem::path& out,
                                            const Checkpoint& checkpoint,
                                            const std::vector<FileRecord>& files) {
  std::vector<std::string> changed;
  // Tensors of quantized layers have other names than the source's, so they are not found there.
  for (const FileRecord& file : files) {
    if (!IsTensorFile(file.name)) continue;
    const TensorFile written = TensorFile::Open(out / file.name);
    for (const TensorView& tensor : written.tensors()) {
      const TensorView* source = checkpoint.tensors().Find(tensor.name);
      if (source == nullptr) continue;  // a part of a quantized layer
      if (source->type == tensor.type && std::ranges::equal(source->bytes, tensor.bytes)) continue;
      changed.push_back(tensor.name);
    }
  }

  // The files' order is not the names' order.
  std::ranges::sort(changed);
  return changed;
}

}  // namespace qualm
