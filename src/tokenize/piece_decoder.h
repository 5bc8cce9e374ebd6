// The decoder of a tokenizer.json: turns a list of pieces back into text.
// Steps: Sequence, ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip; any other is an error
// naming it. Bytes that are no valid UTF-8 stay as they are.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/json.h"
#include "tokenize/pattern.h"

namespace qualm {

struct DecodedPiece {
  std::string text;
  bool is_literal = false;  // an added token: already text
};

class PieceDecoder {
 public:
  // `json` is the value of "decoder"; null joins the pieces with spaces.
  static PieceDecoder Parse(const Json& json, std::string_view place);
  static PieceDecoder ByteLevel();

  std::string Decode(std::vector<DecodedPiece> pieces) const;

 private:
  struct ByteLevelStep {};
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
  using Step = std::variant<ByteLevelStep, ByteFallbackStep, FuseStep, MetaspaceStep, ReplaceStep,
                            StripStep>;
  using Pieces = std::vector<DecodedPiece>;

  void Append(const Json& json, std::string_view place);
  void AppendMetaspace(const Json& json, std::string_view place);
  void AppendStrip(const Json& json, std::string_view place);
  static void ApplyStep(const ByteLevelStep& step, Pieces& pieces);
  static void ApplyStep(const ByteFallbackStep& step, Pieces& pieces);
  static void ApplyStep(const FuseStep& step, Pieces& pieces);
  static void ApplyStep(const MetaspaceStep& step, Pieces& pieces);
  static void ApplyStep(const ReplaceStep& step, Pieces& pieces);
  static void ApplyStep(const StripStep& step, Pieces& pieces);

  std::vector<Step> steps_;
  bool join_with_spaces_ = false;
};

// The byte that a piece such as "<0x0A>" stands for, or -1.
int ByteOfFallbackPiece(std::string_view piece);
// The inverse: "<0x0A>" for 10.
std::string FallbackPieceOfByte(unsigned char byte);

}  // namespace qualm
