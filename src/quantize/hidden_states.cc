#include "quantize/hidden_states.h"

#include <algorithm>

#include "base/error.h"

namespace qualm {
namespace {

// Tokens run through a block at once: enough for full matrix products, few enough that the widest
// activations stay small. Part of the definition of a Gram matrix's summation order.
constexpr size_t kChunkTokens = 2048;

void CopyRows(Span2D<const float> from, Span2D<float> to) {
  for (size_t r = 0; r < from.rows(); ++r) std::ranges::copy(from.row(r), to.row(r).begin());
}

size_t TotalTokens(std::span<const std::vector<TokenId>> sequences) {
  size_t total = 0;
  for (const auto& sequence : sequences) total += sequence.size();
  return total;
}

}  // namespace

struct HiddenStates::Attending {
  Attending(const HiddenStates& states, const Chunk& chunk) {
    caches.reserve(chunk.sequences);
    for (size_t s = chunk.first_sequence; s < chunk.first_sequence + chunk.sequences; ++s) {
      const std::vector<TokenId>& ids = states.sequences_[s];
      caches.emplace_back(states.config_, /*blocks=*/1, ids.size());
      slices.push_back({&caches.back(), ids});
    }
    rope.emplace(RopeOf(states.config_, slices));
  }
  std::vector<KvCache> caches;
  std::vector<SequenceSlice> slices;
  std::optional<RopeTable> rope;
};

HiddenStates::HiddenStates(std::span<const std::vector<TokenId>> sequences,
                           const ModelConfig& config,
                           const std::optional<std::filesystem::path>& spill_file)
    : sequences_(sequences),
      config_(config),
      spill_file_(spill_file),
      hidden_(TotalTokens(sequences), config.hidden_size, spill_file) {
  size_t row = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    size_t length = sequences[s].size();
    if (chunks_.empty() || chunks_.back().rows + length > kChunkTokens) {
      chunks_.push_back({s, 0, row, 0});
    }
    ++chunks_.back().sequences;
    chunks_.back().rows += length;
    row += length;
  }
}

void HiddenStates::Embed(const EmbeddingTable& embedding) {
  size_t row = 0;
  for (const auto& sequence : sequences_) {
    embedding.Lookup(sequence, hidden_.view().Rows(row, sequence.size()));
    row += sequence.size();
  }
}

Span2D<float> HiddenStates::HiddenOf(const Chunk& chunk) const {
  return hidden_.view().Rows(chunk.first_row, chunk.rows);
}

void HiddenStates::Advance(const DecoderBlock& block, ThreadPool& pool) {
  QUALM_CHECK(stage_ == 0);
  for (const Chunk& chunk : chunks_) {
    Attending attending(*this, chunk);
    block.Forward(attending.slices, *attending.rope, /*cache_block=*/0, HiddenOf(chunk), pool);
  }
}

void HiddenStates::Observe(const DecoderBlock& block, ThreadPool& pool,
                           const GroupObserver& observer) const {
  QUALM_CHECK(stage_ == 0);
  for (const Chunk& chunk : chunks_) {
    Attending attending(*this, chunk);
    Matrix hidden = Matrix::CopyOf(HiddenOf(chunk));
    block.Forward(attending.slices, *attending.rope, /*cache_block=*/0, hidden, pool, observer);
  }
}

void HiddenStates::ForGroupInput(const DecoderBlock& block, ThreadPool& pool,
                                 const std::function<void(Span2D<const float>)>& body) const {
  for (const Chunk& chunk : chunks_) {
    if (stage_ == 0) {
      body(block.AttentionInput(HiddenOf(chunk), pool).view());
    } else if (stage_ == 2) {
      body(block.MlpInput(HiddenOf(chunk), pool).view());
    } else {
      body(stage_input_.view().Rows(chunk.first_row, chunk.rows));
    }
  }
}

void HiddenStates::AdvanceStage(const DecoderBlock& block, ThreadPool& pool) {
  bool fills_stage_input = stage_ == 0 || stage_ == 2;
  if (fills_stage_input) {
    std::optional<std::filesystem::path> file = spill_file_;
    if (file) *file += ".stage";
    size_t width = stage_ == 0 ? config_.q_features() : config_.intermediate_size;
    stage_input_ = StateBuffer(tokens(), width, file);
  }
  for (const Chunk& chunk : chunks_) {
    Span2D<float> hidden = HiddenOf(chunk);
    Span2D<float> staged = stage_input_.view().Rows(chunk.first_row, chunk.rows);
    if (stage_ == 0) {
      Attending attending(*this, chunk);
      Matrix input = block.AttentionInput(hidden, pool);
      CopyRows(
          block.Attended(attending.slices, *attending.rope, /*cache_block=*/0, input, pool).view(),
          staged);
    } else if (stage_ == 1) {
      block.AddAttentionOutput(staged, hidden, pool);
    } else if (stage_ == 2) {
      CopyRows(block.Gated(block.MlpInput(hidden, pool).view(), pool).view(), staged);
    } else {
      block.AddMlpOutput(staged, hidden, pool);
    }
  }
  if (!fills_stage_input) stage_input_ = StateBuffer();
  stage_ = (stage_ + 1) % kStages;
}

Matrix HiddenStates::AttentionOutput(const DecoderBlock& block, ThreadPool& pool) const {
  QUALM_CHECK(stage_ == 0 && !chunks_.empty());
  const Chunk& chunk = chunks_.front();
  Attending attending(*this, chunk);
  const Matrix input = block.AttentionInput(HiddenOf(chunk), pool);
  const Matrix attended =
      block.Attended(attending.slices, *attending.rope, /*cache_block=*/0, input, pool);
  Matrix output(chunk.rows, config_.hidden_size);
  block.AddAttentionOutput(attended, output, pool);
  return output;
}

StateBuffer HiddenStates::Save() const {
  QUALM_CHECK(stage_ == 0);
  std::optional<std::filesystem::path> file = spill_file_;
  if (file) *file += ".saved";
  StateBuffer saved(tokens(), config_.hidden_size, file);
  CopyRows(hidden_.view(), saved.view());
  return saved;
}

void HiddenStates::Restore(const StateBuffer& saved) {
  CopyRows(saved.view(), hidden_.view());
  stage_ = 0;
  stage_input_ = StateBuffer();
}

}  // namespace qualm
