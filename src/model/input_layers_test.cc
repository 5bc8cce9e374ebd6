// Rows of embedding and positions by hand: every step that a model may have between a token's id
// and its hidden states.
#include "model/input_layers.h"

#include <gmock/gmock.h>

#include <array>
#include <cmath>

#include "support/errors.h"
#include "support/test_context.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

WeightView View(const std::vector<float>& values, size_t cols) {
  return {values.data(), DType::kF32, values.size() / cols, cols};
}

class InputLayersTest : public ::testing::Test {
 protected:
  // The hidden states of one token.
  std::vector<float> Embedded(TokenId id, size_t position, size_t width = 2) {
    Matrix out(1, width);
    input_.Embed({&id, 1}, position, out.view(), context_);
    return {out.row(0).begin(), out.row(0).end()};
  }

  const std::vector<float> rows_ = {1, 2, 3, 4, 5, -6};
  const std::vector<float> places_ = {0, 0, 10, 20, 30, 40, 50, 60};
  const std::vector<float> projection_ = {1, 0, 0, 1, 1, 1};
  testing::TestContext context_{1};
  InputLayers input_{{View(rows_, 2), 1}, {}, {}, {}, 0};
};

TEST_F(InputLayersTest, RowsAreScaled) {
  EXPECT_THAT(Embedded(2, 0), ElementsAre(5, -6));
  input_.embedding.scale = 0.5f;
  EXPECT_THAT(Embedded(2, 7), ElementsAre(2.5f, -3));
}

TEST_F(InputLayersTest, PositionsBeginAtTheirOffset) {
  input_.positions = EmbeddingTable{View(places_, 2), 1};
  EXPECT_THAT(Embedded(0, 1), ElementsAre(11, 22));
  input_.position_offset = 2;
  EXPECT_THAT(Embedded(0, 1), ElementsAre(51, 62));
  input_.positions->scale = 0.5f;
  EXPECT_THAT(Embedded(0, 0), ElementsAre(16, 22));
}

// What is cut into pieces sees the positions that it has as a whole.
TEST_F(InputLayersTest, PositionsFollowTheFirstOne) {
  input_.positions = EmbeddingTable{View(places_, 2), 1};
  const std::array<TokenId, 3> ids = {0, 0, 1};
  Matrix out(3, 2);
  input_.Embed(ids, 1, out.view(), context_);
  EXPECT_THAT(std::vector<float>(out.row(0).begin(), out.row(0).end()), ElementsAre(11, 22));
  EXPECT_THAT(std::vector<float>(out.row(1).begin(), out.row(1).end()), ElementsAre(31, 42));
  EXPECT_THAT(std::vector<float>(out.row(2).begin(), out.row(2).end()), ElementsAre(53, 64));
}

TEST_F(InputLayersTest, ProjectionNormAndPositionsComeInThisOrder) {
  input_.embedding.scale = 2;
  input_.project = LinearLayer{"in", MakeDenseWeight(View(projection_, 2), context_), {0, 0, 1}};
  // Row 1, scaled, is (6, 8), projected (6, 8, 15).
  EXPECT_THAT(Embedded(1, 0, 3), ElementsAre(6, 8, 15));

  NormPlan norm{"norm", 3, {.kind = NormKind::kRms, .eps = 0}};
  input_.norm = NormLayer{norm, {1, 1, 2}, {}};
  const std::vector<float> places = {100, 200, 300};
  input_.positions = EmbeddingTable{View(places, 3), 1};
  const float scale = 1 / std::sqrt((36 + 64 + 225) / 3.0f);
  const std::vector<float> got = Embedded(1, 0, 3);
  EXPECT_FLOAT_EQ(got[0], 100 + 6 * scale);
  EXPECT_FLOAT_EQ(got[1], 200 + 8 * scale);
  EXPECT_FLOAT_EQ(got[2], 300 + 30 * scale);
}

TEST_F(InputLayersTest, IdsOutsideTheTableAreRefused) {
  for (const TokenId id : {-1, 3}) {
    EXPECT_THAT(ErrorOf([&] { Embedded(id, 0); }), HasSubstr("expected token ids in 0..2; got"))
        << id;
  }
}

TEST_F(InputLayersTest, PositionsOutsideTheTableAreRefused) {
  input_.positions = EmbeddingTable{View(places_, 2), 1};
  EXPECT_THAT(Embedded(0, 3), ElementsAre(51, 62));
  EXPECT_THAT(ErrorOf([&] { Embedded(0, 4); }), HasSubstr("[positions] expected at most 4; got 5"));
  input_.position_offset = 2;
  EXPECT_EQ(ErrorOf([&] { Embedded(0, 1); }), "no error");
  EXPECT_THAT(ErrorOf([&] { Embedded(0, 2); }), HasSubstr("[positions] expected at most 2; got 3"));
}

}  // namespace
}  // namespace qualm
