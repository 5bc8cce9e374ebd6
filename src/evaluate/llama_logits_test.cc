#include "evaluate/llama_logits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "base/rng.h"
#include "evaluate/perplexity.h"
#include "support/errors.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

constexpr uint32_t kContext = 9, kVocab = 7, kChunks = 2;
constexpr size_t kRows = 4;  // of a chunk: 9 - 1 - 4

template <class Value>
void Append(std::string& bytes, const Value& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

TokenId IdAt(size_t chunk, size_t position) {
  return static_cast<TokenId>((chunk * 5 + position * 3) % kVocab);
}

uint16_t CodeAt(size_t chunk, size_t row, size_t v) {
  return static_cast<uint16_t>((chunk * 977 + row * 331 + v * 9001) % 65536);
}

// As llama.cpp writes it; the vocabulary is odd, so each row has one code more.
std::string FileBytes() {
  std::string bytes = "_logits_";
  for (const uint32_t size : {kContext, kVocab, kChunks}) Append(bytes, size);
  for (size_t c = 0; c < kChunks; ++c) {
    for (size_t t = 0; t < kContext; ++t) Append(bytes, IdAt(c, t));
  }
  for (size_t c = 0; c < kChunks; ++c) {
    for (size_t r = 0; r < kRows; ++r) {
      Append(bytes, 1e-4f);
      Append(bytes, -7.5f);
      for (size_t v = 0; v < kVocab; ++v) Append(bytes, CodeAt(c, r, v));
      Append(bytes, uint16_t{0});
    }
  }
  return bytes;
}

std::span<const std::byte> BytesIn(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

TEST(LlamaLogits, RowsAreWhatTheFormatSays) {
  const std::string bytes = FileBytes();
  const LlamaLogits logits(BytesIn(bytes), "file");
  EXPECT_EQ(logits.rows(), kRows);
  EXPECT_EQ(logits.ids()[kContext + 2], IdAt(1, 2));
  EXPECT_EQ(logits.largest_step(), static_cast<double>(1e-4f));
  std::vector<float> row(kVocab);
  logits.Read(1, 3, row);
  for (size_t v = 0; v < kVocab; ++v) {
    EXPECT_EQ(row[v], 1e-4f * static_cast<float>(CodeAt(1, 3, v)) + -7.5f);
  }
}

// Words with code 0 share what the others leave: here 1 - 0.5 - 0.25, among two.
TEST(LlamaLogits, RaisedWordsShareTheRest) {
  std::string bytes = "_logits_";
  for (const uint32_t size : {uint32_t{4}, uint32_t{4}, uint32_t{1}}) Append(bytes, size);
  for (const TokenId id : {0, 1, 2, 3}) Append(bytes, id);
  // Codes 1 and 2 stand for 1/4 and 1/2, so the lowest value would be 1/8.
  Append(bytes, static_cast<float>(std::log(2.0)));
  Append(bytes, static_cast<float>(std::log(0.125)));
  for (const int code : {0, 2, 0, 1}) Append(bytes, static_cast<uint16_t>(code));
  const LlamaLogits logits(BytesIn(bytes), "file");
  std::vector<float> row(4);
  logits.Read(0, 0, row);
  // Step and lowest value are floats of up to 2.1, and their sum is rounded twice: four halves of
  // the spacing of floats below 4.
  const double relative = 4 * std::ldexp(1, -23);
  const double wanted[] = {0.125, 0.5, 0.125, 0.25};
  for (size_t v = 0; v < 4; ++v) {
    EXPECT_NEAR(std::exp(double{row[v]}), wanted[v], relative * wanted[v] + relative / 8);
  }
  EXPECT_NEAR(logits.MeanUnknown(), 0.25, relative);

  // What the others leave is less than one word's stored value: that value is all they have.
  const uint16_t most = 3;  // code 3: the whole probability
  std::memcpy(bytes.data() + bytes.size() - 6, &most, sizeof(most));
  const LlamaLogits full(BytesIn(bytes), "file");
  full.Read(0, 0, row);
  EXPECT_NEAR(std::exp(double{row[0]}), 0.0625, relative / 16);
}

// As a model it gives each scored position its own row: the perplexity is that of the softmax of
// the stored rows, and KL to itself is 0.
TEST(LlamaLogits, AsAModelItScoresItsOwnText) {
  const std::string bytes = FileBytes();
  const LlamaLogits logits(BytesIn(bytes), "file");
  const PerplexityText text = TextOf(logits, "text", 0, TokenId{2});
  ASSERT_EQ(text.windows.size(), kChunks);
  EXPECT_EQ(text.windows[0].targets(), kRows);
  const LlamaLogitsModel model(logits, text);
  testing::TestContext context(2);
  const TextScores scores =
      ScorePerplexity({.model = &model, .reference = &model}, {&text, 1}, {}, context)[0];

  for (size_t c = 0; c < kChunks; ++c) {
    double nll = 0;
    for (size_t r = 0; r < kRows; ++r) {
      double sum = 0;
      std::vector<float> row(kVocab);
      logits.Read(c, r, row);
      for (const float value : row) sum += std::exp(static_cast<double>(value));
      nll += std::log(sum) - static_cast<double>(row[static_cast<size_t>(IdAt(c, 5 + r))]);
    }
    EXPECT_NEAR(scores.window_nll[c], nll / kRows, 1e-12);  // sums of 7 doubles
  }
  EXPECT_EQ(scores.comparison->kl_max.value, 0);
  EXPECT_EQ(TextOf(logits, "text", 1, {}).windows.size(), 1U);
}

TEST(LlamaLogits, IsFoundByItsFirstBytes) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder / "logits") << FileBytes();
  std::ofstream(folder / "other") << "_logit";
  EXPECT_TRUE(LlamaLogits::IsOne(folder / "logits"));
  EXPECT_FALSE(LlamaLogits::IsOne(folder / "other"));
  EXPECT_FALSE(LlamaLogits::IsOne(folder.path()));
  EXPECT_EQ(LlamaLogits(folder / "logits").vocab_size(), kVocab);
}

TEST(LlamaLogits, HostileFilesAreRefusedWithTheirPlace) {
  const auto error = [](const std::string& bytes) {
    return ErrorOf([&] { LlamaLogits(BytesIn(bytes), "file"); });
  };
  const auto with = [](size_t at, auto value) {
    std::string bytes = FileBytes();
    std::memcpy(bytes.data() + at, &value, sizeof(value));
    return bytes;
  };
  const std::string whole = FileBytes();
  EXPECT_THAT(error("GGUF"), HasSubstr("[file] expected a file of llama-perplexity"));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(error(whole.substr(0, size)), HasSubstr("[file")) << size;
  }
  EXPECT_THAT(error(whole + "x"), HasSubstr("the run that wrote it may have been stopped"));
  EXPECT_THAT(error(with(8, uint32_t{3})), HasSubstr("n_ctx] expected 4 to 16777216; got 3"));
  EXPECT_THAT(error(with(12, int32_t{-1})), HasSubstr("n_vocab] expected 1 to 16777216"));
  EXPECT_THAT(error(with(16, uint32_t{0})), HasSubstr("n_chunk"));
  EXPECT_THAT(error(with(12, uint32_t{1} << 24)), HasSubstr("chunks of 9 tokens"));
  EXPECT_THAT(error(with(20, int32_t{7})), HasSubstr("token ids below 7; got 7"));
  const size_t first_row = 20 + kContext * kChunks * 4;
  EXPECT_THAT(error(with(first_row, std::nanf(""))),
              HasSubstr("chunk 0, row 0] expected a finite"));
  EXPECT_THAT(error(with(first_row + 4, -INFINITY)), HasSubstr("chunk 0, row 0"));
}

}  // namespace
}  // namespace qualm
