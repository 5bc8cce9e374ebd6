// Arbitrary bytes as a .npy file: bad input is refused, an accepted matrix has the file's size.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "io/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const qualm::Matrix matrix = qualm::ParseNpy(std::as_bytes(std::span(data, size)), "fuzz.npy");
    QUALM_CHECK(matrix.rows() == 0 || matrix.cols() <= size / 2 / matrix.rows());
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
