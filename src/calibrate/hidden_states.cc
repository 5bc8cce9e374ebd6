// The hidden states of all calibration tokens between two blocks, and how they go through a block:
// at once, or input by input, so that layers can be quantized in between. Tokens go through in
// chunks of whole sequences, in the same order every time.
#include "calibrate/hidden_states.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Tokens that run through a block at once: enough for full matrix products, few enough that the
// widest activations stay small. The number is part of the definition of a Gram matrix's summation
// order.
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

// What attention needs for one chunk: a cache per sequence and the rotary tables. It is built anew
// for each chunk, so that only one chunk's caches exist at a time.
struct HiddenStates::Attending {
  Attending(const HiddenStates& states, const DecoderBlock& block, const Chunk& chunk) {
    const std::span<const BlockPlan> blocks(&block.plan(), 1);
    caches.reserve(chunk.sequences);
    for (size_t s = chunk.first_sequence; s < chunk.first_sequence + chunk.sequences; ++s) {
      const std::vector<TokenId>& ids = states.sequences_[s];
      caches.emplace_back(blocks, states.plan_.kv_cache, ids.size(), /*rollback=*/0);
      slices.push_back({&caches.back(), ids});
    }
    rotary.emplace(slices);
  }

  BlockPass pass() { return {slices, &*rotary, /*cache_block=*/0}; }

  std::vector<KvCache> caches;
  std::vector<SequenceSlice> slices;
  std::optional<RotaryTables> rotary;
};

HiddenStates::HiddenStates(std::span<const std::vector<TokenId>> sequences, const ModelPlan& plan,
                           const std::optional<std::filesystem::path>& spill_file)
    : sequences_(sequences),
      plan_(plan),
      spill_file_(spill_file),
      hidden_(TotalTokens(sequences), plan.hidden_size, spill_file) {
  // Chunks are whole sequences, as many as stay within kChunkTokens.
  size_t row = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const size_t length = sequences[s].size();
    if (chunks_.empty() || chunks_.back().rows + length > kChunkTokens) {
      chunks_.push_back({s, 0, row, 0});
    }
    ++chunks_.back().sequences;
    chunks_.back().rows += length;
    row += length;
  }
}

void HiddenStates::Embed(const InputLayers& input, const Context& context) {
  size_t row = 0;
  for (const auto& sequence : sequences_) {
    input.Embed(sequence, /*first_position=*/0, hidden_.view().Rows(row, sequence.size()), context);
    row += sequence.size();
  }
}

Span2D<float> HiddenStates::HiddenOf(const Chunk& chunk) const {
  return hidden_.view().Rows(chunk.first_row, chunk.rows);
}

// For a block that is settled: nobody needs the values inside.
void HiddenStates::Advance(const DecoderBlock& block, const Context& context) {
  QUALM_CHECK(next_input_ == 0);
  for (const Chunk& chunk : chunks_) {
    Attending attending(*this, block, chunk);
    block.Forward(attending.pass(), HiddenOf(chunk), context);
  }
}

// Shows the values inside the block and leaves the hidden states as they are.
void HiddenStates::Observe(const DecoderBlock& block, const Context& context,
                           const InputObserver& observer) const {
  QUALM_CHECK(next_input_ == 0);
  for (const Chunk& chunk : chunks_) {
    Attending attending(*this, block, chunk);
    Matrix hidden = Matrix::CopyOf(HiddenOf(chunk));
    block.Forward(attending.pass(), hidden, context, observer);
  }
}

Matrix HiddenStates::ResidualInput(const DecoderBlock& block, const Chunk& chunk,
                                   const Context& context) const {
  return block.ResidualInput(next_input_, HiddenOf(chunk), context);
}

// Shows the value of the next input, chunk by chunk. Inputs that read the hidden states are
// computed here; all others were stored by an earlier step.
void HiddenStates::ForInput(const DecoderBlock& block, const Context& context,
                            const std::function<void(Span2D<const float>)>& body) const {
  for (const Chunk& chunk : chunks_) {
    if (block.inputs()[next_input_].reads_residual) {
      body(ResidualInput(block, chunk, context).view());
    } else {
      body(values_[next_input_].view().Rows(chunk.first_row, chunk.rows));
    }
  }
}

// Room for the values that the next input's steps are about to make.
void HiddenStates::PrepareValues(const DecoderBlock& block) {
  values_.resize(block.inputs().size());
  for (const size_t made : block.MadeBy(next_input_)) {
    std::optional<std::filesystem::path> file = spill_file_;
    if (file) *file += StrCat(".input-", made);
    values_[made] = StateBuffer(tokens(), block.inputs()[made].width, file);
  }
}

void HiddenStates::AdvanceInput(const DecoderBlock& block, const Context& context) {
  PrepareValues(block);

  // Chunk by chunk: the value of the input, then the layers that read it.
  for (const Chunk& chunk : chunks_) {
    const auto rows_of = [&](size_t input) {
      return values_[input].view().Rows(chunk.first_row, chunk.rows);
    };
    Matrix computed;
    Span2D<const float> value;
    if (block.inputs()[next_input_].reads_residual) {
      computed = ResidualInput(block, chunk, context);
      value = computed.view();
    } else {
      value = rows_of(next_input_);
    }

    // Caches are needed only by steps that attend.
    std::optional<Attending> attending;
    BlockPass pass;
    if (block.inputs()[next_input_].needs_sequences) {
      attending.emplace(*this, block, chunk);
      pass = attending->pass();
    }

    block.Step(next_input_, pass, value, HiddenOf(chunk), context,
               [&](size_t later, const Matrix& made) { CopyRows(made.view(), rows_of(later)); });
  }

  // The value has been read; after the last input the next block begins.
  values_[next_input_] = StateBuffer();
  next_input_ = (next_input_ + 1) % block.inputs().size();
}

// One chunk is enough: transforms compare candidates by it.
Matrix HiddenStates::BranchOutput(const DecoderBlock& block, size_t input,
                                  const Context& context) const {
  QUALM_CHECK(next_input_ == 0 && !chunks_.empty());
  const Chunk& chunk = chunks_.front();
  Attending attending(*this, block, chunk);
  const Matrix value = block.ResidualInput(input, HiddenOf(chunk), context);
  return block.BranchOutput(input, attending.pass(), value, context);
}

// For passes that start from the same hidden states more than once.
StateBuffer HiddenStates::Save() const {
  QUALM_CHECK(next_input_ == 0);
  std::optional<std::filesystem::path> file = spill_file_;
  if (file) *file += ".saved";
  StateBuffer saved(tokens(), plan_.hidden_size, file);
  CopyRows(hidden_.view(), saved.view());
  return saved;
}

void HiddenStates::Restore(const StateBuffer& saved) {
  CopyRows(saved.view(), hidden_.view());
  next_input_ = 0;
  values_.clear();
}

}  // namespace qualm
