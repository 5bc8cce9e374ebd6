// qualm tokenize: text to token ids, and with --decode ids to text. The input comes from --text,
// --file or standard input.
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "cli.h"
#include "tokenize/tokenizer.h"

namespace qualm::cli {

namespace {

struct Options {
  std::string model;
  std::optional<std::string> text, file;
  bool bos = false, no_bos = false, decode = false;
};

std::string ReadStandardInput() {
  std::string text;
  char buffer[1 << 16];
  while (const size_t count = std::fread(buffer, 1, sizeof(buffer), stdin)) {
    text.append(buffer, count);
  }

  if (std::ferror(stdin) != 0) ThrowFailed("standard input", "cannot be read");
  return text;
}

// --text or --file, which exclude each other, or else standard input.
std::string Input(const Options& options) {
  if (options.text) return *options.text;
  if (options.file) return ReadFile(*options.file);
  return ReadStandardInput();
}

// Ids in decimal, separated by white space or commas.
std::vector<TokenId> ParseIds(std::string_view text, size_t vocab_size) {
  constexpr std::string_view kSeparators = " \t\r\n,";
  std::vector<TokenId> ids;
  for (size_t begin = text.find_first_not_of(kSeparators); begin != std::string_view::npos;
       begin = text.find_first_not_of(kSeparators, begin)) {
    // The next word, which must be a number of the vocabulary and nothing else.
    const size_t end = std::min(text.find_first_of(kSeparators, begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    TokenId id = 0;
    const auto result = std::from_chars(word.data(), word.data() + word.size(), id);
    if (result.ec != std::errc() || result.ptr != word.data() + word.size() || id < 0 ||
        static_cast<size_t>(id) >= vocab_size) {
      ThrowBadInput("--decode", StrCat("token ids from 0 to ", vocab_size - 1),
                    StrCat("'", word, "'"));
    }

    ids.push_back(id);
    begin = end;
  }
  return ids;
}

// --decode: ids to text.
int Decode(const Tokenizer& tokenizer, const std::string& input, const Globals& globals) {
  const std::string text = tokenizer.Decode(ParseIds(input, tokenizer.vocab_size()));
  if (globals.json) {
    PrintJson({{"text", text}});
  } else {
    Print(text + "\n");
  }
  return kOk;
}

// Text to ids; --json adds the piece of text of each id.
int Encode(const Tokenizer& tokenizer, const std::string& input, bool bos, const std::string& model,
           const Globals& globals) {
  std::vector<TokenId> ids = tokenizer.Encode(input);

  // BOS goes in front once, even if the text or the tokenizer has put it there.
  if (bos) {
    const std::optional<TokenId> id = tokenizer.special().bos;
    if (!id) ThrowBadInput("--bos", "a tokenizer with a BOS token", model);
    if (ids.empty() || ids.front() != *id) ids.insert(ids.begin(), *id);
  }

  if (globals.json) {
    std::vector<std::string> pieces;
    for (const TokenId id : ids) pieces.push_back(tokenizer.Piece(id));
    PrintJson({{"ids", ids}, {"pieces", pieces}});
    return kOk;
  }

  // A line of ids, which --decode reads again.
  std::string line;
  for (const TokenId id : ids) line += StrCat(line.empty() ? "" : " ", id);
  Print(line + "\n");
  return kOk;
}

int Run(const Options& options, const Globals& globals) {
  const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizer(options.model);
  const std::string input = Input(options);
  if (options.decode) return Decode(*tokenizer, input, globals);
  return Encode(*tokenizer, input, options.bos, options.model, globals);
}

}  // namespace

Command AddTokenize(Arguments& arguments, Globals& globals) {
  auto options = std::make_shared<Options>();
  // The tokenizer, then the input.
  arguments
      .Add("MODEL_OR_TOKENIZER", options->model,
           "A model folder, or a tokenizer.json, a SentencePiece .model or a vocab.json")
      .Required();
  const Argument text =
      arguments.Add("--text", options->text, "The text (default: standard input)");
  arguments.Add("--file", options->file, "A file with the text").Excludes(text);

  const Argument bos = arguments.Flag("--bos", options->bos, "Put the BOS token in front, once");
  arguments.Flag("--no-bos", options->no_bos, "No BOS token (the default)").Excludes(bos);
  arguments.Flag("--decode", options->decode,
                 "The input is token ids, separated by white space or commas; print their text");

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm tokenize MODEL --text 'Hello world'\n"
      "  qualm tokenize tokenizer.json --file text.txt --bos --json\n"
      "  qualm tokenize MODEL --text 'Hello world' | qualm tokenize MODEL --decode");
  return [options, &globals] { return Run(*options, globals); };
}

}  // namespace qualm::cli
