// Viterbi over the ends of pieces: every piece is offered to the node where it ends, and the best
// way is read from the back. Long texts are cut into parts first.
#include "tokenize/unigram_model.h"

#include <algorithm>
#include <limits>

#include "tokenize/piece_decoder.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// How much worse than the worst piece an unknown character is.
constexpr float kUnknownPenalty = 10;

constexpr size_t kCutAfter = 4096;  // bytes

}  // namespace

UnigramModel::UnigramModel(const SentencePieceModel& model, TokenId unknown) : unknown_(unknown) {
  using Type = SentencePieceModel::PieceType;
  if (model.byte_fallback) byte_ids_.assign(256, unknown);
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const SentencePieceModel::Piece& piece = model.pieces[i];
    scores_.push_back(piece.score);
    is_user_defined_.push_back(piece.type == Type::kUserDefined);
    if (piece.type == Type::kByte && model.byte_fallback) {
      byte_ids_[static_cast<size_t>(ByteOfFallbackPiece(piece.text))] = static_cast<TokenId>(i);
    }
    if (piece.type == Type::kNormal) {
      lowest_ = std::min(lowest_, piece.score);
      highest_ = std::max(highest_, piece.score);
    }
    if (piece.type != Type::kNormal && piece.type != Type::kUserDefined) continue;
    trie_.Add(piece.text, static_cast<TokenId>(i));
    std::string_view rest = piece.text;
    for (size_t length = CharacterLength(rest); length < rest.size();) {
      uint32_t left = CodePoint(rest.substr(0, length));
      rest.remove_prefix(length);
      length = CharacterLength(rest);
      reach_.Add(left, CodePoint(rest.substr(0, length)));
    }
  }
}

// Offers every piece that begins at `start` to the node where it ends. Sums are rounded where the
// library rounds them (a piece's in double and kept as float, an unknown character's in float), so
// that ties fall alike.
void UnigramModel::Relax(std::string_view part, size_t start, std::vector<Node>& nodes) const {
  const float base = nodes[start].score;
  const size_t one_character = CharacterLength(part.substr(start));
  auto offer = [&](size_t end, double candidate, TokenId id) {
    Node& node = nodes[end];
    if (node.start >= 0 && candidate <= static_cast<double>(node.score)) return;
    node = {static_cast<float>(candidate), static_cast<int64_t>(start), id};
  };
  bool covered = false;
  int32_t at = 0;
  for (size_t end = start; end < part.size();) {
    at = trie_.Child(at, part[end++]);
    if (at < 0) break;
    TokenId id = trie_.Value(at);
    if (id < 0) continue;
    auto index = static_cast<size_t>(id);
    size_t length = end - start;
    // A user-defined piece gets enough to win always.
    double score = is_user_defined_[index]
                       ? static_cast<double>(static_cast<float>(length) * highest_) - 0.1
                       : static_cast<double>(scores_[index]);
    offer(end, score + static_cast<double>(base), id);
    covered = covered || length == one_character;
  }
  if (!covered) {
    float unknown_score = lowest_ - kUnknownPenalty;
    offer(start + one_character, static_cast<double>(unknown_score + base), unknown_);
  }
}

std::vector<UnigramModel::Step> UnigramModel::BestPath(std::string_view part,
                                                       std::vector<Node>& nodes) const {
  nodes.assign(part.size() + 1, {});
  for (size_t start = 0; start < part.size(); start += CharacterLength(part.substr(start))) {
    Relax(part, start, nodes);
  }
  std::vector<Step> steps;
  for (size_t end = part.size(); end > 0;) {
    auto start = static_cast<size_t>(nodes[end].start);
    steps.push_back({end - start, nodes[end].id});
    end = start;
  }
  std::reverse(steps.begin(), steps.end());
  return steps;
}

// The text may be cut where no piece holds both neighbours. The library never does: its sums lose
// precision over a long text. Texts below kCutAfter are taken whole and give its ids, ties
// included.
size_t UnigramModel::PartLength(std::string_view text) const {
  if (text.size() <= kCutAfter) return text.size();
  size_t end = 0;
  uint32_t left = 0;
  while (end < text.size()) {
    size_t length = CharacterLength(text.substr(end));
    uint32_t right = CodePoint(text.substr(end, length));
    if (end >= kCutAfter && !reach_.CanMerge(left, right)) break;
    end += length;
    left = right;
  }
  return end;
}

void UnigramModel::Encode(std::string_view text, std::vector<TokenId>& out) const {
  std::vector<Node> nodes;
  bool after_unknown = false;
  while (!text.empty()) {
    std::string_view part = text.substr(0, PartLength(text));
    text.remove_prefix(part.size());
    for (const Step& step : BestPath(part, nodes)) {
      bool is_unknown = step.id == unknown_;
      if (is_unknown && !byte_ids_.empty()) {
        for (char c : part.substr(0, step.length)) {
          out.push_back(byte_ids_[static_cast<unsigned char>(c)]);
        }
      } else if (!is_unknown || !after_unknown) {
        out.push_back(step.id);
      }
      part.remove_prefix(step.length);
      after_unknown = is_unknown;
    }
  }
}

}  // namespace qualm
