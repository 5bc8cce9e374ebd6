// Decodes the rows of a panel and interleaves them for the generic panel product
// (tensor/panels.h).
#include "kernels/block_weight.h"

#include <algorithm>
#include <string>

#include "artefact/row_blocks.h"
#include "base/error.h"
#include "base/strings.h"
#include "tensor/panels.h"

namespace qualm {
namespace {

class BlockWeight final : public LinearWeight, private PanelSource {
 public:
  explicit BlockWeight(const RowBlocks& blocks)
      : blocks_(blocks), format_(StrCat("blocks-", blocks.format)) {
    QUALM_CHECK(blocks_.decoder != nullptr);
  }

  size_t out_features() const override { return blocks_.out_features; }
  size_t in_features() const override { return blocks_.in_features; }
  size_t weight_bytes() const override { return blocks_.stored_bytes; }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    QUALM_CHECK(x.cols() == in_features() && y.cols() == out_features() && x.rows() == y.rows());
    MultiplyPanels(*this, x, y, context);
  }

 private:
  // PanelSource: decodes a part of each row, a few inputs at a time so that it stays in the
  // innermost cache, and writes it to its lane.
  void Unpack(size_t panel, size_t k_begin, size_t depth, float* to) const override {
    constexpr size_t kAtOnce = 256;
    float row[kAtOnce];
    const size_t first_row = panel * kPanelLanes;
    const size_t lanes = std::min(kPanelLanes, out_features() - first_row);

    for (size_t lane = 0; lane < lanes; ++lane) {
      for (size_t k = 0; k < depth; k += kAtOnce) {
        const size_t count = std::min(kAtOnce, depth - k);
        blocks_.decoder->Decode(first_row + lane, k_begin + k, {row, count});
        for (size_t i = 0; i < count; ++i) to[(k + i) * kPanelLanes + lane] = row[i];
      }
    }

    // Lanes beyond the last row are added to nothing, but must hold numbers that were written.
    for (size_t k = 0; lanes < kPanelLanes && k < depth; ++k) {
      std::fill(to + k * kPanelLanes + lanes, to + (k + 1) * kPanelLanes, 0.0f);
    }
  }

  RowBlocks blocks_;
  std::string format_;
};

}  // namespace

std::unique_ptr<LinearWeight> MakeBlockWeight(const RowBlocks& blocks) {
  return std::make_unique<BlockWeight>(blocks);
}

}  // namespace qualm
