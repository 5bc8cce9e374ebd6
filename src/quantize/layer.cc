#include "quantize/layer.h"

#include <chrono>
#include <cmath>
#include <system_error>

#include "base/error.h"
#include "base/strings.h"
#include "io/npy.h"
#include "quantize/lanes.h"
#include "quantize/quality.h"
#include "tensor/dense.h"
#include "tensor/gram.h"

namespace qualm {
namespace {

constexpr std::string_view kLayerName = "layer";

void RequireFinite(const Matrix& matrix, std::string_view place) {
  for (size_t r = 0; r < matrix.rows(); ++r) {
    for (size_t c = 0; c < matrix.cols(); ++c) {
      if (std::isfinite(matrix(r, c))) continue;
      ThrowBadInput(place, "finite values", StrCat(matrix(r, c)),
                    StrCat("at row ", r, ", column ", c));
    }
  }
}

void RequireFit(const Matrix& weight, const Matrix& inputs, std::string_view weight_place,
                std::string_view inputs_place) {
  if (inputs.cols() != weight.cols()) {
    ThrowBadInput(inputs_place,
                  StrCat(weight.cols(), " columns, the inputs of ", weight_place, " [",
                         weight.rows(), ", ", weight.cols(), "]"),
                  StrCat(inputs.cols()), "rows are tokens");
  }
  if (inputs.rows() == 0) ThrowBadInput(inputs_place, "at least one row", "none");
}

double RelativeError(const Matrix& weight, const Matrix& rounded) {
  double error = 0, norm = 0;
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (size_t c = 0; c < weight.cols(); ++c) {
      const double w = weight(r, c), difference = w - double{rounded(r, c)};
      error += difference * difference;
      norm += w * w;
    }
  }
  return error == 0 ? 0 : std::sqrt(error / norm);
}

RounderResult RoundTimed(std::string_view name, const Matrix& weight, const Matrix* inputs,
                         const LayerPlan& plan, uint64_t seed, ThreadPool& pool, double& seconds) {
  const auto start = std::chrono::steady_clock::now();
  RounderInput input;
  input.layer = name;
  input.weight = weight;
  input.seed = seed;
  const size_t in = weight.cols();
  Matrix gram;
  std::vector<double> gram64;
  if (plan.rounder->needs_gram64()) {
    gram64.assign(in * in, 0);
    AccumulateGram64(*inputs, {gram64.data(), in, in}, pool);
    input.gram64 = gram64;
  } else if (plan.rounder->needs_gram()) {
    gram = Matrix(in, in);
    AccumulateGram(*inputs, gram, pool);
    input.gram = gram;
  }
  if (plan.rounder->needs_gram()) input.gram_tokens = inputs->rows();
  RounderResult result = plan.rounder->Round(input, plan.scheme, pool);
  seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::vector<uint8_t> OutlierMask(const QuantizedLinear& layer) {
  std::vector<uint8_t> mask(layer.out_features * layer.in_features, 0);
  if (!layer.outliers) return mask;
  for (size_t r = 0; r < layer.out_features; ++r) {
    for (uint32_t i = layer.outliers->row_start[r]; i < layer.outliers->row_start[r + 1]; ++i) {
      mask[r * layer.in_features + layer.outliers->column[i]] = 1;
    }
  }
  return mask;
}

}  // namespace

LayerReport QuantizeLayer(const Matrix& weight, const Matrix* inputs, const Recipe& recipe,
                          std::string_view weight_place, std::string_view inputs_place,
                          uint64_t seed, ThreadPool& pool) {
  if (weight.rows() == 0 || weight.cols() == 0) {
    ThrowBadInput(weight_place, "a matrix [out, in]",
                  StrCat("[", weight.rows(), ", ", weight.cols(), "]"));
  }
  RequireFinite(weight, weight_place);
  if (inputs != nullptr) {
    RequireFit(weight, *inputs, weight_place, inputs_place);
    RequireFinite(*inputs, inputs_place);
  }
  const LayerPlan plan = recipe.PlanFor(kLayerName);
  if (plan.skip) {
    ThrowBadInput(StrCat("recipe ", recipe.name), "a recipe that quantizes this layer",
                  StrCat("a skip pattern that matches '", kLayerName, "'"));
  }
  if (plan.rounder->needs_gram() && inputs == nullptr) {
    ThrowBadInput("--inputs", StrCat("a .npy file: recipe ", recipe.name, " reads data"), "none");
  }
  LayerReport report;
  RounderResult result = RoundTimed(weight_place, weight, inputs, plan, seed, pool, report.seconds);
  report.layer = std::move(result.layer);
  report.rounded = report.layer.Dequantize();
  report.rounder = plan.rounder->name();
  report.rel_weight_error = RelativeError(weight, report.rounded);
  report.damping = result.damping;
  report.damping_attempts = result.damping_attempts;
  report.fell_back_to_rtn = result.fell_back_to_rtn;
  report.notes = std::move(result.notes);
  if (std::string note = ScaleLimitNote(report.layer); !note.empty()) {
    report.notes.push_back(std::move(note));
  }
  if (inputs == nullptr) return report;
  report.tokens = inputs->rows();
  const double relative = RelativeOutputError(*inputs, weight, report.rounded, pool);
  if (!std::isnan(relative)) report.rel_output_error = relative;
  if (plan.rounder->needs_gram() && inputs->rows() < weight.cols()) {
    report.notes.push_back(StrCat("fewer tokens (", inputs->rows(), ") than inputs (",
                                  weight.cols(), "): the Gram matrix is singular"));
  }
  return report;
}

void WriteLayerFiles(const std::filesystem::path& folder, const LayerReport& report,
                     const Matrix* inputs, ThreadPool& pool) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) ThrowFailed(folder.string(), StrCat("cannot make the folder: ", error.message()));
  for (const char* name : {"g_idx.npy", "Y.npy"}) std::filesystem::remove(folder / name, error);
  const QuantizedLinear& layer = report.layer;
  const size_t out = layer.out_features, groups = layer.group_count();
  Matrix scales(out, groups), zeros(out, groups);
  for (size_t r = 0; r < out; ++r) {
    for (size_t group = 0; group < groups; ++group) {
      scales(r, group) = layer.ScaleAt(r, group);
      zeros(r, group) = layer.ZeroAt(r, group);
    }
  }
  WriteNpy(folder / "scales.npy", scales);
  WriteNpy(folder / "zeros.npy", zeros);
  WriteNpyBytes(folder / "codes.npy", {layer.codes.data(), out, layer.in_features});
  WriteNpyVector(folder / "smooth.npy", std::vector<float>(layer.in_features, 1.0f));
  const std::vector<uint8_t> mask = OutlierMask(layer);
  WriteNpyBytes(folder / "outlier_mask.npy", {mask.data(), out, layer.in_features});
  if (!layer.g_idx.empty()) {
    WriteNpyVector(folder / "g_idx.npy",
                   std::vector<float>(layer.g_idx.begin(), layer.g_idx.end()));
  }
  if (inputs == nullptr) return;
  const Matrix& w = report.rounded;
  Matrix y = Matrix::Uninitialized(inputs->rows(), out);
  MakeDenseWeight({w.data(), DType::kF32, w.rows(), w.cols()}, pool)->Multiply(*inputs, y, pool);
  WriteNpy(folder / "Y.npy", y);
}

}  // namespace qualm
