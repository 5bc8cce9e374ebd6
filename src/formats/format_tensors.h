// Tensors of a format by name, with every type and shape checked before a byte is used, and codes
// taken out of packed words.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/quantized_layers.h"
#include "io/tensor_file.h"

namespace qualm {

// A layer with more inputs or outputs is a mistake in a file.
inline constexpr size_t kLargestLayerSide = size_t{1} << 24;

// "I32 [64, 128]", for messages.
std::string TypeAndShape(const TensorView& tensor);

// The tensor; throws bad input naming it unless it is there, has one of the types and the shape.
const TensorView& TensorOf(const TensorFile& file, const std::string& name,
                           std::initializer_list<DType> types, const std::vector<size_t>& shape);
// The same for a matrix of any shape whose sides are in 1..kLargestLayerSide.
const TensorView& MatrixOf(const TensorFile& file, const std::string& name,
                           std::initializer_list<DType> types);

// The elements of a tensor as numbers of that size, wherever its bytes lie.
template <class Number>
std::vector<Number> ElementsOf(const TensorView& tensor) {
  QUALM_CHECK(sizeof(Number) == SizeOf(tensor.type));
  std::vector<Number> elements(tensor.elements());
  if (!elements.empty()) std::memcpy(elements.data(), tensor.bytes.data(), tensor.bytes.size());
  return elements;
}
// A tensor of F64, F32, F16 or BF16.
std::vector<float> FloatsOf(const TensorView& tensor);

// Names of the modules that have a tensor `module + suffix`, sorted.
std::vector<std::string> ModulesWith(const TensorFile& file, std::string_view suffix);

// A layer [out, in] with those of its tensors NAME + suffix that the file has, and their bytes.
// Type and value type are left to the caller.
StoredLayer LayerOf(const TensorFile& file, const std::string& name, size_t out, size_t in,
                    std::initializer_list<std::string_view> suffixes);

// Codes of `bits` in 1..8 from a string of bits that begins at the lowest bit of the first word:
// code i is bits [i·bits, (i+1)·bits). Word w of the string is words[w·stride].
class BitString {
 public:
  BitString(const uint32_t* words, size_t stride, int bits)
      : words_(words), stride_(stride), bits_(static_cast<size_t>(bits)) {}
  uint32_t operator[](size_t i) const {
    const size_t at = i * bits_, word = at / 32, shift = at % 32;
    uint64_t window = words_[word * stride_];
    if (shift + bits_ > 32) window |= uint64_t{words_[(word + 1) * stride_]} << 32;
    return static_cast<uint32_t>(window >> shift) & ((1u << bits_) - 1);
  }

 private:
  const uint32_t* words_;
  size_t stride_, bits_;
};

// Whole words that `count` codes of `bits` take.
inline size_t WordsOf(size_t count, int bits) {
  return (count * static_cast<size_t>(bits) + 31) / 32;
}

}  // namespace qualm
