// Arbitrary bytes as a safetensors file: bad input is refused, accepted tensors fit the file.
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>

#include "base/error.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    std::map<std::string, std::string> metadata;
    const auto* position = file.data();
    for (const qualm::TensorView& tensor :
         qualm::ParseSafetensors(file, "fuzz.safetensors", &metadata)) {
      QUALM_CHECK(tensor.bytes.data() >= position);
      position = tensor.bytes.data() + tensor.bytes.size();
      QUALM_CHECK(position <= file.data() + file.size());
      const size_t elements =
          std::accumulate(tensor.shape.begin(), tensor.shape.end(), size_t{1}, std::multiplies<>());
      QUALM_CHECK(elements == tensor.elements());
    }
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
