// Looks models up in the hub's cache: models--ORG--NAME/refs/REVISION holds a commit's hash, and
// snapshots/HASH is the model's folder, whose files are links to blobs.
#include "model/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/json.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCommitDigits = 40, kFewestDigits = 4;

// A repository of the hub and what of it is asked for.
struct HubName {
  std::string repository;  // "ORG/NAME"
  std::string revision;    // "main"
  bool is_default = true;  // nobody named the revision
};

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

// The hub's rule: letters, digits, '-', '_' and '.', but neither ".." nor "--", and none of them at
// the ends.
bool IsNamePart(std::string_view part) {
  const auto is_mark = [](char c) { return c == '-' || c == '.'; };
  return !part.empty() && std::ranges::all_of(part, IsNameCharacter) && !is_mark(part.front()) &&
         !is_mark(part.back()) && part.find("--") == std::string_view::npos &&
         part.find("..") == std::string_view::npos;
}

// A branch may have slashes ("refs/pr/1"), but leads nowhere else.
bool IsRevision(std::string_view revision) {
  const std::vector<std::string> parts = Split(revision, '/');
  return std::ranges::all_of(parts, [](const std::string& part) {
    return !part.empty() && part != "." && part != ".." &&
           std::ranges::all_of(part, [](char c) { return IsNameCharacter(c) || c == '+'; });
  });
}

// Empty for what is not of the form ORG/NAME[@REVISION].
std::optional<HubName> ParseHubName(const std::string& model) {
  const size_t at = model.find('@');
  HubName name{model.substr(0, at), "main"};
  if (at != std::string::npos) {
    name.revision = model.substr(at + 1);
    name.is_default = false;
  }
  const std::vector<std::string> parts = Split(name.repository, '/');
  const bool is_name = parts.size() == 2 && IsNamePart(parts[0]) && IsNamePart(parts[1]);
  if (!is_name || !IsRevision(name.revision)) return std::nullopt;
  return name;
}

std::string DownloadCommand(const HubName& name) {
  return StrCat("download it: hf download ", name.repository,
                name.is_default ? "" : StrCat(" --revision ", name.revision));
}

std::string Environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

// "~" is the home folder, as for the hub's own tools.
fs::path Expanded(const std::string& path) {
  if (path != "~" && !path.starts_with("~/")) return path;
  return fs::path(Environment("HOME")) / (path.size() > 2 ? path.substr(2) : "");
}

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

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// The commit that a branch or tag stands for, or the one commit whose hash begins so.
std::string CommitOf(const HubName& name, const fs::path& repository) {
  const fs::path ref = repository / "refs" / name.revision;
  std::error_code ignored;
  if (fs::is_regular_file(ref, ignored)) {
    const std::string content = ReadFile(ref);
    const std::string commit(Trim(content));
    if (commit.size() != kCommitDigits || !IsHex(commit)) {
      ThrowBadInput(ref.string(), "a commit's hash of 40 digits",
                    StrCat("'", commit.substr(0, 60), "'"));
    }
    return commit;
  }

  // Snapshots are named by whole hashes.
  const std::vector<std::string> commits = NamesIn(repository / "snapshots");
  std::vector<std::string> found;
  if (name.revision.size() >= kFewestDigits && IsHex(name.revision)) {
    for (const std::string& commit : commits) {
      if (commit.starts_with(name.revision)) found.push_back(commit);
    }
  }
  if (found.size() == 1) return found.front();
  const std::string place = StrCat(name.repository, "@", name.revision);
  if (found.size() > 1) {
    ThrowBadInput(place, "the beginning of one commit's hash", Join(found, " and "));
  }
  ThrowBadInput(
      place, StrCat("that revision in ", repository.string()),
      StrCat("refs ", Join(NamesIn(repository / "refs"), ", "), "; commits ", Join(commits, ", ")),
      DownloadCommand(name));
}

// The files that hold the weights, as far as names tell: a single one, or an index and its shards.
std::vector<std::string> WeightFiles(const fs::path& folder) {
  for (const std::string file : {"model.safetensors", "pytorch_model.bin"}) {
    if (Exists(folder / file)) return {file};
    const std::string index = file + ".index.json";
    if (!Exists(folder / index)) continue;

    // What is wrong with an index is said by its reader.
    std::set<std::string> shards;
    const Json json = ReadJsonFile(folder / index);
    const auto map = json.is_object() ? json.find("weight_map") : json.end();
    if (!json.is_object() || map == json.end() || !map->is_object()) return {index};
    for (const auto& item : map->items()) {
      if (item.value().is_string()) shards.insert(item.value().get<std::string>());
    }
    return {shards.begin(), shards.end()};
  }
  return {};
}

// A download that was interrupted, or was of some files only, leaves others out.
void RequireComplete(const HubName& name, const fs::path& snapshot, ModelParts parts) {
  const auto missing = [&](const std::string& file) {
    ThrowBadInput(name.repository, StrCat("the file ", file, " in ", snapshot.string()),
                  "no such file", DownloadCommand(name));
  };
  if (parts == ModelParts::kWithoutWeights) return;
  if (!Exists(snapshot / "config.json")) missing("config.json");

  for (const std::string& file : WeightFiles(snapshot)) {
    if (!Exists(snapshot / file)) missing(file);
  }
  // Weights of another kind are named by the reader of the folder.
  const std::vector<std::string> names = NamesIn(snapshot);
  const bool has_weights = std::ranges::any_of(names, [&](const std::string& file) {
    const std::string extension = fs::path(file).extension().string();
    return extension != ".json" && extension != ".txt" && extension != ".md" &&
           extension != ".model" && extension != ".jinja" && file.front() != '.';
  });
  if (!has_weights && WeightFiles(snapshot).empty()) missing("model.safetensors");
}

fs::path RepositoryFolder(const HubName& name) {
  const std::vector<std::string> words = Split(name.repository, '/');
  return HubCacheFolder() / StrCat("models--", words[0], "--", words[1]);
}

}  // namespace

fs::path HubCacheFolder() {
  if (const std::string folder = Environment("HF_HUB_CACHE"); !folder.empty()) {
    return Expanded(folder);
  }
  if (const std::string folder = Environment("HF_HOME"); !folder.empty()) {
    return Expanded(folder) / "hub";
  }
  const std::string caches = Environment("XDG_CACHE_HOME");
  return Expanded(caches.empty() ? "~/.cache" : caches) / "huggingface" / "hub";
}

bool IsInHubCache(const std::string& model) {
  const std::optional<HubName> name = ParseHubName(model);
  return name && Exists(RepositoryFolder(*name));
}

fs::path FindModelFolder(const std::string& model, ModelParts parts) {
  const std::optional<HubName> name = ParseHubName(model);
  if (Exists(model) || !name) return model;

  const fs::path repository = RepositoryFolder(*name);
  if (!Exists(repository)) {
    ThrowBadInput(model,
                  StrCat("a folder, or a model in the hub's cache ", HubCacheFolder().string()),
                  "neither", DownloadCommand(*name));
  }

  const std::string commit = CommitOf(*name, repository);
  const fs::path snapshot = repository / "snapshots" / commit;
  if (!Exists(snapshot)) {
    ThrowBadInput(model, StrCat("the snapshot ", snapshot.string()), "no such folder",
                  DownloadCommand(*name));
  }
  RequireComplete(*name, snapshot, parts);
  return snapshot;
}

}  // namespace qualm
