// PROTOCOLS 9: a sequence's logits have the same bits for every number of threads, in every batch,
// and whether they come from one prefill or token by token. On the embedded demo model as it is,
// with a sliding window in its upper blocks, and quantized.
#include <gmock/gmock.h>

#include <bit>

#include "base/rng.h"
#include "model/model.h"
#include "model/standard_plan.h"
#include "quantize/run.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using Sequence = std::vector<TokenId>;

std::vector<Sequence> RandomSequences(size_t count, size_t vocabulary, uint64_t seed) {
  Rng rng(seed);
  std::vector<Sequence> sequences(count);
  for (Sequence& sequence : sequences) {
    sequence.resize(1 + rng.Below(90));
    for (TokenId& id : sequence) id = static_cast<TokenId>(rng.Below(vocabulary));
  }
  return sequences;
}

std::vector<size_t> Lengths(const std::vector<Sequence>& sequences) {
  std::vector<size_t> lengths;
  for (const Sequence& sequence : sequences) lengths.push_back(sequence.size());
  return lengths;
}

// Logits of all positions, one forward over all sequences together.
std::vector<Matrix> Together(const Decoder& decoder, const std::vector<Sequence>& sequences,
                             const Context& context) {
  std::vector<KvCache> caches;
  std::vector<SequenceSlice> slices;
  caches.reserve(sequences.size());
  for (const Sequence& sequence : sequences) {
    caches.push_back(decoder.MakeCache(sequence.size()));
    slices.push_back({&caches.back(), sequence});
  }
  Matrix hidden = decoder.Forward(slices, context);
  std::vector<Matrix> logits;
  size_t first = 0;
  for (const Sequence& sequence : sequences) {
    logits.emplace_back(sequence.size(), decoder.plan.vocab_size());
    decoder.Logits(hidden.view().Rows(first, sequence.size()), logits.back(), context);
    first += sequence.size();
  }
  return logits;
}

// The same sequence in pieces of random length, alone.
Matrix InPieces(const Decoder& decoder, const Sequence& sequence, Rng& rng,
                const Context& context) {
  KvCache cache = decoder.MakeCache(sequence.size());
  Matrix logits(sequence.size(), decoder.plan.vocab_size());
  for (size_t first = 0; first < sequence.size();) {
    size_t count = std::min<size_t>(sequence.size() - first, 1 + rng.Below(4) * rng.Below(12));
    std::span<const TokenId> ids(sequence.data() + first, count);
    Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, ids}}, context);
    decoder.Logits(hidden, logits.view().Rows(first, count), context);
    first += count;
  }
  return logits;
}

// All sequences in one batch again and again, each with a few more tokens or none at a time: caches
// of different lengths side by side.
std::vector<Matrix> Interleaved(const Decoder& decoder, const std::vector<Sequence>& sequences,
                                Rng& rng, const Context& context) {
  std::vector<KvCache> caches;
  std::vector<Matrix> logits;
  for (const Sequence& sequence : sequences) {
    caches.push_back(decoder.MakeCache(sequence.size()));
    logits.emplace_back(sequence.size(), decoder.plan.vocab_size());
  }
  std::vector<size_t> done(sequences.size(), 0);
  while (done != Lengths(sequences)) {
    std::vector<SequenceSlice> slices;
    std::vector<size_t> which;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const size_t count = std::min<size_t>(sequences[i].size() - done[i], rng.Below(9));
      if (count == 0) continue;
      slices.push_back({&caches[i], std::span(sequences[i]).subspan(done[i], count)});
      which.push_back(i);
    }
    const Matrix hidden = decoder.Forward(slices, context);
    size_t first = 0;
    for (size_t s = 0; s < slices.size(); ++s) {
      const size_t i = which[s], count = slices[s].ids.size();
      decoder.Logits(hidden.view().Rows(first, count), logits[i].view().Rows(done[i], count),
                     context);
      first += count;
      done[i] += count;
    }
  }
  return logits;
}

size_t DifferentBits(const Matrix& a, const Matrix& b) {
  size_t different = 0;
  for (size_t r = 0; r < a.rows(); ++r) {
    for (size_t c = 0; c < a.cols(); ++c) {
      different += std::bit_cast<uint32_t>(a(r, c)) != std::bit_cast<uint32_t>(b(r, c));
    }
  }
  return different;
}

void ExpectOneResult(const Decoder& decoder, uint64_t rounds) {
  testing::TestContext one(1), three(3);
  Rng rng(5);
  for (uint64_t round = 0; round < rounds; ++round) {
    std::vector<Sequence> sequences =
        RandomSequences(2 + rng.Below(4), decoder.plan.vocab_size(), round);
    std::vector<Matrix> expected = Together(decoder, sequences, one);
    std::vector<Matrix> threaded = Together(decoder, sequences, three);
    std::vector<Matrix> interleaved = Interleaved(decoder, sequences, rng, three);
    for (size_t i = 0; i < sequences.size(); ++i) {
      EXPECT_EQ(DifferentBits(threaded[i], expected[i]), 0u);
      EXPECT_EQ(DifferentBits(interleaved[i], expected[i]), 0u);
      EXPECT_EQ(DifferentBits(InPieces(decoder, sequences[i], rng, three), expected[i]), 0u);
      EXPECT_EQ(DifferentBits(Together(decoder, {sequences[i]}, three)[0], expected[i]), 0u);
    }
  }
}

TEST(Determinism, LogitsDoNotDependOnThreadsBatchOrPieces) {
  testing::TestContext context(2);
  const Model model = LoadModel(testing::SourceRoot() / "demo/model", {}, context);
  ExpectOneResult(*model.decoder, 3);
}

TEST(Determinism, NorWithASlidingWindowInSomeBlocks) {
  testing::TestContext context(2);
  Model model = LoadModel(testing::SourceRoot() / "demo/model", {}, context);
  Sequence sequence(30);
  Rng rng(8);
  for (TokenId& id : sequence) {
    id = static_cast<TokenId>(rng.Below(model.decoder->plan.vocab_size()));
  }
  const Matrix everything = std::move(Together(*model.decoder, {sequence}, context)[0]);
  for (size_t b = 2; b < model.decoder->plan.blocks.size(); ++b) {
    // The blocks refer to their plans.
    AttentionIn(model.decoder->plan.blocks[b]).window = 17;
  }
  ExpectOneResult(*model.decoder, 2);
  // The window is seen from the token on that it hides something from.
  const Matrix windowed = std::move(Together(*model.decoder, {sequence}, context)[0]);
  EXPECT_EQ(DifferentBits(Matrix::CopyOf(windowed.view().Rows(0, 17)),
                          Matrix::CopyOf(everything.view().Rows(0, 17))),
            0u);
  EXPECT_GT(DifferentBits(Matrix::CopyOf(windowed.view().Rows(17, 1)),
                          Matrix::CopyOf(everything.view().Rows(17, 1))),
            1000u);
}

TEST(Determinism, NorForAQuantizedModel) {
  testing::TestContext context(2);
  const testing::TemporaryFolder folder;
  for (const char* recipe : {"rtn-w4-g64", "rtn-w3-channel-sym"}) {
    QuantizeOptions options;
    options.model = testing::SourceRoot() / "demo/model";
    options.out = folder / recipe;
    options.recipe = FindRecipe(recipe);
    options.qualm_version = "test";
    QuantizeModel(options, context);
    ExpectOneResult(*LoadModel(options.out, {}, context).decoder, 2);
  }
}

TEST(Determinism, ThisTestSeesADifferentSequence) {
  testing::TestContext context(1);
  Model model = LoadModel(testing::SourceRoot() / "demo/model", {}, context);
  Sequence a = {1, 5, 9, 100}, b = {1, 5, 9, 101};
  std::vector<Matrix> first = Together(*model.decoder, {a}, context);
  std::vector<Matrix> second = Together(*model.decoder, {b}, context);
  EXPECT_GT(DifferentBits(first[0], second[0]), 1000u);
}

}  // namespace
}  // namespace qualm
