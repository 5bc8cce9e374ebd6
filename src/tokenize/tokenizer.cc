// Loads the tokenizer of a file or folder, and decodes a stream of ids without giving out half a
// character.
#include "tokenize/tokenizer.h"

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/gguf.h"
#include "tokenize/gguf_tokenizer.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/sentencepiece_tokenizer.h"
#include "tokenize/tokenizer_config.h"
#include "tokenize/tokenizer_files.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLargestFile = uint64_t{1} << 30;

// A StreamingDecoder forgets what is older than this many tokens.
constexpr size_t kStreamWindow = 64, kStreamContext = 8;
// So many tokens without an end of a character will not become one.
constexpr size_t kStreamMost = 512;

// Bytes at the end of `text` that a later token may still change: U+FFFD is there while the
// bytes of a character are coming in.
size_t HeldBackBytes(std::string_view text) {
  size_t held = UnfinishedBytes(text);  // of a tokenizer that does not repair them
  while (text.substr(0, text.size() - held).ends_with(kReplacementCharacter)) {
    held += kReplacementCharacter.size();
  }
  return held;
}

// Where a StreamingDecoder may forget what was before: the last tokens whose text does not begin in
// the middle of a character. Empty if there is no such place.
std::vector<TokenId> ContextOf(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  constexpr size_t kBytesOfCharacter = 4;
  for (size_t count = kStreamContext; count < kStreamContext + kBytesOfCharacter; ++count) {
    const std::span<const TokenId> context = ids.last(count);
    const std::string text = tokenizer.Decode(context);
    if (!text.empty() && !text.starts_with(kReplacementCharacter)) {
      return {context.begin(), context.end()};
    }
  }
  return {};
}

std::unique_ptr<Tokenizer> LoadModelFile(const fs::path& path, const TokenizerConfig& config) {
  const std::string bytes = ReadFile(path, kLargestFile);
  if (IsRankFile(bytes)) return ParseRankFile(bytes, path.string(), config);
  return ParseSentencePiece(bytes, path.string(), config);
}

// The tokenizer of one file; `config` comes from the other files of its folder.
std::unique_ptr<Tokenizer> LoadFile(const fs::path& path, TokenizerConfig& config) {
  config.inputs.Add(path.filename().string(), path);
  if (path.extension() == ".model") return LoadModelFile(path, config);
  if (path.extension() == ".tiktoken") {
    return ParseRankFile(ReadFile(path, kLargestFile), path.string(), config);
  }
  if (path.filename() == "vocab.json") {
    const fs::path merges = path.parent_path() / "merges.txt";
    config.inputs.Add("merges.txt", merges);
    return LoadVocabAndMerges(path, merges, config);
  }
  if (path.extension() == ".json") {
    return ParseTokenizerJson(ReadFile(path, kLargestFile), path.string(), config);
  }
  if (path.filename() == "vocab.txt") return LoadVocabText(path, config);
  ThrowBadInput(path.string(),
                "tokenizer.json, a .model or .tiktoken file, vocab.json or vocab.txt",
                path.filename().string());
}

}  // namespace

bool HasTokenizer(const fs::path& folder) {
  if (IsGgufFile(folder)) return HasGgufTokenizer(GgufFile::Open(folder));
  return !TokenizerFileIn(folder).empty();
}

std::unique_ptr<Tokenizer> LoadTokenizer(const fs::path& path) {
  if (IsGgufFile(path)) {
    const GgufFile gguf = GgufFile::Open(path);
    std::unique_ptr<Tokenizer> tokenizer = MakeGgufTokenizer(gguf);
    for (const fs::path& file : gguf.files()) {
      tokenizer->inputs_.Add(file.filename().string(), file);
    }
    return tokenizer;
  }
  const fs::path file = fs::is_directory(path) ? TokenizerFileIn(path) : path;
  if (file.empty()) {
    ThrowBadInput(path.string(),
                  "tokenizer.json, tokenizer.model, spiece.model, vocab.json + merges.txt, "
                  "*.tiktoken or vocab.txt in the folder",
                  "none of them");
  }
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

bool Tokenizer::Has(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < vocab_size() && !Piece(id).empty();
}

std::vector<TokenId> Tokenizer::TokensBefore() const {
  if (!special_.before.empty()) return special_.before;
  return special_.add_bos ? std::vector<TokenId>{*special_.bos} : std::vector<TokenId>{};
}

std::vector<TokenId> Tokenizer::TokensAfter() const {
  if (!special_.after.empty()) return special_.after;
  return special_.add_eos ? std::vector<TokenId>{*special_.eos} : std::vector<TokenId>{};
}

std::vector<TokenId> Tokenizer::EncodeWithSpecial(std::string_view text) const {
  std::vector<TokenId> ids = Encode(text);
  const std::vector<TokenId> before = TokensBefore(), after = TokensAfter();
  if (!before.empty() && (ids.empty() || ids.front() != before.front())) {
    ids.insert(ids.begin(), before.begin(), before.end());
  }
  if (!after.empty() && (ids.empty() || ids.back() != after.back())) {
    ids.insert(ids.end(), after.begin(), after.end());
  }
  return ids;
}

StreamingDecoder::StreamingDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

std::string StreamingDecoder::Push(TokenId id) {
  ids_.push_back(id);
  std::string text = tokenizer_.Decode(ids_);
  // A decoder that strips the end of the text can take back what was there; wait for more then.
  if (text.size() <= emitted_bytes_) return {};
  std::string_view fresh = std::string_view(text).substr(emitted_bytes_);
  if (ids_.size() < kStreamMost) fresh.remove_suffix(HeldBackBytes(fresh));
  emitted_bytes_ += fresh.size();
  std::string out = RepairUtf8(fresh);
  if (ids_.size() >= kStreamWindow && emitted_bytes_ == text.size()) {
    // What comes next depends on the tokens before only through whether text has begun.
    std::vector<TokenId> context = ContextOf(tokenizer_, ids_);
    if (!context.empty()) {
      emitted_bytes_ = tokenizer_.Decode(context).size();
      ids_ = std::move(context);
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
