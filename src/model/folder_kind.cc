// Tells kinds of model folders apart by their files' names and first bytes, so that a user reads
// what the folder is instead of the first symptom of it (a missing tensor, an unknown type).
#include "model/folder_kind.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "io/file_kind.h"
#include "io/gguf.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExpectedFolder =
    "a model folder with config.json and model.safetensors or pytorch_model.bin (or shards and "
    "their index)";
constexpr std::string_view kGgufHint = "name the file";
constexpr std::string_view kOtherNameHint =
    "call it pytorch_model.bin, or its shards' index pytorch_model.bin.index.json, if it holds the "
    "whole model";
constexpr std::string_view kAdapterHint =
    "name its base model, and the adapter by --adapter; or merge them by qualm convert";
constexpr std::string_view kOriginalHint =
    "use the Hugging Face form of the same model, or convert it by transformers";

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::string FrontOf(const fs::path& path) {
  std::string front(64, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(front.data(), static_cast<std::streamsize>(front.size()));
  front.resize(static_cast<size_t>(file.gcount()));
  return front;
}

bool IsPointer(const fs::path& path) { return IsGitLfsPointer(FrontOf(path)); }

// A file was given where a folder is needed.
[[noreturn]] void ThrowFile(const fs::path& path) {
  const std::string front = FrontOf(path);
  std::string_view kind = "a file", hint = "name its folder";

  // A user often names the file that they have downloaded.
  if (IsGitLfsPointer(front)) {
    kind = "a git-lfs pointer";
    hint = "run git lfs pull, then name the folder";
  } else if (IsPickle(front)) {
    kind = "a file of torch.save";
    hint = "name its folder";
  }
  ThrowBadInput(path.string(), kExpectedFolder, kind, hint);
}

// Names of the folder's files, sorted.
std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entries(folder, error), end; !error && entries != end;
       entries.increment(error)) {
    names.push_back(entries->path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

// The first name that fits one of the patterns; empty: none does.
std::string FirstLike(const std::vector<std::string>& names,
                      std::initializer_list<std::string_view> patterns) {
  for (std::string_view pattern : patterns) {
    for (const std::string& name : names) {
      if (MatchesGlob(name, pattern)) return name;
    }
  }
  return "";
}

// A clone without git-lfs has short texts in place of the large files.
void RefusePointers(const fs::path& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const bool is_needed = name.ends_with(".safetensors") || name.ends_with(".json") ||
                           name.ends_with(".bin") || name.ends_with(".model") ||
                           name.ends_with(".txt");
    if (!is_needed || !IsPointer(folder / name)) continue;
    ThrowBadInput((folder / name).string(), "the file itself", "a git-lfs pointer to it",
                  "run git lfs pull in the folder, or download the file again");
  }
}

// A folder without config.json.
[[noreturn]] void ThrowNoConfig(const fs::path& folder, const std::vector<std::string>& names) {
  // Each kind has files that no other kind has.
  const auto refuse = [&](std::string_view kind, std::string_view hint) {
    ThrowBadInput(folder.string(), kExpectedFolder, kind, hint);
  };
  if (!FirstLike(names, {"adapter_config.json"}).empty()) {
    refuse("a PEFT adapter (adapter_config.json)", kAdapterHint);
  }
  const std::string original = FirstLike(names, {"consolidated*"});
  if (!original.empty() && !FirstLike(names, {"params.json"}).empty()) {
    refuse(StrCat("the original form of Meta's or Mistral's models (params.json, ", original, ")"),
           kOriginalHint);
  }
  const std::string gguf = FirstLike(names, {"*.gguf"});
  if (!gguf.empty()) refuse(StrCat("GGUF files (", gguf, ")"), kGgufHint);

  ThrowBadInput((folder / "config.json").string(), "the configuration of a model folder",
                "no such file",
                "a model folder has config.json and model.safetensors or pytorch_model.bin");
}

// A folder with config.json but without tensors that can be found.
void RefuseOtherWeights(const fs::path& folder, const std::vector<std::string>& names) {
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    if (Exists(folder / name) || Exists(folder / StrCat(name, ".index.json"))) return;
  }
  if (Exists(folder / "qmodel.pt")) return;  // HQQ's
  // A single file of another name is the model's, unless it is of another kind.
  const bool is_other = !FirstLike(names, {"adapter_model.*", "consolidated*", "model-*"}).empty();
  if (!is_other && std::ranges::count_if(names, [](const std::string& name) {
                     return name.ends_with(".safetensors");
                   }) == 1) {
    return;
  }
  const auto refuse = [&](const std::string& name, std::string_view kind, std::string_view hint) {
    if (name.empty()) return;
    ThrowBadInput(folder.string(),
                  "weights in model.safetensors or pytorch_model.bin (or shards and their index)",
                  StrCat(kind, " (", name, ")"), hint);
  };

  // The most specific kinds come first.
  refuse(FirstLike(names, {"adapter_model.safetensors", "adapter_model.bin"}), "a PEFT adapter",
         kAdapterHint);
  refuse(FirstLike(names, {"model-*.safetensors"}), "shards without an index",
         "get model.safetensors.index.json, too");
  refuse(FirstLike(names, {"pytorch_model-*.bin"}), "shards without an index",
         "get pytorch_model.bin.index.json, too");
  refuse(FirstLike(names, {"consolidated*.safetensors"}), "Mistral's original form", kOriginalHint);
  refuse(FirstLike(names, {"consolidated*.pth"}), "Meta's original form, a pickle", kOriginalHint);
  refuse(FirstLike(names, {"*.bin", "*.pth", "*.pt", "*.ckpt"}),
         "weights in a file of another name", kOtherNameHint);
  refuse(FirstLike(names, {"*.gguf"}), "weights in GGUF", kGgufHint);
  refuse(FirstLike(names, {"*.safetensors"}), "several safetensors files of other names",
         "call the one that holds the whole model model.safetensors");
  refuse(FirstLike(names, {"tf_model*", "flax_model*", "*.onnx"}), "weights of another framework",
         "convert them to safetensors by transformers");
}

}  // namespace

void RequireModelFolder(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    if (IsGgufFile(path)) return;
    if (Exists(path)) ThrowFile(path);
    ThrowBadInput(path.string(), kExpectedFolder, "nothing at this path");
  }

  const std::vector<std::string> names = NamesIn(path);
  RefusePointers(path, names);
  if (!Exists(path / "config.json")) ThrowNoConfig(path, names);
  RefuseOtherWeights(path, names);
}

}  // namespace qualm
