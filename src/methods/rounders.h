// Rounders: each chooses the codes of one weight matrix on the grid of a scheme. The table is in
// rounders.cc, one line per file in rounders/.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "artefact/quantized_linear.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;
class FactorCache;
struct FieldDescription;
class Yaml;

// One layer as a rounder sees it. Statistics are there if the rounder has asked for them
// (needs_...).
struct RounderInput {
  std::string_view layer;      // its name, which random numbers depend on
  Span2D<const float> weight;  // [out, in], finite
  // Σ xᵀx over the calibration tokens, not divided by their number, [in, in]; empty if the rounder
  // does not need it.
  Span2D<const float> gram;
  std::span<const double> gram64;  // the same in float64, used instead of `gram` if not empty
  uint64_t gram_tokens = 0;
  Span2D<const float> sample;            // some rows of X [rows, in]; empty if not needed
  std::span<const float> input_abs_max;  // max |x_j| over all tokens [in]; empty if not needed
  uint64_t seed = 0;
  // Factors of this Gram matrix, shared by the layers that read the same inputs; may be null.
  FactorCache* factors = nullptr;
};

// The rounded layer, with what the manifest should say about the rounding.
struct RounderResult {
  QuantizedLinear layer;
  std::optional<double> damping;  // λ / mean(diag H) in the end
  int damping_attempts = 0;
  bool fell_back_to_rtn = false;
  std::vector<std::string> notes;
};

// A rounder with its options parsed.
class Rounder {
 public:
  virtual ~Rounder() = default;
  virtual std::string_view name() const = 0;
  virtual bool needs_gram() const = 0;
  virtual bool needs_gram64() const { return false; }
  virtual bool needs_sample() const { return false; }
  virtual bool needs_input_range() const { return false; }
  bool needs_data() const { return needs_gram() || needs_sample() || needs_input_range(); }
  // A rounder with its options parsed. It is immutable, so layers in several threads may share it.
  virtual bool stores_scheme_only() const { return true; }
  // Whether it produces scales that are quantized themselves (Scheme::second_level).
  virtual bool makes_second_level() const { return false; }
  // Throws bad input for grids that the method cannot use; Round does the same. Callers say which
  // layer it was (base/error_place.h).
  virtual void RequireScheme(const Scheme&) const {}
  // Requires scheme.Validate() to have passed for the layer. Throws bad input for NaN or infinite
  // weights. Same bits for any number of threads.
  virtual RounderResult Round(const RounderInput& input, const Scheme& scheme,
                              const Context& context) const = 0;
  // Options as canonical JSON text, every default spelled out.
  virtual std::string OptionsJson() const = 0;
  // The options that it takes, with their defaults.
  virtual std::vector<FieldDescription> OptionFields() const = 0;
};

// A line of the table.
struct RounderEntry {
  const char* name;
  const char* summary;
  // Strict; `options` may be null (all defaults).
  std::unique_ptr<Rounder> (*make)(const Yaml* options);
};

std::span<const RounderEntry> AllRounders();
std::unique_ptr<Rounder> MakeRounder(std::string_view name, const Yaml* options,
                                     std::string_view place);
std::vector<std::string> RounderNames();

}  // namespace qualm
