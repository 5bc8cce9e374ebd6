// Orthogonal matrices that are cheap to apply: Hadamard matrices, and Kronecker products of small
// dense matrices. Sums have a fixed order, and the result of a row depends on that row alone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/matrix.h"

namespace qualm {

struct Context;

class Rotation {
 public:
  virtual ~Rotation() = default;
  virtual size_t size() const = 0;
  // x ← Q·x and x ← Qᵀ·x, in place, [size].
  virtual void Apply(std::span<float> x) const = 0;
  virtual void ApplyTransposed(std::span<float> x) const = 0;
};

// Whether an n x n Hadamard matrix can be made: n = 2^k·m with m = 1, or a Paley matrix of size m
// (m − 1 a prime that is 3 modulo 4, or m/2 − 1 a prime that is 1 modulo 4), m at most 512.
bool HasHadamard(size_t n);
// The largest block size that divides n and has a Hadamard matrix; at least the largest power of
// two in n.
size_t LargestHadamardBlock(size_t n);

// Q = H·D: D random signs drawn from the seed (the same on every machine), H block-diagonal with
// orthonormal Hadamard matrices of size `block`. Sylvester's construction times a Paley matrix
// (Hedayat, Wallis 1978). Requires: block divides n, HasHadamard(block).
std::unique_ptr<Rotation> MakeHadamard(size_t n, size_t block, uint64_t seed);

// The same without signs: every block is rotated by the same matrix.
std::unique_ptr<Rotation> MakePlainHadamard(size_t n, size_t block);

// Q = (A ⊗ B)·P (QuIP, Chee et al. 2023, section 4.1): P a random permutation drawn from the seed,
// factors = A [p, p] then B [q, q], row-major.
std::unique_ptr<Rotation> MakeKronecker(size_t p, size_t q, std::span<const float> factors,
                                        uint64_t seed);
// Random orthogonal A and B (uniform: QR of Gaussian matrices with signs fixed), computed in double
// and rounded to float at the end.
std::vector<float> DrawKroneckerFactors(size_t p, size_t q, uint64_t seed);
// p·q = n, p <= q, p as near to √n as possible.
std::pair<size_t, size_t> KroneckerSizes(size_t n);

// Rotates every row or every column of the matrix.
void RotateRows(const Rotation& rotation, bool transposed, Span2D<float> matrix,
                const Context& context);
void RotateColumns(const Rotation& rotation, bool transposed, Span2D<float> matrix,
                   const Context& context);

}  // namespace qualm
