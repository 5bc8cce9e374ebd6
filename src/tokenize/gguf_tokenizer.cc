// Writes the metadata's vocabulary in the form that its own library would have stored it in, and
// lets that form's reader make the tokenizer: tokenizer.json for byte-level BPE, a model of
// SentencePiece for its kind. Source: llama.cpp's llama-vocab.cpp, for facts.
#include "tokenize/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <unordered_map>

#include "base/error_place.h"
#include "base/strings.h"
#include "io/json.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/sentencepiece_tokenizer.h"
#include "tokenize/tokenizer_config.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// Kinds of tokens; SentencePiece has the same numbers.
constexpr int64_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4;

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDigit = R"(\p{N})";
constexpr std::string_view kThreeDigits = R"([0-9][0-9][0-9])";
constexpr std::string_view kDigits = R"(\p{N}+)";
constexpr std::string_view kPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr std::string_view kMorePunctuation = R"([\p{P}\$\+<=>\^~\|`]+)";

// A name of tokenizer.ggml.pre and the patterns that split a text one after the other.
struct PreTokenizer {
  std::string_view name;
  std::array<std::string_view, 4> patterns;
  bool ignores_merges = false;  // a word that is a token stays one
  bool adds_bos = false;        // unless the file says otherwise
};
constexpr PreTokenizer kPreTokenizers[] = {
    {"default", {kPunctuation, kGpt2, kDigits, kThreeDigits}},
    {"gpt-2", {kGpt2}},
    {"gpt3-finnish", {kGpt2}},
    {"phi-2", {kGpt2}},
    {"gigachat", {kGpt2}},
    {"mellum", {kGpt2}},
    {"mpt", {kGpt2}},
    {"olmo", {kGpt2}},
    {"jais", {kGpt2}},
    {"jina-es", {kGpt2}},
    {"jina-de", {kGpt2}},
    {"trillion", {kGpt2}},
    {"granite-docling", {kGpt2}},
    {"smollm", {kDigit, kGpt2}},
    {"starcoder", {kDigit, kGpt2}},
    {"refact", {kDigit, kGpt2}},
    {"command-r", {kDigit, kGpt2}},
    {"codeshell", {kDigit, kGpt2}},
    {"exaone", {kDigit, kGpt2}},
    {"minerva-7b", {kDigit, kGpt2}},
    {"falcon", {kMorePunctuation, kGpt2, kThreeDigits}},
    {"llama-bpe", {kLlama3}, true, true},
    {"llama3", {kLlama3}, true, true},
    {"llama-v3", {kLlama3}, true, true},
    {"falcon3", {kLlama3}, true, true},
    {"pixtral", {kLlama3}, true, true},
    {"lfm2", {kLlama3}, true, true},
    {"dbrx", {kLlama3}},
    {"smaug-bpe", {kLlama3}},
    {"qwen2", {kQwen2}},
    {"deepseek-r1-qwen", {kQwen2}},
    {"stablelm2", {kQwen2}},
    {"megrez", {kQwen2}},
    {"kormo", {kQwen2}},
    {"gpt-4o", {kGpt4o}},
    {"llama4", {kGpt4o}},
};

const PreTokenizer& PreTokenizerOf(const GgufFile& file) {
  const std::string name = file.Text("tokenizer.ggml.pre", "default");
  const auto* found = std::ranges::find(kPreTokenizers, name, &PreTokenizer::name);
  if (found != std::end(kPreTokenizers)) return *found;
  std::vector<std::string> names;
  for (const PreTokenizer& pre : kPreTokenizers) names.emplace_back(pre.name);
  ThrowBadInput(StrCat(file.place(), ": tokenizer.ggml.pre"), Join(names, ", "),
                StrCat("'", name.substr(0, 60), "'"), "another pattern would give other tokens");
}

// The vocabulary of either kind.
struct Tokens {
  std::vector<std::string_view> pieces;
  std::vector<int64_t> types;  // of each
};

Tokens TokensOf(const GgufFile& file) {
  Tokens tokens;
  tokens.pieces = file.Texts("tokenizer.ggml.tokens");
  tokens.types = file.Integers("tokenizer.ggml.token_type");
  if (tokens.types.empty()) tokens.types.assign(tokens.pieces.size(), kNormal);
  if (tokens.types.size() != tokens.pieces.size()) {
    ThrowBadInput(StrCat(file.place(), ": tokenizer.ggml.token_type"),
                  StrCat(tokens.pieces.size(), " types"), StrCat(tokens.types.size()));
  }
  return tokens;
}

// The piece of the token that a key names; empty if it names none.
std::optional<std::string> PieceAt(const GgufFile& file, const Tokens& tokens, const char* role) {
  const std::string key = StrCat("tokenizer.ggml.", role, "_token_id");
  if (file.Find(key) == nullptr) return std::nullopt;
  const uint64_t id = file.Unsigned(key);
  if (id >= tokens.pieces.size()) {
    ThrowBadInput(StrCat(file.place(), ": ", key), StrCat("an id below ", tokens.pieces.size()),
                  StrCat(id));
  }
  return std::string(tokens.pieces[id]);
}

bool IsUtf8(std::string_view text) { return RepairUtf8(text) == text; }

TokenizerConfig ConfigOf(const GgufFile& file, const Tokens& tokens) {
  TokenizerConfig config;
  config.folder = file.place();
  config.bos = PieceAt(file, tokens, "bos");
  config.eos = PieceAt(file, tokens, "eos");
  config.unk = PieceAt(file, tokens, "unknown");
  config.pad = PieceAt(file, tokens, "padding");
  return config;
}

Json SplitBy(std::string_view pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", std::string(pattern)}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

// BOS and EOS around a text, where they are asked for.
Json PostProcessor(const GgufFile& file, const Tokens& tokens, bool adds_bos, bool adds_eos) {
  Json single = Json::array(), specials = Json::object();
  const auto add = [&](const char* role) {
    const std::optional<std::string> piece = PieceAt(file, tokens, role);
    if (!piece) return;
    single.push_back({{"SpecialToken", {{"id", *piece}, {"type_id", 0}}}});
    specials[*piece] = {{"id", *piece},
                        {"ids", {file.Unsigned(StrCat("tokenizer.ggml.", role, "_token_id"))}},
                        {"tokens", {*piece}}};
  };
  if (adds_bos) add("bos");
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (adds_eos) add("eos");
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", single},
          {"special_tokens", specials}};
}

// tokenizer.json of byte-level BPE.
std::string BytePairsText(const GgufFile& file) {
  const PreTokenizer& pre = PreTokenizerOf(file);
  const Tokens tokens = TokensOf(file);
  Json vocabulary = Json::object(), added = Json::array(), merges = Json::array();
  Json::object_t& entries = vocabulary.get_ref<Json::object_t&>();
  std::unordered_map<std::string, size_t> place;  // of a piece among the entries
  for (size_t id = 0; id < tokens.pieces.size(); ++id) {
    const std::string piece(tokens.pieces[id]);
    if (!IsUtf8(piece)) {
      ThrowBadInput(StrCat(file.place(), ": tokenizer.ggml.tokens"), "pieces in UTF-8",
                    StrCat("piece ", id));
    }
    const int64_t type = tokens.types[id];
    if (type == kControl || type == kUserDefined || type == kUnknown) {
      added.push_back({{"id", id},
                       {"content", piece},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", type != kUserDefined}});
    }
    // A JSON object in order looks for a key among all; of equal pieces the last one counts.
    const auto [known, is_new] = place.emplace(piece, entries.size());
    if (is_new) {
      entries.emplace_back(piece, id);
    } else {
      (entries.begin() + static_cast<std::ptrdiff_t>(known->second))->second = id;
    }
  }
  for (const std::string_view merge : file.Texts("tokenizer.ggml.merges")) {
    if (!IsUtf8(merge)) {
      ThrowBadInput(StrCat(file.place(), ": tokenizer.ggml.merges"), "merges in UTF-8",
                    StrCat("merge ", merges.size()));
    }
    merges.push_back(std::string(merge));
  }

  // The patterns split; bytes become characters at the end.
  Json steps = Json::array();
  for (const std::string_view pattern : pre.patterns) {
    if (!pattern.empty()) steps.push_back(SplitBy(pattern));
  }
  const Json bytes = {{"type", "ByteLevel"},
                      {"add_prefix_space", false},
                      {"trim_offsets", true},
                      {"use_regex", false}};
  steps.push_back(bytes);

  const bool adds_bos = file.Bool("tokenizer.ggml.add_bos_token", pre.adds_bos);
  const bool adds_eos = file.Bool("tokenizer.ggml.add_eos_token", false);
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", steps}}},
                     {"post_processor", PostProcessor(file, tokens, adds_bos, adds_eos)},
                     {"decoder", bytes},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", pre.ignores_merges},
                       {"vocab", vocabulary},
                       {"merges", merges}}}};
  return json.dump();
}

// --- A model of SentencePiece, in the form of protocol buffers

void AddVarint(uint64_t value, std::string& to) {
  for (; value >= 128; value >>= 7) to += static_cast<char>((value & 127) | 128);
  to += static_cast<char>(value);
}

void AddNumber(uint64_t field, uint64_t value, std::string& to) {
  AddVarint(field << 3, to);
  AddVarint(value, to);
}

void AddBytes(uint64_t field, std::string_view bytes, std::string& to) {
  AddVarint((field << 3) | 2, to);
  AddVarint(bytes.size(), to);
  to += bytes;
}

void AddFloat(uint64_t field, float value, std::string& to) {
  AddVarint((field << 3) | 5, to);
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) to += static_cast<char>(bits >> shift & 255);
}

// Spaces stay as they are: the file does not have the model's own rules for them.
std::string SentencePieceText(const GgufFile& file) {
  const Tokens tokens = TokensOf(file);
  const std::vector<double> scores = file.Numbers("tokenizer.ggml.scores");
  if (scores.size() != tokens.pieces.size()) {
    ThrowBadInput(StrCat(file.place(), ": tokenizer.ggml.scores"),
                  StrCat(tokens.pieces.size(), " scores"), StrCat(scores.size()));
  }
  std::string model;
  bool has_bytes = false;
  for (size_t id = 0; id < tokens.pieces.size(); ++id) {
    std::string piece;
    AddBytes(1, tokens.pieces[id], piece);
    AddFloat(2, static_cast<float>(scores[id]), piece);
    const int64_t type = tokens.types[id];
    if (type < kNormal || type > 6) {
      ThrowBadInput(StrCat(file.place(), ": tokenizer.ggml.token_type"), "1..6", StrCat(type));
    }
    has_bytes = has_bytes || type == 6;
    AddNumber(3, static_cast<uint64_t>(type), piece);
    AddBytes(1, piece, model);
  }

  std::string trainer, normalizer;
  AddNumber(3, 2, trainer);  // BPE
  AddNumber(35, has_bytes ? 1 : 0, trainer);
  for (const auto& [field, role] :
       {std::pair{uint64_t{40}, "unknown"}, std::pair{uint64_t{41}, "bos"},
        std::pair{uint64_t{42}, "eos"}}) {
    const std::string key = StrCat("tokenizer.ggml.", role, "_token_id");
    if (file.Find(key) != nullptr) AddNumber(field, file.Unsigned(key), trainer);
  }
  AddBytes(1, "identity", normalizer);
  AddNumber(3, file.Bool("tokenizer.ggml.add_space_prefix", true) ? 1 : 0, normalizer);
  AddNumber(4, 0, normalizer);  // spaces are not removed
  AddNumber(5, 1, normalizer);  // and are written as U+2581
  AddBytes(2, trainer, model);
  AddBytes(3, normalizer, model);

  return model;
}

bool IsBytePairs(const GgufFile& file) {
  const std::string model = file.Text("tokenizer.ggml.model");
  if (model == "gpt2") return true;
  if (model == "llama") return false;
  ThrowBadInput(StrCat(file.place(), ": tokenizer.ggml.model"), "gpt2 or llama",
                StrCat("'", model.substr(0, 60), "'"));
}

}  // namespace

bool HasGgufTokenizer(const GgufFile& file) {
  return file.Find("tokenizer.ggml.tokens") != nullptr;
}

std::unique_ptr<Tokenizer> MakeGgufTokenizer(const GgufFile& file) {
  TokenizerConfig config = ConfigOf(file, TokensOf(file));
  if (IsBytePairs(file)) return ParseTokenizerJson(BytePairsText(file), file.place(), config);
  config.add_bos = file.Bool("tokenizer.ggml.add_bos_token", true);
  config.add_eos = file.Bool("tokenizer.ggml.add_eos_token", false);
  return ParseSentencePiece(SentencePieceText(file), file.place(), config);
}

std::map<std::string, std::string> GgufTokenizerFiles(const GgufFile& file) {
  std::map<std::string, std::string> files;
  const bool is_pairs = IsBytePairs(file);
  files[is_pairs ? "tokenizer.json" : "tokenizer.model"] =
      is_pairs ? BytePairsText(file) : SentencePieceText(file);

  const Tokens tokens = TokensOf(file);
  Json config = Json::object();
  for (const auto& [role, key] :
       {std::pair{"bos", "bos_token"}, std::pair{"eos", "eos_token"},
        std::pair{"unknown", "unk_token"}, std::pair{"padding", "pad_token"}}) {
    if (const auto piece = PieceAt(file, tokens, role)) config[key] = *piece;
  }
  if (!is_pairs) {
    config["add_bos_token"] = file.Bool("tokenizer.ggml.add_bos_token", true);
    config["add_eos_token"] = file.Bool("tokenizer.ggml.add_eos_token", false);
  }
  const std::string chat = file.Text("tokenizer.chat_template", "");
  if (!chat.empty()) config["chat_template"] = RepairUtf8(chat);
  files["tokenizer_config.json"] = config.dump(2) + "\n";
  return files;
}

}  // namespace qualm
