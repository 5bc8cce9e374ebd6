// Each layer is loaded twice, as it runs and as its dequantized weights, and both are multiplied
// with the same inputs.
#include <algorithm>
#include <bit>

#include "base/context.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "model/checkpoint.h"
#include "model/model.h"
#include "quantize/verify.h"

namespace qualm {
namespace {

constexpr size_t kProbeTokens = 5;

Matrix RandomInputs(size_t width, std::string_view name) {
  Rng rng(width, name);
  Matrix x(kProbeTokens, width);
  for (size_t t = 0; t < kProbeTokens; ++t) {
    for (float& v : x.row(t)) v = static_cast<float>(rng.Normal());
  }
  return x;
}

// Outputs in which two rows differ; NaN equals NaN.
size_t Differences(std::span<const float> a, std::span<const float> b) {
  size_t different = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const bool is_same = std::bit_cast<uint32_t>(a[i]) == std::bit_cast<uint32_t>(b[i]) ||
                         (a[i] != a[i] && b[i] != b[i]);
    different += is_same ? 0 : 1;
  }
  return different;
}

// The batch and its first token alone are two paths of the kernels.
void CheckProducts(const Checkpoint& checkpoint, const std::string& name, const Context& context,
                   VerifyReport& report) {
  const auto runs = LoadLinear(checkpoint, nullptr, name, {}, context);
  const auto dense = LoadLinear(checkpoint, nullptr, name, {.dequantize = true}, context);
  const Matrix x = RandomInputs(runs->in_features(), name);
  Matrix batch(kProbeTokens, runs->out_features()), expected = Matrix::CopyOf(batch);
  Matrix alone(1, runs->out_features());
  runs->Multiply(x, batch, context);
  runs->Multiply(x.view().Rows(0, 1), alone, context);
  dense->Multiply(x, expected, context);

  size_t different = Differences(alone.row(0), expected.row(0));
  for (size_t t = 0; t < kProbeTokens; ++t) {
    different += Differences(batch.row(t), expected.row(t));
  }
  report.products += (kProbeTokens + 1) * runs->out_features();
  report.weights += uint64_t{runs->in_features()} * runs->out_features();
  if (different == 0) return;
  report.problems.push_back(StrCat("[", name, "] ", different,
                                   " products differ from those with the dequantized weights"));
}

}  // namespace

VerifyReport VerifyForeign(const ModelSource& source, const Context& context) {
  const Checkpoint checkpoint = Checkpoint::Open(source);
  if (checkpoint.quantized().layers() == nullptr) {
    ThrowBadInput(source.name, "a quantized model", "a float checkpoint");
  }
  VerifyReport report;
  const auto& sites = checkpoint.quantized().sites();
  context.progress.Begin("verify", sites.size());
  size_t done = 0;
  for (const auto& [name, site] : sites) {
    try {
      CheckProducts(checkpoint, name, context, report);
      ++report.layers;
    } catch (const Error& error) {
      report.problems.emplace_back(error.what());
    }
    context.progress.Advance(++done, name);
  }
  context.progress.End();
  return report;
}

}  // namespace qualm
