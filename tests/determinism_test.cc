// PROTOCOLS 9: a sequence's logits have the same bits for every number of threads, in every batch,
// and whether they come from one prefill or token by token. On the embedded demo model; quantized
// models have the bits of their dequantized weights (quantize_run_test.cc).
#include <gmock/gmock.h>

#include <bit>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "model/model.h"
#include "support/shared_data.h"

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

// Logits of all positions, one forward over all sequences together.
std::vector<Matrix> Together(const Decoder& decoder, const std::vector<Sequence>& sequences,
                             ThreadPool& pool) {
  std::vector<KvCache> caches;
  std::vector<SequenceSlice> slices;
  caches.reserve(sequences.size());
  for (const Sequence& sequence : sequences) {
    caches.push_back(decoder.MakeCache(sequence.size()));
    slices.push_back({&caches.back(), sequence});
  }
  Matrix hidden = decoder.Forward(slices, pool);
  std::vector<Matrix> logits;
  size_t first = 0;
  for (const Sequence& sequence : sequences) {
    logits.emplace_back(sequence.size(), decoder.config.vocab_size);
    decoder.Logits(hidden.view().Rows(first, sequence.size()), logits.back(), pool);
    first += sequence.size();
  }
  return logits;
}

// The same sequence in pieces of random length, alone.
Matrix InPieces(const Decoder& decoder, const Sequence& sequence, Rng& rng, ThreadPool& pool) {
  KvCache cache = decoder.MakeCache(sequence.size());
  Matrix logits(sequence.size(), decoder.config.vocab_size);
  for (size_t first = 0; first < sequence.size();) {
    size_t count = std::min<size_t>(sequence.size() - first, 1 + rng.Below(4) * rng.Below(12));
    std::span<const TokenId> ids(sequence.data() + first, count);
    Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, ids}}, pool);
    decoder.Logits(hidden, logits.view().Rows(first, count), pool);
    first += count;
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

TEST(Determinism, LogitsDoNotDependOnThreadsBatchOrPieces) {
  ThreadPool one(1), three(3);
  Model model = LoadModel(testing::SourceRoot() / "demo/model", {}, one);
  const Decoder& decoder = *model.decoder;
  Rng rng(5);
  for (uint64_t round = 0; round < 3; ++round) {
    std::vector<Sequence> sequences =
        RandomSequences(2 + rng.Below(4), decoder.config.vocab_size, round);
    std::vector<Matrix> expected = Together(decoder, sequences, one);
    std::vector<Matrix> threaded = Together(decoder, sequences, three);
    for (size_t i = 0; i < sequences.size(); ++i) {
      EXPECT_EQ(DifferentBits(threaded[i], expected[i]), 0u);
      EXPECT_EQ(DifferentBits(InPieces(decoder, sequences[i], rng, three), expected[i]), 0u);
      EXPECT_EQ(DifferentBits(Together(decoder, {sequences[i]}, three)[0], expected[i]), 0u);
    }
  }
}

TEST(Determinism, ThisTestSeesADifferentSequence) {
  ThreadPool pool(1);
  Model model = LoadModel(testing::SourceRoot() / "demo/model", {}, pool);
  Sequence a = {1, 5, 9, 100}, b = {1, 5, 9, 101};
  std::vector<Matrix> first = Together(*model.decoder, {a}, pool);
  std::vector<Matrix> second = Together(*model.decoder, {b}, pool);
  EXPECT_GT(DifferentBits(first[0], second[0]), 1000u);
}

}  // namespace
}  // namespace qualm
