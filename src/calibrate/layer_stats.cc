// Collects what methods need to know of a linear layer's inputs: Gram matrices, ranges of channels,
// and a sample of rows, piece by piece. All sums run in the order of the tokens, so the result does
// not depend on the number of threads.
#include "calibrate/layer_stats.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "tensor/gram.h"

namespace qualm {
namespace {

// Channels per piece of work; columns are independent, so the sums keep their order.
constexpr size_t kChannelsPerPiece = 64;

// Updates minimum, maximum and the sum of magnitudes of each channel.
void AddChannelStatistics(Span2D<const float> x, LayerStats& stats, const Context& context) {
  size_t pieces = (x.cols() + kChannelsPerPiece - 1) / kChannelsPerPiece;
  context.pool.ParallelFor(pieces, [&](size_t piece) {
    size_t first = piece * kChannelsPerPiece;
    size_t last = std::min(x.cols(), first + kChannelsPerPiece);

    // Token by token, so that memory is read in order.
    for (size_t t = 0; t < x.rows(); ++t) {
      for (size_t c = first; c < last; ++c) {
        const float value = x(t, c);
        stats.min[c] = std::min(stats.min[c], value);
        stats.max[c] = std::max(stats.max[c], value);
        stats.abs_mean[c] += std::abs(value);  // a sum until Take()
      }
    }
  });
}

// One NaN would spread over the whole Gram matrix, so it is reported where it appears.
void RequireFinite(Span2D<const float> x, std::string_view place) {
  for (size_t t = 0; t < x.rows(); ++t) {
    for (float value : x.row(t)) {
      if (std::isfinite(value)) continue;
      ThrowFailed(place, StrCat("expected finite activations; got ", value,
                                "; is the checkpoint damaged, or does the model overflow?"));
    }
  }
}

}  // namespace

Collector::Collector(size_t in_features, uint64_t total_tokens, const CollectorOptions& options)
    : options_(options),
      total_tokens_(total_tokens),
      sample_rows_(std::min<uint64_t>(options.sample_rows, total_tokens)) {
  stats_.in_features = in_features;
  if (options.gram) stats_.gram = Matrix(in_features, in_features);
  if (options.gram64) stats_.gram64.assign(in_features * in_features, 0.0);
  if (options.channel_statistics) {
    stats_.min.assign(in_features, std::numeric_limits<float>::infinity());
    stats_.max.assign(in_features, -std::numeric_limits<float>::infinity());
    stats_.abs_mean.assign(in_features, 0.0);
  }
  stats_.sample = Matrix(sample_rows_, in_features);
}

// Whether a token's row belongs to the sample: where floor(token·rows/total) increases. This
// selects `rows` rows at equal distances.
bool Collector::IsSampled(uint64_t token) const {
  return token * sample_rows_ / total_tokens_ != (token + 1) * sample_rows_ / total_tokens_;
}

void Collector::Add(Span2D<const float> x, const Context& context) {
  QUALM_CHECK(x.cols() == stats_.in_features && stats_.tokens + x.rows() <= total_tokens_);
  RequireFinite(x, options_.place);

  // What was asked for, over all tokens.
  if (options_.gram) AccumulateGram(x, stats_.gram, context);
  if (options_.gram64) {
    AccumulateGram64(x, {stats_.gram64.data(), x.cols(), x.cols()}, context);
  }
  if (options_.channel_statistics) AddChannelStatistics(x, stats_, context);

  // The sample counts tokens over all calls.
  for (size_t t = 0; t < x.rows() && sample_rows_ > 0; ++t) {
    if (!IsSampled(stats_.tokens + t)) continue;
    std::ranges::copy(x.row(t), stats_.sample.row(sampled_++).begin());
  }
  stats_.tokens += x.rows();
}

LayerStats Collector::Take() {
  QUALM_CHECK(stats_.tokens == total_tokens_ && sampled_ == sample_rows_);
  for (double& sum : stats_.abs_mean)
    sum /= static_cast<double>(std::max<uint64_t>(1, stats_.tokens));
  return std::move(stats_);
}

}  // namespace qualm
