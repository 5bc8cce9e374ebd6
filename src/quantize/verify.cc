// Checks a quantized folder against its manifest, against itself and, if asked, against the model
// it was made from. Files come first: if one is damaged, nothing else is looked at. Then each layer
// is read back, packed again, and multiplied by the real kernel and by a slow reference that must
// agree in every bit.
#include "quantize/verify.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "artefact/store.h"
#include "base/context.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "io/hash.h"
#include "kernels/activation_weight.h"
#include "kernels/integer_weight.h"
#include "kernels/packed.h"
#include "kernels/transformed_weight.h"
#include "methods/quality.h"
#include "model/checkpoint.h"
#include "model/model.h"
#include "quantize/output_folder.h"
#include "tensor/reference/linear_reference.h"

namespace qualm {
namespace {

// Output rows of a layer that the slow reference computes; spread over all of them.
constexpr size_t kReferenceRows = 64;
constexpr size_t kProbeTokens = 5;

// Collects the problems of one folder instead of stopping at the first. Run is called once; the
// Check functions each add to report_.
class Verifier {
 public:
  Verifier(const std::filesystem::path& folder, const Context& context)
      : folder_(folder), context_(context), manifest_(ReadManifest(folder)) {}

  VerifyReport Run(const std::optional<ModelSource>& against) {
    context_.progress.Begin("verify", manifest_.layers.size() + 1);
    CheckFiles();
    if (!report_.passed()) return std::move(report_);  // damaged files: the rest would be noise

    // The source's tensors are compared at once, its layers one by one below.
    Checkpoint artefact = Checkpoint::Open(folder_, /*allow_missing_linears=*/true);
    CheckLayerRecords(artefact, manifest_);
    std::optional<Checkpoint> source;
    if (against) {
      source.emplace(Checkpoint::Open(*against));
      CheckSource(artefact, *source);
    }

    // Then layer by layer, in the manifest's order.
    size_t done = 0;
    context_.progress.Advance(++done, "files");
    for (const LayerRecord& record : manifest_.layers) {
      CheckLayer(artefact.tensors().file(), record, source ? &*source : nullptr);
      context_.progress.Advance(++done, record.name);
    }
    context_.progress.End();
    return std::move(report_);
  }

 private:
  void Problem(std::string_view place, std::string_view message) {
    report_.problems.push_back(StrCat("[", place, "] ", message));
  }

  // Compares size and hash of every file that the manifest lists.
  void CheckFiles() {
    for (const FileRecord& file : manifest_.files) {
      std::filesystem::path path = folder_ / file.name;
      ++report_.files;
      if (!std::filesystem::exists(path)) {
        Problem(file.name, "expected the file; got none");
      } else if (std::filesystem::file_size(path) != file.bytes || HashFile(path) != file.hash) {
        Problem(file.name, StrCat("expected ", file.bytes, " bytes with hash ", file.hash, "; got ",
                                  std::filesystem::file_size(path), " with ", HashFile(path)));
      }
    }

    // Files that would be read although the run that made the folder did not write them.
    for (const std::string& name : CompanionFiles(folder_)) {
      bool is_listed = std::ranges::any_of(
          manifest_.files, [&](const FileRecord& file) { return file.name == name; });
      if (!is_listed) Problem(name, "expected no such file; got one that the manifest lacks");
    }
  }

  // Compares all tensors that were neither quantized nor changed by transforms with the source.
  void CheckSource(const Checkpoint& artefact, const Checkpoint& source) {
    // The comparison means nothing with another checkpoint.
    if (source.Hash() != manifest_.source_hash) {
      Problem(source.folder().string(), StrCat("expected the checkpoint with hash ",
                                               manifest_.source_hash, "; got ", source.Hash()));
      return;
    }

    for (const std::string& name : source.tensors().names()) {
      bool quantized = std::ranges::any_of(manifest_.layers, [&](const LayerRecord& layer) {
        return layer.name + ".weight" == name;
      });
      if (quantized || std::ranges::binary_search(manifest_.changed_tensors, name)) continue;

      const TensorView& tensor = source.tensors().Get(name);
      const TensorView* kept = artefact.tensors().Find(name);
      ++report_.tensors_against;
      if (kept == nullptr || kept->type != tensor.type || kept->shape != tensor.shape ||
          !std::ranges::equal(kept->bytes, tensor.bytes)) {
        Problem(name, kept == nullptr ? "expected the source's tensor; got none"
                                      : "expected the source's bytes; got different ones");
      }
      source.tensors().Release(name);
    }
  }

  // All checks of one layer. An error while it is read is one of the problems and does not end the
  // run.
  void CheckLayer(const TensorFile& tensors, const LayerRecord& record, const Checkpoint* source) {
    try {
      QuantizedLinear layer = ReadQuantizedLinear(tensors, record);
      CheckPacking(tensors, record, layer);
      CheckSizes(record, layer);

      Matrix weights = layer.Dequantize();
      // A transformed layer was rounded from a float weight that the source does not have.
      if (source != nullptr && !record.is_transformed) {
        CheckAgainst(record, EffectiveWeight(layer, context_), *source);
        ++report_.errors_against;
      }
      CheckKernel(record, std::move(layer), weights);
      ++report_.layers;
    } catch (const Error& error) {
      report_.problems.emplace_back(error.what());
    }
  }

  // Unpacking and packing must be inverse to each other on the stored bytes.
  void CheckPacking(const TensorFile& tensors, const LayerRecord& record,
                    const QuantizedLinear& layer) {
    TensorBatch batch;
    batch.AddQuantized(record.name, layer);
    for (const TensorToWrite& again : batch.tensors()) {
      const TensorView& stored = tensors.Get(again.name);
      if (stored.type != again.type || stored.shape != again.shape ||
          !std::ranges::equal(stored.bytes, again.bytes)) {
        Problem(again.name, "unpacked and packed again it has other bytes");
      }
    }
    report_.weights += layer.codes.size();
  }

  // What the manifest says of the layer's size must be true.
  void CheckSizes(const LayerRecord& record, const QuantizedLinear& layer) {
    if (layer.StoredBytes() == record.stored_bytes &&
        layer.BitsPerWeight() == record.bits_per_weight) {
      return;
    }
    Problem(record.name,
            StrCat("expected ", record.stored_bytes, " bytes, ", record.bits_per_weight,
                   " bits per weight; got ", layer.StoredBytes(), ", ", layer.BitsPerWeight()));
  }

  // The kernel's products must equal the slow ones bit for bit. Output-side transforms mix all
  // outputs, so the products before them are compared.
  void CheckKernel(const LayerRecord& record, QuantizedLinear layer, const Matrix& weights) {
    std::erase_if(layer.transforms, [](const OnlineTransform& transform) {
      return transform.side == OnlineTransform::Side::kOutput;
    });

    // Random inputs, multiplied as a batch and the first one alone: two paths of the kernel.
    auto kernel = MakePackedWeight(layer, context_);
    Rng rng(weights.cols(), record.name);
    Matrix x(kProbeTokens, weights.cols());
    for (size_t t = 0; t < kProbeTokens; ++t) {
      for (float& v : x.row(t)) v = static_cast<float>(rng.Normal());
    }
    Matrix batch(kProbeTokens, weights.rows()), alone(1, weights.rows());
    kernel->Multiply(x, batch, context_);
    kernel->Multiply(x.view().Rows(0, 1), alone, context_);
    size_t rows = std::min(kReferenceRows, weights.rows());
    // Compares kReferenceRows rows. A step without a common divisor visits different rows, and all
    // lanes of the panels of 16.
    size_t step = weights.rows() * 5 / 8 | 1;
    while (std::gcd(step, weights.rows()) != 1) step += 2;
    auto row_of = [&](size_t i) { return i * step % weights.rows(); };
    std::vector<size_t> chosen;
    for (size_t i = 0; i < rows; ++i) chosen.push_back(row_of(i));
    const Matrix expected = Expected(layer, weights, x, chosen);

    // Each row counts once for every token of the batch and once for the single token.
    size_t different = 0;
    for (size_t i = 0; i < rows; ++i) {
      for (size_t t = 0; t < kProbeTokens; ++t) {
        different += !SameBits(batch(t, row_of(i)), expected(t, i));
        ++report_.products;
      }
      different += !SameBits(alone(0, row_of(i)), expected(0, i));
      ++report_.products;
    }

    if (different > 0) {
      Problem(record.name, StrCat(different, " products of the ", kernel->format(),
                                  " kernel differ from the dequantized weights' product"));
    }
  }

  // The slow products of some rows, [tokens, chosen rows].
  Matrix Expected(const QuantizedLinear& layer, const Matrix& weights, const Matrix& x,
                  std::span<const size_t> chosen) const {
    Matrix expected(x.rows(), chosen.size());
    // Integer products are cheap: all rows, of which the chosen ones are kept.
    if (IsIntegerProduct(layer)) {
      Matrix all(x.rows(), weights.rows());
      MakePlainIntegerWeight(layer)->Multiply(TransformInputs(layer.transforms, x, context_), all,
                                              context_);
      for (size_t t = 0; t < x.rows(); ++t) {
        for (size_t i = 0; i < chosen.size(); ++i) expected(t, i) = all(t, chosen[i]);
      }
      return expected;
    }

    // For all others the reference multiplies the chosen rows of the dequantized weights only.
    Matrix rows(chosen.size(), weights.cols());
    for (size_t i = 0; i < chosen.size(); ++i) {
      std::ranges::copy(weights.row(chosen[i]), rows.row(i).begin());
    }
    reference::Multiply(LayerInputs(layer, x), rows, expected);
    return expected;
  }

  // The inputs as the weights see them: transformed and rounded.
  Matrix LayerInputs(const QuantizedLinear& layer, const Matrix& x) const {
    Matrix inputs = TransformInputs(layer.transforms, x, context_);
    if (!layer.activations) return inputs;
    const LayerActivations activations(layer);
    for (size_t t = 0; t < x.rows(); ++t) activations.Round(inputs.row(t));
    return inputs;
  }

  static bool SameBits(float a, float b) {
    return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
  }

  // The weight error that the manifest records must be what the source gives today.
  void CheckAgainst(const LayerRecord& record, const Matrix& weights, const Checkpoint& source) {
    Matrix original = ToMatrix(source.Weight(record.name));
    double mse = WeightMse(original, weights);
    if (mse != record.quality.weight_mse) {
      Problem(record.name,
              StrCat("expected a weight MSE of ", record.quality.weight_mse, "; got ", mse));
    }
  }

  const std::filesystem::path folder_;
  const Context& context_;
  Manifest manifest_;
  VerifyReport report_;
};

}  // namespace

VerifyReport VerifyArtefact(const std::filesystem::path& folder,
                            const std::optional<ModelSource>& against, const Context& context) {
  // An unfinished run has a journal but no manifest yet.
  if (!HasManifest(folder)) {
    ThrowBadInput(
        folder.string(), StrCat("a quantized model folder with ", kManifestName),
        std::filesystem::exists(folder / kJournalName) ? "an unfinished quantization" : "none");
  }
  return Verifier(folder, context).Run(against);
}

}  // namespace qualm
