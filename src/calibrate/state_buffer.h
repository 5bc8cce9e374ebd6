// Rows of floats for every calibration token, in memory or in a mapped file that the system may
// write out.
#pragma once

#include <filesystem>
#include <optional>

#include "tensor/matrix.h"

namespace qualm {

// Owns the rows, in either place; it can be moved, not copied.
class StateBuffer {
 public:
  StateBuffer() = default;
  // rows x cols zeros; in `spill_file` if it is given. The file is unlinked at once, so nothing
  // remains of it when the process ends, however it ends. Throws kFailed if the disk has no room.
  StateBuffer(size_t rows, size_t cols, const std::optional<std::filesystem::path>& spill_file);
  ~StateBuffer();
  StateBuffer(StateBuffer&& other) noexcept;
  StateBuffer& operator=(StateBuffer&& other) noexcept;

  Span2D<float> view() const { return values_; }

 private:
  Matrix memory_;
  size_t mapped_bytes_ = 0;  // 0: in memory
  Span2D<float> values_;
};

}  // namespace qualm
