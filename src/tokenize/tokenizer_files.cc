// In the order of preference: what says most about a tokenizer comes first.
#include "tokenize/tokenizer_files.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

// The first *.tiktoken of a folder by name; empty if there is none.
fs::path RankFileIn(const fs::path& folder) {
  fs::path first;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() != ".tiktoken") continue;
    if (first.empty() || entry.path() < first) first = entry.path();
  }
  return first;
}

}  // namespace

fs::path TokenizerFileIn(const fs::path& folder) {
  const auto has = [&](const char* name) { return fs::exists(folder / name); };
  for (const char* name : {"tokenizer.json", "tokenizer.model", "spiece.model", "tiktoken.model",
                           "sentencepiece.bpe.model", "spm.model"}) {
    if (has(name)) return folder / name;
  }
  if (has("vocab.json") && has("merges.txt")) return folder / "vocab.json";
  if (fs::path ranks = RankFileIn(folder); !ranks.empty()) return ranks;
  if (has("vocab.txt")) return folder / "vocab.txt";
  // Half of a pair: its reader says what is missing.
  return has("vocab.json") ? folder / "vocab.json" : fs::path();
}

}  // namespace qualm
