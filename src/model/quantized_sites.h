// The quantized layers of another tool's file by their place in the model: a layer is a stored one,
// or some rows of one that holds several.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/quantized_layers.h"
#include "model/model_tensors.h"

namespace qualm {

class QuantizedSites {
 public:
  // Throws bad input for a layer whose shape is not the plan's. `layers` may be null: none.
  QuantizedSites(std::unique_ptr<QuantizedLayers> layers, const ModelTensors& tensors,
                 const ModelPlan& plan);

  // A layer by its name in the plan.
  struct Site {
    const StoredLayer* stored = nullptr;
    RowRuns rows;
    size_t out = 0;
    uint64_t bytes = 0;  // its share of the stored layer's
  };

  const QuantizedLayers* layers() const { return layers_.get(); }  // null: a float checkpoint
  const std::map<std::string, Site, std::less<>>& sites() const { return sites_; }
  const Site* Find(std::string_view name) const;  // null: not quantized
  QuantizedWeight Read(std::string_view name) const;
  // Names in the plan of layers that no site is made of.
  const std::vector<std::string>& unused() const { return unused_; }

 private:
  void Add(const std::string& name, const LinearSite& site, const std::string& whole);

  std::unique_ptr<QuantizedLayers> layers_;
  std::map<std::string, const StoredLayer*, std::less<>> by_plan_name_;
  std::map<std::string, Site, std::less<>> sites_;
  std::vector<std::string> unused_;
};

}  // namespace qualm
