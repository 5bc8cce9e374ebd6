#include "quantize/output_folder.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "artefact/store.h"
#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/hash.h"

namespace qualm {
namespace {

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kRestName = "rest.safetensors";
constexpr const char* kTimingsName = "timings.json";

std::string BlockFileName(size_t block) {
  std::string digits = StrCat(block);
  return StrCat("block-", std::string(5 - std::min<size_t>(5, digits.size()), '0'), digits,
                ".safetensors");
}

FileRecord RecordOfFile(const std::filesystem::path& path) {
  return {path.filename().string(), HashFile(path), std::filesystem::file_size(path)};
}

bool IsOurs(const std::string& name, const std::vector<std::string>& companions) {
  for (const char* own : {kIndexName, kRestName, kTimingsName, kManifestName, kJournalName}) {
    if (name == own || MatchesGlob(name, StrCat(own, ".tmp.*"))) return true;
  }
  return MatchesGlob(name, "block-?????.safetensors*") ||
         std::ranges::find(companions, name) != companions.end();
}

}  // namespace

std::vector<std::string> CompanionFiles(const std::filesystem::path& model) {
  std::vector<std::string> found;
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
        "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
        "merges.txt", "chat_template.jinja"}) {
    if (std::filesystem::exists(model / name)) found.push_back(name);
  }
  return found;
}

void PrepareOutput(const std::filesystem::path& out, const std::filesystem::path& model,
                   bool overwrite) {
  std::error_code error;
  if (std::filesystem::exists(out) && !std::filesystem::is_directory(out)) {
    ThrowBadInput(out.string(), "an output folder", "a file");
  }
  if (std::filesystem::exists(out) && std::filesystem::equivalent(out, model, error)) {
    ThrowBadInput(out.string(), "an output folder beside the model", "the model's own folder");
  }
  std::filesystem::create_directories(out, error);
  if (error) ThrowFailed(out.string(), StrCat("cannot create the folder: ", error.message()));
  bool is_artefact = HasManifest(out), is_unfinished = std::filesystem::exists(out / kJournalName);
  std::vector<std::filesystem::path> ours, foreign;
  std::vector<std::string> companions = CompanionFiles(model);
  for (const auto& entry : std::filesystem::directory_iterator(out)) {
    (IsOurs(entry.path().filename().string(), companions) ? ours : foreign).push_back(entry.path());
  }
  if (!is_artefact && !is_unfinished) {
    if (ours.empty() && foreign.empty()) return;
    ThrowBadInput(out.string(), "a new or empty folder, or an earlier output of qualm quantize",
                  StrCat("a folder with other files, such as ",
                         (foreign.empty() ? ours : foreign)[0].filename().string()));
  }
  if (is_artefact && !overwrite) {
    ThrowBadInput(out.string(), "a new folder or an unfinished run", "a finished artefact",
                  "choose another folder or give --overwrite");
  }
  for (const auto& path : ours) {
    if (MatchesGlob(path.filename().string(), "*.tmp.*")) std::filesystem::remove(path);
  }
  if (!overwrite) return;
  // The manifest first: without it nothing that is half removed passes for an artefact.
  std::filesystem::remove(out / kManifestName);
  for (const auto& path : ours) std::filesystem::remove(path);
}

FileRecord WriteBlockFile(const std::filesystem::path& out, const Checkpoint& checkpoint,
                          size_t block, const QuantizedBlock& quantized) {
  TensorBatch batch;
  std::vector<std::string> replaced;
  for (const auto& [record, layer] : quantized.layers) {
    batch.AddQuantized(record.name, layer);
    replaced.push_back(record.name + ".weight");
  }
  std::string prefix = StrCat(checkpoint.family().block_prefix, block, ".");
  for (const TensorView& tensor : checkpoint.tensors().tensors()) {
    if (!tensor.name.starts_with(prefix)) continue;
    if (std::ranges::find(replaced, tensor.name) == replaced.end()) batch.AddView(tensor);
  }
  std::filesystem::path path = out / BlockFileName(block);
  WriteSafetensors(path, batch.tensors(), {{"format", "qualm"}});
  return RecordOfFile(path);
}

std::vector<FileRecord> WriteRemainingFiles(const std::filesystem::path& out,
                                            const Checkpoint& checkpoint,
                                            const std::vector<FileRecord>& block_files) {
  TensorBatch rest;
  for (const TensorView& tensor : checkpoint.tensors().tensors()) {
    if (!tensor.name.starts_with(checkpoint.family().block_prefix)) rest.AddView(tensor);
  }
  WriteSafetensors(out / kRestName, rest.tensors(), {{"format", "qualm"}});
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
  std::vector<FileRecord> records = block_files;
  records.push_back(RecordOfFile(out / kRestName));
  records.push_back(RecordOfFile(out / kIndexName));
  for (const std::string& name : CompanionFiles(checkpoint.folder())) {
    WriteFileAtomically(out / name, ReadFile(checkpoint.folder() / name));
    records.push_back(RecordOfFile(out / name));
  }
  return records;
}

}  // namespace qualm
