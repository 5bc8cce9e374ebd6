#include "kernels/block_weight.h"

#include <gtest/gtest.h>

#include <cstring>

#include "artefact/row_blocks.h"
#include "base/rng.h"
#include "support/test_context.h"
#include "tensor/reference/linear_reference.h"

namespace qualm {
namespace {

// A value for every place, so that a wrong row, range or lane shows.
float ValueAt(size_t row, size_t column) {
  return static_cast<float>((row * 131 + column * 17) % 257) / 64 - 2;
}

class PlaceRows final : public RowDecoder {
 public:
  void Decode(size_t row, size_t begin, std::span<float> to) const override {
    for (size_t i = 0; i < to.size(); ++i) to[i] = ValueAt(row, begin + i);
  }
};

TEST(BlockWeightTest, MultipliesLikeTheDequantizedWeight) {
  Rng rng(1);
  for (const size_t out : {size_t{1}, size_t{16}, size_t{37}}) {
    for (const size_t in : {size_t{1}, size_t{31}, size_t{256}, size_t{700}}) {
      const RowBlocks blocks{out, in, "iq2_xs", 77, std::make_shared<PlaceRows>()};
      const auto weight = MakeBlockWeight(blocks);
      EXPECT_EQ(weight->format(), "blocks-iq2_xs");
      EXPECT_EQ(weight->weight_bytes(), 77u);

      for (const size_t tokens : {size_t{0}, size_t{1}, size_t{9}, size_t{70}}) {
        Matrix x(tokens, in), w(out, in), expected(tokens, out), y(tokens, out);
        for (size_t i = 0; i < tokens * in; ++i) x.data()[i] = static_cast<float>(rng.Normal());
        for (size_t r = 0; r < out; ++r) {
          for (size_t c = 0; c < in; ++c) w(r, c) = ValueAt(r, c);
        }
        reference::Multiply(x, w, expected);

        testing::TestContext context(2);
        weight->Multiply(x, y, context);
        for (size_t t = 0; t < tokens; ++t) {
          ASSERT_EQ(std::memcmp(y.row(t).data(), expected.row(t).data(), out * sizeof(float)), 0)
              << out << " " << in << " " << tokens;
        }
      }
    }
  }
}

}  // namespace
}  // namespace qualm
