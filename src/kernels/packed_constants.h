// The constants of packed panels: the form in which the scales and zero points of a layer are
// stored, and the records that hold them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/unpack_kernels.h"

namespace qualm {

struct QuantizedLinear;

// The form of the layer's panels: codings in which every scale and zero point is exact. If groups
// have different numbers of bits, `bits` and `implied_zero` are those of the first group. What the
// form only points to (group_of_column, wide_table) is left to the owner of the panels.
PackedForm PackedFormOf(const QuantizedLinear& layer);

// Records of one panel: one for the whole tensor, or as many as there are groups.
size_t RecordsOf(const QuantizedLinear& layer);
// Writes the records of `panel` to `to`, form.ConstantBytes() each. Lanes beyond the last row
// repeat it.
void PackConstants(const QuantizedLinear& layer, const PackedForm& form, size_t panel, uint8_t* to);

}  // namespace qualm
