// The kernels for number formats, and for whole codes whose constants need two roundings. They are
// separate from few_kernels.cc because each template instance takes long to compile.
#include "base/error.h"
#include "kernels/few_kernels.h"
#include "tensor/isa.h"

#ifndef QUALM_PORTABLE
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/few_format_kernels.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/few-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {

// Whole codes without the fused operation: only the common widths have a kernel.
FewKernel WholeKernel(int bits) {
  constexpr auto kWhole = Decoding::kWhole;
  switch (bits) {
    case 2:
      return {Few<2, kWhole, 1>, 1};
    case 3:
      return {Few<3, kWhole, 1>, 1};
    case 4:
      return {Few<4, kWhole, 1>, 1};
    case 8:
      return {Few<8, kWhole, 1>, 1};
    default:
      return {};
  }
}

// The kernel for this kind of code.
FewKernel FormatKernel(int bits, CodeValue value) {
  switch (value) {
    case CodeValue::kWhole:
      break;
    case CodeValue::kWideTable:
      return {};
    case CodeValue::kTable:
      return {Few<4, Decoding::kTable, kMostRows>, kMostRows};
    case CodeValue::kE4m3:
      return {Few<8, Decoding::kE4m3, 1>, 1};
    case CodeValue::kE5m2:
      return {Few<8, Decoding::kE5m2, 1>, 1};
  }
  return WholeKernel(bits);
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qualm {

HWY_EXPORT(FormatKernel);

namespace internal {
FewKernel FewFormatKernel(const PackedForm& form) {
  return HWY_DYNAMIC_DISPATCH(FormatKernel)(form.bits, form.value);
}
}  // namespace internal

}  // namespace qualm
#endif  // HWY_ONCE
#endif  // QUALM_PORTABLE
