// The kernels for weights that are rounded to a 16-bit float after scale and zero point, as the
// libraries of other tools have them. Only the common widths have one, for one token.
#include "base/error.h"
#include "kernels/few_kernels.h"
#include "tensor/isa.h"

#ifndef QUALM_PORTABLE
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/few_rounding_kernels.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/few-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {

// The kernel that rounds to one type; empty if the width or the kind of code has none.
template <Rounding kRounding>
FewKernel KernelThatRounds(const PackedForm& form) {
  if (form.value == CodeValue::kTable) return {Few<4, Decoding::kTable, 1, kRounding>, 1};
  if (form.value != CodeValue::kWhole) return {};
  if (form.bits == 4) {
    return {form.fused ? Few<4, Decoding::kFused, 1, kRounding>
                       : Few<4, Decoding::kWhole, 1, kRounding>,
            1};
  }
  if (form.bits == 8) {
    return {form.fused ? Few<8, Decoding::kFused, 1, kRounding>
                       : Few<8, Decoding::kWhole, 1, kRounding>,
            1};
  }
  return {};
}

// Forms that only have a factor, without a narrower type, have no kernel.
FewKernel RoundingKernel(const PackedForm& form) {
  if (form.zero_is_offset && !form.fused) return {};
  switch (RoundingTo(form.value_form.type)) {
    case Rounding::kNone:
      break;
    case Rounding::kF16:
      return KernelThatRounds<Rounding::kF16>(form);
    case Rounding::kBF16:
      return KernelThatRounds<Rounding::kBF16>(form);
  }
  return {};
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qualm {

HWY_EXPORT(RoundingKernel);

namespace internal {
FewKernel FewRoundingKernel(const PackedForm& form) {
  return HWY_DYNAMIC_DISPATCH(RoundingKernel)(form);
}
}  // namespace internal

}  // namespace qualm
#endif  // HWY_ONCE
#endif  // QUALM_PORTABLE
