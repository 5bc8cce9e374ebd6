// The kernels for whole codes with exact constants, and the choice among all kernels for few
// tokens. Each width of codes is a template instance of few-inl.h.
#include "kernels/few_kernels.h"

#include "base/error.h"
#include "tensor/isa.h"

#ifndef QUALM_PORTABLE
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/few_kernels.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/few-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {

// Tokens that a kernel takes at once. Kernels for several tokens are large, so only the common
// widths have them.
constexpr size_t MostRows(int bits) {
  return bits == 2 || bits == 3 || bits == 4 || bits == 8 ? kMostRows : 1;
}

// The kernel of a width, from the table of all eight.
FewKernel FusedKernel(int bits) {
  constexpr auto kFused = Decoding::kFused;
  static constexpr FewFunction kFunctions[] = {
      Few<1, kFused, MostRows(1)>, Few<2, kFused, MostRows(2)>, Few<3, kFused, MostRows(3)>,
      Few<4, kFused, MostRows(4)>, Few<5, kFused, MostRows(5)>, Few<6, kFused, MostRows(6)>,
      Few<7, kFused, MostRows(7)>, Few<8, kFused, MostRows(8)>};
  return {kFunctions[bits - 1], MostRows(bits)};
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qualm {

HWY_EXPORT(FusedKernel);

FewKernel FewKernelInUse(const PackedForm& form) {
  QUALM_CHECK(form.bits >= 1 && form.bits <= 8);
  if (IsaInUse() == Isa::kScalar || form.group_of_column != nullptr) return {};
  if (!form.value_form.is_plain()) return internal::FewRoundingKernel(form);
  if (form.zero_is_offset && !form.fused) return {};
  if (form.fused) return HWY_DYNAMIC_DISPATCH(FusedKernel)(form.bits);
  return internal::FewFormatKernel(form);
}

}  // namespace qualm
#endif  // HWY_ONCE
#else   // QUALM_PORTABLE

namespace qualm {
FewKernel FewKernelInUse(const PackedForm&) { return {}; }
}  // namespace qualm
#endif  // QUALM_PORTABLE
