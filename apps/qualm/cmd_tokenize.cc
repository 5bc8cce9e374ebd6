// qualm tokenize: text to token ids, and with --decode ids to text. The input comes from --text,
// --file or standard input, or, many at once, from the lines of --jsonl.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/strings.h"
#include "cli.h"
#include "io/json.h"
#include "model/hub_cache.h"
#include "tokenize/tokenizer.h"

namespace qualm::cli {

namespace {

struct Options {
  std::string model;
  std::optional<std::string> text, file, jsonl;
  bool bos = false, no_bos = false, special = false, decode = false, skip_special = false;
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

// --text or --file, which exclude each other, or else standard input; with a name for messages.
struct NamedText {
  std::string place, text;
};
NamedText Input(const Options& options) {
  if (options.text) return {"--text", *options.text};
  if (options.file) return {*options.file, ReadFile(*options.file)};
  return {"standard input", ReadStandardInput()};
}

// Ids in decimal, separated by white space or commas.
std::vector<TokenId> ParseIds(std::string_view text) {
  constexpr std::string_view kSeparators = " \t\r\n,";
  std::vector<TokenId> ids;
  for (size_t begin = text.find_first_not_of(kSeparators); begin != std::string_view::npos;
       begin = text.find_first_not_of(kSeparators, begin)) {
    // The next word, which must be a number and nothing else.
    const size_t end = std::min(text.find_first_of(kSeparators, begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    TokenId id = 0;
    const auto result = std::from_chars(word.data(), word.data() + word.size(), id);
    if (result.ec != std::errc() || result.ptr != word.data() + word.size()) {
      ThrowBadInput("--decode", "token ids", StrCat("'", word, "'"));
    }

    ids.push_back(id);
    begin = end;
  }
  return ids;
}

// Encodes and decodes as the options say.
class Converter {
 public:
  Converter(const Options& options, const Globals& globals)
      : options_(options),
        globals_(globals),
        tokenizer_(LoadTokenizer(FindModelFolder(options.model, ModelParts::kWithoutWeights))) {
    for (const std::string& warning : tokenizer_->warnings()) Warn(warning);
  }

  // {"ids": [...]}; `with_pieces` adds the piece of text of each id.
  Json Encode(std::string_view text, bool with_pieces) const {
    std::vector<TokenId> ids = tokenizer_->Encode(text);
    if (options_.special) {
      const std::vector<TokenId> before = tokenizer_->TokensBefore();
      const std::vector<TokenId> after = tokenizer_->TokensAfter();
      ids.insert(ids.begin(), before.begin(), before.end());
      ids.insert(ids.end(), after.begin(), after.end());
    }
    // BOS goes in front once, even if the text or the tokenizer has put it there.
    if (options_.bos) {
      const std::optional<TokenId> id = tokenizer_->special().bos;
      if (!id) ThrowBadInput("--bos", "a tokenizer with a BOS token", options_.model);
      if (ids.empty() || ids.front() != *id) ids.insert(ids.begin(), *id);
    }

    Json json = {{"ids", ids}};
    if (with_pieces) {
      std::vector<std::string> pieces;
      for (const TokenId id : ids) pieces.push_back(tokenizer_->Piece(id));
      json["pieces"] = pieces;
    }
    return json;
  }

  // {"text": "..."}. Ids that the vocabulary does not have are left out and warned of.
  Json Decode(const std::vector<TokenId>& ids) const {
    size_t unknown = 0;
    TokenId first_unknown = 0;
    for (const TokenId id : ids) {
      if (tokenizer_->Has(id)) continue;
      if (unknown++ == 0) first_unknown = id;
    }
    if (unknown > 0) {
      Warn(StrCat("left out ", unknown, unknown == 1 ? " id" : " ids",
                  " that the vocabulary does not have, the first is ", first_unknown));
    }
    return {{"text", tokenizer_->Decode(ids, /*keep_special=*/!options_.skip_special)}};
  }

  // One line of --jsonl: a text to encode, or a list of ids to decode.
  Json ConvertLine(const Json& json, std::string_view place) const {
    const char* key = options_.decode ? "ids" : "text";
    const Json& value = json.is_object() && json.contains(key) ? json[key] : json;
    if (options_.decode) {
      const auto is_id = [](const Json& id) {
        return id.is_number_integer() && id >= INT32_MIN && id <= INT32_MAX;
      };
      if (!value.is_array() || !std::all_of(value.begin(), value.end(), is_id)) {
        ThrowBadInput(place, "a list of token ids, or an object with one as 'ids'",
                      value.dump().substr(0, 60));
      }
      return Decode(value.get<std::vector<TokenId>>());
    }
    if (!value.is_string()) {
      ThrowBadInput(place, "a JSON string, or an object with one as 'text'",
                    value.dump().substr(0, 60));
    }
    return Encode(value.get_ref<const std::string&>(), globals_.json);
  }

 private:
  void Warn(const std::string& message) const { MakeProgress(globals_)->Warn(message); }

  const Options& options_;
  const Globals& globals_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

// --jsonl: an answer for every line; blank lines have none.
void ConvertLines(const Converter& converter, const std::string& path) {
  const std::string text = path == "-" ? ReadStandardInput() : ReadFile(path);
  size_t line_number = 0;
  for (const std::string& line : Split(text, '\n')) {
    ++line_number;
    if (Trim(line).empty()) continue;
    const std::string place = StrCat(path, ":", line_number);
    PrintJson(converter.ConvertLine(ParseJson(line, place), place));
  }
}

int Run(const Options& options, const Globals& globals) {
  const Converter converter(options, globals);
  if (options.jsonl) {
    ConvertLines(converter, *options.jsonl);
    return kOk;
  }

  const NamedText input = Input(options);
  if (!options.decode) WarnOfBytes(input.text, input.place, *MakeProgress(globals));
  const Json result = options.decode ? converter.Decode(ParseIds(input.text))
                                     : converter.Encode(input.text, /*with_pieces=*/globals.json);
  if (globals.json) {
    PrintJson(result);
  } else if (options.decode) {
    Print(result["text"].get<std::string>() + "\n");
  } else {
    // A line of ids, which --decode reads again.
    std::string line;
    for (const Json& id : result["ids"]) line += StrCat(line.empty() ? "" : " ", id.get<TokenId>());
    Print(line + "\n");
  }
  return kOk;
}

}  // namespace

Command AddTokenize(Arguments& arguments, Globals& globals) {
  auto options = std::make_shared<Options>();
  // The tokenizer, then the input.
  arguments
      .Add("MODEL_OR_TOKENIZER", options->model,
           "A model folder, or a tokenizer.json, a SentencePiece .model, a rank file, a vocab.json "
           "or a vocab.txt")
      .Required();
  const Argument text =
      arguments.Add("--text", options->text, "The text (default: standard input)");
  const Argument file =
      arguments.Add("--file", options->file, "A file with the text").Excludes(text);
  arguments
      .Add("--jsonl", options->jsonl,
           "A file with one text a line, as a JSON string or an object with 'text' (- is standard "
           "input); with --decode one list of ids or object with 'ids'. Prints one JSON object for "
           "each")
      .Excludes(text)
      .Excludes(file);

  const Argument bos = arguments.Flag("--bos", options->bos, "Put the BOS token in front, once");
  const Argument no_bos =
      arguments.Flag("--no-bos", options->no_bos, "No BOS token (the default)").Excludes(bos);
  const Argument special = arguments
                               .Flag("--special", options->special,
                                     "Add the tokens that the tokenizer's files put around a text")
                               .Excludes(bos)
                               .Excludes(no_bos);
  const Argument decode =
      arguments
          .Flag("--decode", options->decode,
                "The input is token ids, separated by white space or commas; print their text")
          .Excludes(bos)
          .Excludes(special);
  arguments
      .Flag("--skip-special", options->skip_special, "Leave special tokens out of the decoded text")
      .Needs(decode);

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm tokenize MODEL --text 'Hello world'\n"
      "  qualm tokenize tokenizer.json --file text.txt --special --json\n"
      "  qualm tokenize MODEL --jsonl texts.jsonl > ids.jsonl\n"
      "  qualm tokenize MODEL --text 'Hello world' | qualm tokenize MODEL --decode");
  return [options, &globals] { return Run(*options, globals); };
}

}  // namespace qualm::cli
