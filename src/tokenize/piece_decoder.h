// The decoder of a tokenizer.json: turns a list of pieces back into text.
// Steps: Sequence, BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, Replace, Strip,
// WordPiece; any other is an error naming it. The text is well-formed UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/json.h"
#include "tokenize/pattern.h"

namespace qualm {

class PieceDecoder {
 public:
  // `json` is the value of "decoder"; null joins the pieces with spaces.
  static PieceDecoder Parse(const Json& json, std::string_view place);
  static PieceDecoder ByteLevel();
  // Writes `visible` as spaces and, if `with_bytes`, pieces such as <0x0A> as bytes; takes one
  // space from the front if `strip_first`. What LLaMA's and Gemma's tokenizers do.
  static PieceDecoder Spaces(std::string visible, bool with_bytes, bool strip_first);
  static PieceDecoder Metaspace(std::string replacement, bool drop_in_first);
  static PieceDecoder WordPiece(std::string prefix, bool cleanup);
  static PieceDecoder Suffix(std::string suffix);

  std::string Decode(std::vector<std::string> pieces) const;

 private:
  struct ByteLevelStep {};
  struct WordPieceStep {
    std::string prefix;  // of pieces that continue the word before
    bool cleanup = true;
  };
  struct SuffixStep {
    std::string suffix;  // of pieces that end a word
  };
  struct CtcStep {
    std::string pad, word_delimiter;
    bool cleanup = true;
  };
  struct ByteFallbackStep {};
  struct FuseStep {};
  struct MetaspaceStep {
    std::string replacement;
    bool drop_in_first = true;  // in the first piece it is left out instead of becoming a space
  };
  struct ReplaceStep {
    Pattern pattern;
    std::string content;
  };
  struct StripStep {
    std::string content;  // one character
    size_t start = 0, stop = 0;
  };
  using Step = std::variant<ByteLevelStep, WordPieceStep, SuffixStep, CtcStep, ByteFallbackStep,
                            FuseStep, MetaspaceStep, ReplaceStep, StripStep>;
  using Pieces = std::vector<std::string>;

  void Append(const Json& json, std::string_view place);
  void AppendMetaspace(const Json& json, std::string_view place);
  void AppendStrip(const Json& json, std::string_view place);
  static void ApplyStep(const ByteLevelStep& step, Pieces& pieces);
  static void ApplyStep(const WordPieceStep& step, Pieces& pieces);
  static void ApplyStep(const SuffixStep& step, Pieces& pieces);
  static void ApplyStep(const CtcStep& step, Pieces& pieces);
  static void ApplyStep(const ByteFallbackStep& step, Pieces& pieces);
  static void ApplyStep(const FuseStep& step, Pieces& pieces);
  static void ApplyStep(const MetaspaceStep& step, Pieces& pieces);
  static void ApplyStep(const ReplaceStep& step, Pieces& pieces);
  static void ApplyStep(const StripStep& step, Pieces& pieces);

  std::vector<Step> steps_;
  bool join_with_spaces_ = false;
};

// Takes the blanks away that tokenizing put before punctuation and contractions ("do n't"). The
// library's decoders also make "don't" of "do not"; transformers does not.
std::string CleanUpSpaces(std::string text, bool contracts_do_not);

// The byte that a piece such as "<0x0A>" stands for, or -1.
int ByteOfFallbackPiece(std::string_view piece);
// The inverse: "<0x0A>" for 10.
std::string FallbackPieceOfByte(unsigned char byte);

}  // namespace qualm
