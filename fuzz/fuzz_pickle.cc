// Arbitrary bytes as a pickle: bad input is refused, and every value refers to values that exist.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static constexpr std::array<std::string_view, 2> kGlobals = {"torch._utils._rebuild_tensor_v2",
                                                               "torch.FloatStorage"};
  try {
    const qualm::Pickle pickle =
        qualm::Pickle::Read(std::as_bytes(std::span(data, size)), kGlobals);

    // A walk over what the root holds; values may be shared and may hold themselves.
    std::vector<const qualm::PickleValue*> seen = {&pickle.root()};
    for (size_t i = 0; i < seen.size() && i < 1000; ++i) {
      for (const qualm::PickleId id : seen[i]->items) {
        const qualm::PickleValue* value = &pickle[id];
        QUALM_CHECK(!qualm::KindName(value->kind).empty());
        if (std::ranges::find(seen, value) == seen.end()) seen.push_back(value);
      }
    }
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
