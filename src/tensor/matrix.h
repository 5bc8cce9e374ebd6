// Row-major matrices: Span2D looks at memory it does not own, Matrix owns aligned floats.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

#include "base/error.h"
#include "tensor/dtype.h"

namespace qualm {

// A view of rows x cols elements; row r starts at data + r·stride. The memory must outlive the
// view.
template <typename T>
class Span2D {
 public:
  Span2D() = default;
  Span2D(T* data, size_t rows, size_t cols) : Span2D(data, rows, cols, cols) {}
  Span2D(T* data, size_t rows, size_t cols, size_t stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {
    QUALM_DCHECK(stride >= cols);
  }
  // A mutable view is also a const view.
  template <typename U>
  requires std::is_same_v<const U, T> Span2D(const Span2D<U>& other)
      : Span2D(other.data(), other.rows(), other.cols(), other.stride()) {}

  T* data() const { return data_; }
  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  size_t stride() const { return stride_; }
  std::span<T> row(size_t r) const {
    QUALM_DCHECK(r < rows_);
    return {data_ + r * stride_, cols_};
  }
  T& operator()(size_t r, size_t c) const {
    QUALM_DCHECK(r < rows_ && c < cols_);
    return data_[r * stride_ + c];
  }
  // Rows [first, first + count).
  Span2D Rows(size_t first, size_t count) const {
    QUALM_DCHECK(first + count <= rows_);
    return {data_ + first * stride_, count, cols_, stride_};
  }
  // Columns [first, first + count) of every row.
  Span2D Cols(size_t first, size_t count) const {
    QUALM_DCHECK(first + count <= cols_);
    return {data_ + first, rows_, count, stride_};
  }

 private:
  T* data_ = nullptr;
  size_t rows_ = 0, cols_ = 0, stride_ = 0;
};

// a·b·...; throws std::bad_alloc if no memory could hold that many elements, because sizes may come
// from files.
template <typename... Sizes>
size_t CheckedProduct(Sizes... sizes) {
  size_t product = 1;
  for (size_t size : {static_cast<size_t>(sizes)...}) {
    if (__builtin_mul_overflow(product, size, &product)) throw std::bad_alloc();
  }
  return product;
}

inline constexpr size_t kAlignment = 64;  // bytes; one cache line, one AVX-512 register

// `count` uninitialised trivially copyable elements, aligned for vector loads.
template <typename T>
class AlignedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedArray() = default;
  explicit AlignedArray(size_t count)
      : data_(static_cast<T*>(
            ::operator new (CheckedProduct(count, sizeof(T)), std::align_val_t{kAlignment}))),
        size_(count) {}
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete (p, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

// rows x cols floats, zero at first.
class Matrix {
 public:
  Matrix() = default;
  Matrix(size_t rows, size_t cols);
  // Without the zeroing, for buffers that are written before they are read.
  static Matrix Uninitialized(size_t rows, size_t cols);
  static Matrix CopyOf(Span2D<const float> from);

  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  float* data() { return values_.data(); }
  const float* data() const { return values_.data(); }
  std::span<float> row(size_t r) { return view().row(r); }
  std::span<const float> row(size_t r) const { return view().row(r); }
  float& operator()(size_t r, size_t c) { return view()(r, c); }
  float operator()(size_t r, size_t c) const { return view()(r, c); }
  Span2D<float> view() { return {values_.data(), rows_, cols_}; }
  Span2D<const float> view() const { return {values_.data(), rows_, cols_}; }
  operator Span2D<float>() { return view(); }
  operator Span2D<const float>() const { return view(); }

 private:
  AlignedArray<float> values_;
  size_t rows_ = 0, cols_ = 0;
};

// A weight matrix as it is stored: [rows = out_features, cols = in_features], row-major, any float
// type, possibly unaligned (a mapped file). The memory must outlive the view.
struct WeightView {
  const void* data = nullptr;
  DType type = DType::kF32;
  size_t rows = 0;
  size_t cols = 0;

  size_t size_bytes() const { return rows * cols * SizeOf(type); }
};

// The weight as floats.
Matrix ToMatrix(const WeightView& weight);

}  // namespace qualm
