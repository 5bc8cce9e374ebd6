// A SentencePiece model file (protocol buffer ModelProto), read by a bounded reader of our own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

struct SentencePieceModel {
  enum class Type { kUnigram = 1, kBpe = 2, kWord = 3, kCharacter = 4 };
  enum class PieceType : uint8_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };
  struct Piece {
    std::string text;
    float score = 0;
    PieceType type = PieceType::kNormal;
  };

  std::vector<Piece> pieces;  // by id
  Type type = Type::kUnigram;
  bool byte_fallback = false;
  bool whitespace_is_suffix = false;
  std::string unknown_surface = " \xe2\x81\x87 ";  // what an unknown piece decodes to
  std::string bos_piece = "<s>", eos_piece = "</s>", pad_piece = "<pad>";
  // The normalizer.
  std::string charsmap;  // precompiled; empty: characters stay as they are
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool has_denormalizer = false;
};

// Throws bad input at `place` for anything but a well-formed model of at least one piece, each
// valid UTF-8 and with finite scores.
SentencePieceModel ParseSentencePieceModel(std::string_view bytes, std::string_view place);

}  // namespace qualm
