// Finds the text files of a folder, makes documents of them, and measures what came of it.
#include "data/corpus.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "data/text_lines.h"
#include "io/hash.h"
#include "io/json.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

bool IsCorpusFile(const std::filesystem::path& path) {
  return path.extension() == ".txt" || path.extension() == ".jsonl";
}

void AddLines(std::string_view text, const std::filesystem::path& path, std::string_view field,
              std::vector<std::string>& documents) {
  ForJsonLines(text, path.string(), [&](const Json& json, const std::string& place) {
    documents.push_back(GetString(json, field, place));
  });
}

void AddFile(const std::filesystem::path& path, const CorpusOptions& options,
             std::vector<std::string>& documents) {
  std::string text = ReadFile(path, options.max_file_bytes);
  if (path.extension() == ".jsonl") {
    AddLines(text, path, options.text_field, documents);
  } else {
    documents.push_back(std::move(text));
  }
}

std::vector<std::filesystem::path> CorpusFilesIn(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  if (error) ThrowBadInput(folder.string(), "a readable folder", error.message());
  for (const auto& entry : entries) {
    if (IsCorpusFile(entry.path()) && entry.is_regular_file(error)) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  if (files.empty()) ThrowBadInput(folder.string(), "a folder with .txt or .jsonl files", "none");
  return files;
}

}  // namespace

std::string Corpus::Joined() const { return Join(documents, separator); }

uint64_t Corpus::size_bytes() const {
  uint64_t total = 0;
  for (const std::string& document : documents) total += document.size();
  return total;
}

uint64_t Corpus::bytes_not_utf8() const {
  uint64_t count = 0;
  for (std::string_view rest : documents) {
    while (!rest.empty()) {
      const size_t length = ValidCharacterLength(rest);
      count += length == 0;
      rest.remove_prefix(std::max<size_t>(1, length));
    }
  }
  return count;
}

Corpus MakeCorpus(std::string_view name, std::vector<std::string> documents) {
  Corpus corpus;
  corpus.name = name;
  corpus.documents = std::move(documents);
  if (corpus.size_bytes() == 0) ThrowBadInput(name, "a corpus with text", "none");
  Hasher hasher;
  for (const std::string& document : corpus.documents) hasher.Add(document);
  corpus.hash = hasher.Hex();
  return corpus;
}

Corpus LoadCorpus(const std::filesystem::path& path, const CorpusOptions& options) {
  std::vector<std::filesystem::path> files = {path};
  if (std::filesystem::is_directory(path)) {
    files = CorpusFilesIn(path);
  } else if (!std::filesystem::exists(path)) {
    ThrowBadInput(path.string(), "a corpus", "no such file or folder");
  }
  std::vector<std::string> documents;
  for (const auto& file : files) AddFile(file, options, documents);

  // A folder given as "texts/" has an empty last component.
  const std::filesystem::path named = path.has_filename() ? path : path.parent_path();
  Corpus corpus = MakeCorpus(named.filename().string(), std::move(documents));
  for (const auto& file : files) corpus.inputs.Add(file.filename().string(), file);
  return corpus;
}

}  // namespace qualm
