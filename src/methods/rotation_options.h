// Which rotations a model is given (QuaRot, Ashkboos et al. 2024); quantize/model_rotation.h does
// it.
#pragma once

#include <cstdint>

#include "io/fields.h"

namespace qualm {

struct RotationOptions {
  bool residual = true;  // hidden states between blocks
  bool heads = true;     // values inside attention heads
  bool online = true;    // the input of each MLP's last layer
  uint64_t seed = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("residual", self.residual, {.meaning = "rotate the hidden states between blocks"});
    visit("heads", self.heads, {.meaning = "rotate the values inside attention heads"});
    visit("online", self.online, {.meaning = "rotate the input of down_proj at run time"});
    visit("seed", self.seed,
          {.meaning = "of the random signs", .range = InRange(0, int64_t{1} << 62)});
  }
};

}  // namespace qualm
