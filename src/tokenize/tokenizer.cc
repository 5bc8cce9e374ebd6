#include "tokenize/tokenizer.h"

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/sentencepiece_tokenizer.h"
#include "tokenize/tokenizer_config.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLargestFile = uint64_t{1} << 30;

// A StreamingDecoder forgets what is older than this many tokens.
constexpr size_t kStreamWindow = 64, kStreamContext = 8;

std::unique_ptr<Tokenizer> LoadModelFile(const fs::path& path, const TokenizerConfig& config) {
  std::string bytes = ReadFile(path, kLargestFile);
  // Rank files ("IQ== 0" on every line) carry the same name in some releases.
  std::string_view first_line = std::string_view(bytes).substr(0, bytes.find('\n'));
  if (first_line.size() < 40 && first_line.find("= ") != std::string_view::npos) {
    ThrowBadInput(path.string(), "a SentencePiece model",
                  "a rank file, which does not say how to split words",
                  "use the release's tokenizer.json");
  }
  return ParseSentencePiece(bytes, path.string(), config);
}

// The tokenizer of one file; `config` comes from the other files of its folder.
std::unique_ptr<Tokenizer> LoadFile(const fs::path& path, TokenizerConfig& config) {
  config.inputs.Add(path.filename().string(), path);
  if (path.extension() == ".model") return LoadModelFile(path, config);
  if (path.filename() == "vocab.json") {
    const fs::path merges = path.parent_path() / "merges.txt";
    config.inputs.Add("merges.txt", merges);
    return LoadVocabAndMerges(path, merges, config);
  }
  if (path.extension() == ".json") {
    return ParseTokenizerJson(ReadFile(path, kLargestFile), path.string(), config);
  }
  ThrowBadInput(path.string(), "tokenizer.json, a SentencePiece .model or vocab.json", "neither");
}

fs::path FileIn(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json"}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  ThrowBadInput(folder.string(), "tokenizer.json, tokenizer.model or vocab.json in the folder",
                "none of them");
}

}  // namespace

std::unique_ptr<Tokenizer> LoadTokenizer(const fs::path& path) {
  const fs::path file = fs::is_directory(path) ? FileIn(path) : path;
  TokenizerConfig config = ReadTokenizerConfig(file.parent_path());
  std::unique_ptr<Tokenizer> tokenizer = LoadFile(file, config);
  tokenizer->inputs_ = std::move(config.inputs);
  return tokenizer;
}

std::string IdsAndPieces(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::string text;
  for (TokenId id : ids) text += StrCat(text.empty() ? "" : " ", id, ":", tokenizer.Piece(id));
  return text;
}

std::vector<TokenId> Tokenizer::EncodeWithSpecial(std::string_view text) const {
  std::vector<TokenId> ids = Encode(text);
  if (special_.add_bos && (ids.empty() || ids.front() != *special_.bos)) {
    ids.insert(ids.begin(), *special_.bos);
  }
  if (special_.add_eos && (ids.empty() || ids.back() != *special_.eos))
    ids.push_back(*special_.eos);
  return ids;
}

StreamingDecoder::StreamingDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

std::string StreamingDecoder::Push(TokenId id) {
  ids_.push_back(id);
  std::string text = tokenizer_.Decode(ids_);
  // A decoder that strips the end of the text can take back what was there; wait for more then.
  if (text.size() <= emitted_bytes_) return {};
  std::string_view fresh = std::string_view(text).substr(emitted_bytes_);
  fresh.remove_suffix(UnfinishedBytes(fresh));
  emitted_bytes_ += fresh.size();
  std::string out = RepairUtf8(fresh);
  if (ids_.size() >= kStreamWindow && emitted_bytes_ == text.size()) {
    // What comes next depends on the tokens before only through whether text has begun.
    std::vector<TokenId> context(ids_.end() - kStreamContext, ids_.end());
    std::string context_text = tokenizer_.Decode(context);
    if (!context_text.empty()) {
      ids_ = std::move(context);
      emitted_bytes_ = context_text.size();
    }
  }
  return out;
}

std::string StreamingDecoder::Flush() {
  std::string text = tokenizer_.Decode(ids_);
  std::string out;
  if (text.size() > emitted_bytes_) out = RepairUtf8(std::string_view(text).substr(emitted_bytes_));
  ids_.clear();
  emitted_bytes_ = 0;
  return out;
}

}  // namespace qualm
