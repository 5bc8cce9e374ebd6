// Finds the stored layer of each site, and cuts a site out of it where several share one.
#include "model/quantized_sites.h"

#include <set>

#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {

QuantizedSites::QuantizedSites(std::unique_ptr<QuantizedLayers> layers, const ModelTensors& tensors,
                               const ModelPlan& plan)
    : layers_(std::move(layers)) {
  if (layers_ == nullptr) return;
  constexpr std::string_view kEnding = ".weight";
  for (const StoredLayer& layer : layers_->layers()) {
    const std::string name = tensors.PlanName(layer.name + std::string(kEnding));
    by_plan_name_.emplace(name.substr(0, name.size() - kEnding.size()), &layer);
  }

  // The layers of the blocks, then the tables and layers around them.
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    for (const LinearSite& site : SitesOf(plan.blocks[b])) {
      Add(plan.NameIn(b, site.name), site, site.stored ? plan.NameIn(b, site.stored->tensor) : "");
    }
  }
  for (const std::optional<LinearSite>* site : {&plan.project_in, &plan.project_out}) {
    if (*site) Add((*site)->name, **site, "");
  }
  Add(plan.head.name, plan.head, "");
  LinearSite table;
  for (const TableSite* of_plan : {&plan.embedding, plan.positions ? &*plan.positions : nullptr}) {
    if (of_plan == nullptr) continue;
    table.out = of_plan->rows;
    table.in = of_plan->width;
    Add(of_plan->name, table, "");
  }

  // A layer that several share has exactly their rows.
  std::map<const StoredLayer*, size_t> rows;
  for (const auto& [name, site] : sites_) rows[site.stored] += site.out;
  for (const auto& [layer, count] : rows) {
    if (count == layer->out) continue;
    ThrowBadInput(layer->name, StrCat(count, " rows"), StrCat(layer->out),
                  "config.json and the tensors do not belong together");
  }

  // What is left belongs to no site.
  std::set<const StoredLayer*> used;
  for (const auto& [name, site] : sites_) used.insert(site.stored);
  for (const auto& [name, layer] : by_plan_name_) {
    if (!used.contains(layer)) unused_.push_back(name);
  }
}

void QuantizedSites::Add(const std::string& name, const LinearSite& site,
                         const std::string& whole) {
  Site found;
  found.out = site.out;
  const auto own = by_plan_name_.find(name);
  if (own != by_plan_name_.end()) {
    found.stored = own->second;
    found.rows.run = 0;
    if (found.stored->out != site.out || found.stored->in != site.in) {
      ThrowBadInput(name, StrCat("shape [", site.out, ", ", site.in, "]"),
                    StrCat("[", found.stored->out, ", ", found.stored->in, "]"),
                    "config.json and the tensors do not belong together");
    }
    found.bytes = found.stored->bytes;
    sites_.emplace(name, found);
    return;
  }

  // Some rows of a layer that holds several.
  const auto shared = whole.empty() ? by_plan_name_.end() : by_plan_name_.find(whole);
  if (shared == by_plan_name_.end()) return;
  found.stored = shared->second;
  found.rows = {site.stored->first, site.stored->run, site.stored->step};
  const size_t needed = found.rows.Row(site.out - 1) + 1;
  if (needed > found.stored->out || found.stored->in != site.in) {
    ThrowBadInput(name, StrCat("at least ", needed, " rows of ", site.in, " inputs in ", whole),
                  StrCat("[", found.stored->out, ", ", found.stored->in, "]"),
                  "config.json and the tensors do not belong together");
  }
  found.bytes = found.stored->bytes / found.stored->out * site.out;
  sites_.emplace(name, found);
}

const QuantizedSites::Site* QuantizedSites::Find(std::string_view name) const {
  const auto found = sites_.find(name);
  return found == sites_.end() ? nullptr : &found->second;
}

QuantizedWeight QuantizedSites::Read(std::string_view name) const {
  const Site& site = sites_.find(name)->second;
  QuantizedWeight weight = layers_->Read(*site.stored);
  const bool is_whole = site.out == site.stored->out && site.rows.run == 0;
  if (is_whole) return weight;
  return At(std::string(name), [&] { return SelectRows(std::move(weight), site.rows, site.out); });
}

}  // namespace qualm
