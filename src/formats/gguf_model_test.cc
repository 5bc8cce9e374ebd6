// Files whose sizes do not belong to a model.
#include "formats/gguf_model.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "support/errors.h"
#include "support/gguf_bytes.h"

namespace qualm {
namespace {

using testing::GgufBytes;
using testing::GgufEntry;
using ::testing::HasSubstr;

// Embeddings, one projection and one norm.
GgufBytes SmallModel(uint64_t heads) {
  GgufBytes file;
  file.entries = {GgufEntry("general.architecture", "llama"),
                  GgufEntry("llama.block_count", uint32_t{1}),
                  GgufEntry("llama.context_length", uint32_t{8}),
                  GgufEntry("llama.embedding_length", uint32_t{32}),
                  GgufEntry("llama.feed_forward_length", uint32_t{32}),
                  GgufEntry("llama.attention.head_count", heads),
                  GgufEntry("llama.attention.layer_norm_rms_epsilon", 1e-5f)};
  file.tensors = {{"blk.0.attn_q.weight", {32, 4}, 8, 0},
                  {"token_embd.weight", {32, 4}, 8, 160},
                  {"blk.0.attn_norm.weight", {3}, 0, 320}};
  file.data_bytes = 332;  // twice 4 rows of one Q8_0 block with 24 bytes of padding, 3 floats
  return file;
}

std::string ErrorOfLayers(const GgufBytes& file) {
  const std::string bytes = file.Write();
  return testing::ErrorOf([&] {
    (void)OpenGgufLayers(GgufModel::Of(GgufFile::FromBytes(std::as_bytes(std::span(bytes)), "f")),
                         {});
  });
}

TEST(GgufModel, ReadsAnEvenNumberOfRowsForEachHead) {
  EXPECT_EQ(ErrorOfLayers(SmallModel(2)), "no error");
  for (const uint64_t heads : {uint64_t{0}, uint64_t{3}, uint64_t{4}, ~uint64_t{0}}) {
    EXPECT_THAT(ErrorOfLayers(SmallModel(heads)), HasSubstr("expected")) << heads;
  }
}

TEST(GgufModel, BlocksAreOfMatrices) {
  GgufBytes file = SmallModel(2);
  file.tensors[2] = {"blk.0.attn_norm.weight", {32}, 8, 320};
  file.data_bytes = 320 + 34;
  EXPECT_THAT(ErrorOfLayers(file), HasSubstr("[out, in]"));
}

}  // namespace
}  // namespace qualm
