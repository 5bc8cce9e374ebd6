// The Unigram model of a tokenizer.json. It differs from SentencePiece's (unigram_model.h) in its
// sums, which are double, in how a run of unknown characters is read, and in user-defined pieces,
// which it does not know.
#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/bpe.h"
#include "tokenize/byte_trie.h"
#include "tokenize/piece_decoder.h"
#include "tokenize/utf8.h"
#include "tokenize/word_model.h"

namespace qualm {
namespace {

// How much worse than the worst piece an unknown character is.
constexpr double kUnknownPenalty = 10;

// Texts above this are cut where no piece holds both neighbours; it bounds the memory of one
// search.
constexpr size_t kCutAfter = size_t{1} << 20;  // bytes

class HfUnigramModel final : public WordModel {
 public:
  HfUnigramModel(const UnigramSpec& spec, const Vocabulary& vocabulary, std::string_view place)
      : vocabulary_(vocabulary), scores_(spec.scores), unknown_(spec.unknown), place_(place) {
    for (size_t i = 0; i < vocabulary.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      const std::string_view piece = vocabulary.Piece(id);
      lowest_ = std::min(lowest_, scores_[i]);
      if (piece.empty()) continue;
      trie_.Add(piece, id);
      AddReach(piece);
    }
    byte_ids_.fill(-1);
    for (size_t byte = 0; byte < 256 && spec.byte_fallback; ++byte) {
      byte_ids_[byte] = vocabulary.Find(FallbackPieceOfByte(static_cast<unsigned char>(byte)));
    }
  }

  void Encode(std::string_view word, WordCache* cache, std::vector<TokenId>& out) const override {
    if (cache != nullptr && cache->AppendIds(word, out)) return;
    const std::string_view whole = word;
    const size_t start = out.size();
    std::string unknown_run;
    while (!word.empty()) {
      const std::string_view part = word.substr(0, PartLength(word));
      word.remove_prefix(part.size());
      AppendPart(part, unknown_run, out);
    }
    FlushUnknown(unknown_run, out);
    if (cache != nullptr) cache->Remember(whole, std::span(out).subspan(start));
  }

 private:
  struct Node {
    double score = 0;    // of the best path that ends here
    int64_t start = -1;  // where that path's last piece begins; -1: nothing ends here
    TokenId id = -1;
  };
  struct Step {
    size_t length = 0;  // bytes
    TokenId id = -1;
  };

  void AddReach(std::string_view piece) {
    uint32_t left = 0;
    bool is_first = true;
    ForEachCharacter(piece, [&](uint32_t code, std::string_view) {
      if (!is_first) reach_.Add(left, code);
      left = code;
      is_first = false;
    });
  }

  size_t PartLength(std::string_view text) const {
    if (text.size() <= kCutAfter) return text.size();
    uint32_t left = 0;
    for (size_t end = 0; end < text.size();) {
      const size_t length = CharacterLength(text.substr(end));
      const uint32_t right = CodePoint(text.substr(end, length));
      if (end >= kCutAfter && !reach_.CanMerge(left, right)) return end;
      end += length;
      left = right;
    }
    return text.size();
  }

  // Offers every piece that begins at `start` to the node where it ends; the first of equals stays.
  void Relax(std::string_view part, size_t start, std::vector<Node>& nodes) const {
    const double base = nodes[start].score;
    const size_t one_character = CharacterLength(part.substr(start));
    const auto offer = [&](size_t end, double score, TokenId id) {
      Node& node = nodes[end];
      if (node.start >= 0 && base + score <= node.score) return;
      node = {base + score, static_cast<int64_t>(start), id};
    };

    bool covered = false;
    int32_t at = 0;
    for (size_t end = start; end < part.size();) {
      at = trie_.Child(at, part[end++]);
      if (at < 0) break;
      const TokenId id = trie_.Value(at);
      if (id < 0) continue;
      offer(end, scores_[static_cast<size_t>(id)], id);
      covered = covered || end - start == one_character;
    }
    if (covered) return;
    if (unknown_ < 0) {
      ThrowBadInput(StrCat(place_, ".unk_id"), "an id, which this text needs", "none");
    }
    offer(start + one_character, lowest_ - kUnknownPenalty, unknown_);
  }

  void AppendPart(std::string_view part, std::string& unknown_run,
                  std::vector<TokenId>& out) const {
    std::vector<Node> nodes(part.size() + 1);
    for (size_t start = 0; start < part.size(); start += CharacterLength(part.substr(start))) {
      Relax(part, start, nodes);
    }

    // The best path, from its end.
    std::vector<Step> steps;
    for (size_t end = part.size(); end > 0;) {
      const auto start = static_cast<size_t>(nodes[end].start);
      steps.push_back({end - start, nodes[end].id});
      end = start;
    }
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
      if (step->id == unknown_) {
        unknown_run += part.substr(0, step->length);
      } else {
        FlushUnknown(unknown_run, out);
        out.push_back(step->id);
      }
      part.remove_prefix(step->length);
    }
  }

  // A run of unknown characters is one piece: of the vocabulary after all, or its bytes, or
  // unknown.
  void FlushUnknown(std::string& run, std::vector<TokenId>& out) const {
    if (run.empty()) return;
    const auto byte_id = [this](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    if (const TokenId id = vocabulary_.Find(run); id >= 0) {
      out.push_back(id);
    } else if (std::all_of(run.begin(), run.end(), [&](char byte) { return byte_id(byte) >= 0; })) {
      for (char byte : run) out.push_back(byte_id(byte));
    } else {
      out.push_back(unknown_);
    }
    run.clear();
  }

  Vocabulary vocabulary_;
  std::vector<double> scores_;  // by id
  TokenId unknown_;
  std::string place_;
  double lowest_ = std::numeric_limits<double>::infinity();
  ByteTrie trie_;
  MergeReach reach_;                     // which neighbouring characters some piece holds
  std::array<TokenId, 256> byte_ids_{};  // -1 where there is no such piece
};

}  // namespace

std::unique_ptr<const WordModel> BuildUnigram(const UnigramSpec& spec, const Vocabulary& vocabulary,
                                              std::string_view place) {
  QUALM_CHECK(spec.scores.size() == vocabulary.size());
  return std::make_unique<HfUnigramModel>(spec, vocabulary, place);
}

}  // namespace qualm
