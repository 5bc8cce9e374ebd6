// Dense weights in panels of 16 output rows, interleaved by k, in their stored type.
#include "tensor/dense.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"

namespace qualm {
namespace {

constexpr size_t kPanelRows = 16;
constexpr size_t kTokensAtOnce = 4;

// y[tokens][16] of one panel over one block of k: sum[t][lane] = fma chain of x[t][k]·w[k][lane].
void MultiplyBlock(const float* panel, size_t depth, const float* const* x, size_t tokens,
                   float (*sum)[kPanelRows]) {
  for (size_t t = 0; t < tokens; ++t) std::fill_n(sum[t], kPanelRows, 0.0f);
  for (size_t k = 0; k < depth; ++k) {
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t lane = 0; lane < kPanelRows; ++lane) {
        sum[t][lane] = std::fma(panel[k * kPanelRows + lane], x[t][k], sum[t][lane]);
      }
    }
  }
}

class DenseWeight final : public LinearWeight {
 public:
  DenseWeight(const WeightView& weight, ThreadPool& pool)
      : out_(weight.rows),
        in_(weight.cols),
        type_(weight.type == DType::kF64 ? DType::kF32 : weight.type),
        format_(StrCat("dense-", ToLower(NameOf(type_)))),
        panels_(PanelCount() * in_ * kPanelRows * SizeOf(type_)) {
    QUALM_CHECK(IsFloat(weight.type));
    pool.ParallelFor(PanelCount(), [&](size_t panel) { Pack(weight, panel); });
  }

  size_t out_features() const override { return out_; }
  size_t in_features() const override { return in_; }
  size_t weight_bytes() const override { return panels_.size(); }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, ThreadPool& pool) const override {
    QUALM_CHECK(x.cols() == in_ && y.cols() == out_ && x.rows() == y.rows());
    pool.ParallelFor(PanelCount(), [&](size_t panel) { MultiplyPanel(x, y, panel); });
  }

 private:
  size_t PanelCount() const { return (out_ + kPanelRows - 1) / kPanelRows; }
  size_t PanelBytes() const { return in_ * kPanelRows * SizeOf(type_); }

  void Pack(const WeightView& weight, size_t panel) {
    const auto* from = static_cast<const unsigned char*>(weight.data);
    unsigned char* to = panels_.data() + panel * PanelBytes();
    size_t size = SizeOf(type_), source_size = SizeOf(weight.type);
    std::memset(to, 0, PanelBytes());
    for (size_t lane = 0; lane < std::min(kPanelRows, out_ - panel * kPanelRows); ++lane) {
      for (size_t k = 0; k < in_; ++k) {
        const unsigned char* element = from + ((panel * kPanelRows + lane) * in_ + k) * source_size;
        unsigned char* slot = to + (k * kPanelRows + lane) * size;
        if (weight.type == DType::kF64) {
          float value;
          ConvertToFloat(weight.type, element, &value, 1);
          std::memcpy(slot, &value, size);
        } else {
          std::memcpy(slot, element, size);
        }
      }
    }
  }

  void MultiplyPanel(Span2D<const float> x, Span2D<float> y, size_t panel) const {
    size_t valid = std::min(kPanelRows, out_ - panel * kPanelRows);
    std::array<float, kReductionBlock * kPanelRows> unpacked;
    for (size_t t = 0; t < y.rows(); ++t) std::fill_n(&y(t, panel * kPanelRows), valid, 0.0f);
    for (size_t first = 0; first < in_; first += kReductionBlock) {
      size_t depth = std::min(kReductionBlock, in_ - first);
      ConvertToFloat(type_,
                     panels_.data() + panel * PanelBytes() + first * kPanelRows * SizeOf(type_),
                     unpacked.data(), depth * kPanelRows);
      for (size_t token = 0; token < x.rows(); token += kTokensAtOnce) {
        size_t tokens = std::min(kTokensAtOnce, x.rows() - token);
        const float* rows[kTokensAtOnce];
        float sum[kTokensAtOnce][kPanelRows];
        for (size_t t = 0; t < tokens; ++t) rows[t] = x.row(token + t).data() + first;
        MultiplyBlock(unpacked.data(), depth, rows, tokens, sum);
        for (size_t t = 0; t < tokens; ++t) {
          float* to = &y(token + t, panel * kPanelRows);
          for (size_t lane = 0; lane < valid; ++lane) to[lane] += sum[t][lane];
        }
      }
    }
  }

  size_t out_, in_;
  DType type_;
  std::string format_;
  AlignedArray<unsigned char> panels_;
};

}  // namespace

std::unique_ptr<LinearWeight> MakeDenseWeight(const WeightView& weight, ThreadPool& pool) {
  return std::make_unique<DenseWeight>(weight, pool);
}

}  // namespace qualm
