// Adds up the tensors that a scheme alone decides.
#include "artefact/stored_bytes.h"

#include "artefact/codebook.h"
#include "artefact/quantized_linear.h"

namespace qualm {

uint64_t EstimateStoredBytes(const Scheme& scheme, size_t out, size_t in) {
  const size_t groups = scheme.GroupCount(in);
  const size_t scale_rows = scheme.granularity == Granularity::kTensor ? 1 : out;
  uint64_t bytes = out * PackedRowBytes(in, scheme.bits);

  if (scheme.type == NumberType::kNvfp4) bytes += sizeof(QuantizedLinear::tensor_scale);
  if (scheme.type == NumberType::kTable) bytes += (size_t{1} << scheme.bits) * sizeof(float);
  if (scheme.second_level) {
    // A second level stores codes, and a scale and an offset for each block of rows; once for the
    // scales and, if zero points are not integers, once more for them.
    const auto rows = static_cast<size_t>(scheme.second_level->group_rows);
    const size_t blocks = (out + rows - 1) / rows;
    const uint64_t level = out * PackedRowBytes(groups, scheme.second_level->bits) +
                           2 * blocks * groups * SizeOf(scheme.scale_type);
    bytes += scheme.zero_point == ZeroPointKind::kFloat ? 2 * level : level;
    if (scheme.zero_point == ZeroPointKind::kOffset) {
      bytes += out * groups * SizeOf(scheme.scale_type);
    }
  } else {
    bytes += scale_rows * groups * StoredScaleBytes(scheme);
    const bool has_float_zeros =
        scheme.zero_point == ZeroPointKind::kFloat || scheme.zero_point == ZeroPointKind::kOffset;
    if (has_float_zeros) bytes += scale_rows * groups * SizeOf(scheme.scale_type);
  }

  if (scheme.zero_point == ZeroPointKind::kInteger) {
    bytes += scale_rows * PackedRowBytes(groups, scheme.bits);
  }
  return bytes;
}

}  // namespace qualm
