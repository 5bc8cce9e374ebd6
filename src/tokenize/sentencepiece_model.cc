// A bounded reader of protocol buffer messages, and the messages of a model that matter here:
// pieces, the trainer's settings, and the normalizer's.
#include "tokenize/sentencepiece_model.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/vocabulary.h"

namespace qualm {
namespace {

// One field of a protocol buffer message; which of the values is set depends on the wire type.
struct Field {
  enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  uint64_t number = 0;
  uint64_t wire = 0;
  uint64_t varint = 0;
  uint32_t fixed32 = 0;
  std::string_view bytes;
};

class MessageReader {
 public:
  MessageReader(std::string_view message, std::string_view place)
      : message_(message), place_(place) {}

  bool Next(Field* field) {
    if (at_ == message_.size()) return false;
    uint64_t tag = ReadVarint();
    *field = Field{};
    field->number = tag >> 3;
    field->wire = tag & 7;
    switch (field->wire) {
      case Field::kVarint:
        field->varint = ReadVarint();
        break;
      case Field::kFixed64:
        Take(8);
        break;
      case Field::kBytes:
        field->bytes = Take(ReadVarint());
        break;
      case Field::kFixed32:
        std::memcpy(&field->fixed32, Take(4).data(), 4);
        break;
      default:
        Throw(StrCat("wire type ", field->wire));
    }
    return true;
  }

  [[noreturn]] void Throw(std::string_view got) const {
    ThrowBadInput(place_, "a SentencePiece model",
                  StrCat(got, " at byte ", at_, " of a message of ", message_.size()));
  }

 private:
  uint64_t ReadVarint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == message_.size()) Throw("the end inside a number");
      auto byte = static_cast<unsigned char>(message_[at_++]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    Throw("a number of more than ten bytes");
  }

  std::string_view Take(uint64_t n) {
    if (n > message_.size() - at_) Throw(StrCat("a field of ", n, " bytes"));
    std::string_view taken = message_.substr(at_, n);
    at_ += n;
    return taken;
  }

  std::string_view message_;
  std::string_view place_;
  size_t at_ = 0;
};

void RequireWire(const MessageReader& reader, const Field& field, Field::Wire wire) {
  if (field.wire != wire) {
    reader.Throw(StrCat("field ", field.number, " with wire type ", field.wire));
  }
}

std::string TextOf(const MessageReader& reader, const Field& field) {
  RequireWire(reader, field, Field::kBytes);
  return std::string(field.bytes);
}

bool TruthOf(const MessageReader& reader, const Field& field) {
  RequireWire(reader, field, Field::kVarint);
  return field.varint != 0;
}

SentencePieceModel::Piece ParsePiece(std::string_view message, size_t id, std::string_view place) {
  MessageReader reader(message, place);
  SentencePieceModel::Piece piece;
  for (Field field; reader.Next(&field);) {
    if (field.number == 1) {
      piece.text = TextOf(reader, field);
    } else if (field.number == 2) {
      RequireWire(reader, field, Field::kFixed32);
      std::memcpy(&piece.score, &field.fixed32, 4);
    } else if (field.number == 3) {
      RequireWire(reader, field, Field::kVarint);
      if (field.varint < 1 || field.varint > 6) reader.Throw(StrCat("piece type ", field.varint));
      piece.type = static_cast<SentencePieceModel::PieceType>(field.varint);
    }
  }
  std::string here = StrCat("piece ", id);
  if (piece.text.empty()) ThrowBadInput(place, "pieces with a text", StrCat(here, " without"));
  if (!IsValidUtf8(piece.text)) ThrowBadInput(place, "pieces in UTF-8", StrCat(here, " otherwise"));
  if (!std::isfinite(piece.score)) {
    ThrowBadInput(place, "finite scores", StrCat(here, " with ", piece.score));
  }
  return piece;
}

void ParseTrainerSpec(std::string_view message, std::string_view place, SentencePieceModel& model) {
  MessageReader reader(message, place);
  auto piece_or = [](std::string text, std::string_view fallback) {
    return text.empty() ? std::string(fallback) : text;
  };
  for (Field field; reader.Next(&field);) {
    switch (field.number) {
      case 3:
        RequireWire(reader, field, Field::kVarint);
        if (field.varint < 1 || field.varint > 4) reader.Throw(StrCat("model type ", field.varint));
        model.type = static_cast<SentencePieceModel::Type>(field.varint);
        break;
      case 24:
        model.whitespace_is_suffix = TruthOf(reader, field);
        break;
      case 35:
        model.byte_fallback = TruthOf(reader, field);
        break;
      case 44:
        model.unknown_surface = TextOf(reader, field);
        break;
      case 46:
        model.bos_piece = piece_or(TextOf(reader, field), "<s>");
        break;
      case 47:
        model.eos_piece = piece_or(TextOf(reader, field), "</s>");
        break;
      case 48:
        model.pad_piece = piece_or(TextOf(reader, field), "<pad>");
        break;
      default:
        break;  // how the model was trained
    }
  }
}

void ParseNormalizerSpec(std::string_view message, std::string_view place,
                         SentencePieceModel& model) {
  MessageReader reader(message, place);
  for (Field field; reader.Next(&field);) {
    if (field.number == 2) model.charsmap = TextOf(reader, field);
    if (field.number == 3) model.add_dummy_prefix = TruthOf(reader, field);
    if (field.number == 4) model.remove_extra_whitespaces = TruthOf(reader, field);
    if (field.number == 5) model.escape_whitespaces = TruthOf(reader, field);
  }
}

bool HasCharsmap(std::string_view message, std::string_view place) {
  MessageReader reader(message, place);
  for (Field field; reader.Next(&field);) {
    if (field.number == 2 && !field.bytes.empty()) return true;
  }
  return false;
}

}  // namespace

SentencePieceModel ParseSentencePieceModel(std::string_view bytes, std::string_view place) {
  SentencePieceModel model;
  MessageReader reader(bytes, place);
  for (Field field; reader.Next(&field);) {
    if (field.number == 0) reader.Throw("field number 0");
    if (field.number > 5) continue;  // extensions
    RequireWire(reader, field, Field::kBytes);
    if (field.number == 1) {
      if (model.pieces.size() > static_cast<size_t>(Vocabulary::kMaxId)) {
        reader.Throw("too many pieces");
      }
      model.pieces.push_back(ParsePiece(field.bytes, model.pieces.size(), place));
    } else if (field.number == 2) {
      ParseTrainerSpec(field.bytes, place, model);
    } else if (field.number == 3) {
      ParseNormalizerSpec(field.bytes, place, model);
    } else if (field.number == 5) {
      model.has_denormalizer = HasCharsmap(field.bytes, place);
    }
  }
  if (model.pieces.empty()) ThrowBadInput(place, "a SentencePiece model with pieces", "none");
  return model;
}

}  // namespace qualm
