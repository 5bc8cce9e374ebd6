// Arbitrary bytes as a file of torch.save: bad input is refused, accepted tensors fit the file or
// their copies.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <span>

#include "base/error.h"
#include "io/torch_file.h"

namespace {

void Run(std::span<const std::byte> file, qualm::TorchContents contents) {
  try {
    qualm::TensorCopies copies;
    unsigned sum = 0;
    for (const qualm::TensorView& tensor :
         qualm::ParseTorchFile(file, "fuzz.bin", copies, nullptr, contents)) {
      const size_t elements =
          std::accumulate(tensor.shape.begin(), tensor.shape.end(), size_t{1}, std::multiplies<>());
      QUALM_CHECK(elements == tensor.elements());
      // Touches the memory at both ends.
      if (!tensor.bytes.empty()) {
        sum += static_cast<unsigned>(tensor.bytes.front()) +
               static_cast<unsigned>(tensor.bytes.back());
      }
    }
    QUALM_CHECK(sum <= 2u * 255 * ((size_t{1} << 20) + file.size()));
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  Run(file, qualm::TorchContents::kTensors);
  Run(file, qualm::TorchContents::kModules);
  return 0;
}
