// A whole model that runs: token ids come in, hidden states or logits come out. Several sequences
// with their own caches go through in one pass, so that each weight is read once for all of them.
#include "model/decoder.h"

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

size_t TokensOf(std::span<const SequenceSlice> slices) {
  size_t tokens = 0;
  for (const SequenceSlice& slice : slices) tokens += slice.ids.size();
  return tokens;
}

}  // namespace

Matrix Decoder::Forward(std::span<const SequenceSlice> slices, const Context& context) const {
  QUALM_CHECK(blocks.size() == plan.blocks.size());
  for (const SequenceSlice& slice : slices) {
    if (slice.cache->length() + slice.ids.size() <= slice.cache->capacity()) continue;
    ThrowBadInput("forward", StrCat("at most ", slice.cache->capacity(), " positions"),
                  StrCat(slice.cache->length() + slice.ids.size()));
  }
  Matrix hidden = Matrix::Uninitialized(TokensOf(slices), plan.hidden_size);
  size_t first = 0;
  for (const SequenceSlice& slice : slices) {
    input.Embed(slice.ids, slice.cache->length(), hidden.view().Rows(first, slice.ids.size()),
                context);
    first += slice.ids.size();
  }

  // Blocks store keys and values at the positions from length() on; the caches count the new
  // positions only when all blocks have done so.
  RotaryTables rotary(slices);
  for (size_t b = 0; b < blocks.size(); ++b) {
    blocks[b]->Forward({slices, &rotary, /*cache_block=*/b}, hidden, context);
  }

  for (const SequenceSlice& slice : slices) slice.cache->Grow(slice.ids.size());
  if (final_norm) final_norm->Apply(hidden, hidden, context);
  return hidden;
}

void Decoder::Logits(Span2D<const float> hidden, Span2D<float> logits,
                     const Context& context) const {
  if (project_out) {
    head.Apply(project_out->Apply(hidden, context), logits, context);
  } else {
    head.Apply(hidden, logits, context);
  }
  if (plan.logit_scale != 1) ScaleRows(logits, plan.logit_scale, context);
  if (plan.logit_soft_cap > 0) SoftCap(logits, plan.logit_soft_cap, context);
}

uint64_t Decoder::weight_bytes() const {
  uint64_t total = head.weight->weight_bytes();
  for (const auto& block : blocks) total += block->weight_bytes();
  return total;
}

}  // namespace qualm
