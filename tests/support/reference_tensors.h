// The tensors of a checkpoint read a second time from what its files store: renamed, cut out of
// tensors that hold several layers, and put together from groups, value by value.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/checkpoint.h"

namespace qualm::testing {

class ReferenceTensors {
 public:
  explicit ReferenceTensors(const Checkpoint& checkpoint) : plan_(checkpoint.plan()) {
    for (const TensorView& tensor : checkpoint.tensors().file().tensors()) {
      std::string name = tensor.name;
      for (const Renaming& renaming : plan_.renamings) {
        if (tensor.name.find(renaming.from) != 0) continue;
        name = renaming.to + tensor.name.substr(renaming.from.size());
        break;
      }
      tensors_[name] = &tensor;
    }
  }

  // All values in the order of the file; none if there is no such tensor.
  std::vector<float> Values(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return {};
    TensorView flat = *found->second;
    flat.shape = {flat.elements()};
    return flat.AsFloats();
  }

  // Of a norm given its name in full, with the ending .weight or .bias; none if it has none.
  std::vector<float> OfNorm(const NormPlan& norm, const std::string& name,
                            const std::string& ending) const {
    if (!(ending == ".weight" ? norm.has_weight : norm.has_bias)) return {};
    std::vector<float> values = Values(name + ending);
    if (!values.empty()) return values;
    // The prefix of a block's names comes before the common name of the groups, too.
    const std::string prefix = name.substr(0, name.size() - norm.name.size());
    for (size_t group = 0; group < norm.groups; ++group) {
      const std::string stored = prefix + norm.stored_by_group + std::to_string(group) + ending;
      for (const float v : Values(stored)) values.push_back(v);
    }
    return values;
  }

  // Weight [out, in] and bias (none: empty) of a layer of a block.
  Matrix Weight(size_t block, const LinearSite& site) const {
    const std::string own = plan_.NameIn(block, site.name) + ".weight";
    if (tensors_.contains(own) || !site.stored) return Table(own, site.out, site.in);

    const std::string fused = plan_.NameIn(block, site.stored->tensor) + ".weight";
    const std::vector<float> values = Values(fused);
    const size_t all_rows = values.size() / site.in;
    const std::vector<size_t> rows = RowsOf(site);
    Matrix weight(site.out, site.in);
    for (size_t r = 0; r < site.out; ++r) {
      for (size_t c = 0; c < site.in; ++c) {
        weight(r, c) = site.stored->transposed ? values.at(c * all_rows + rows[r])
                                               : values.at(rows[r] * site.in + c);
      }
    }
    return weight;
  }
  std::vector<float> Bias(size_t block, const LinearSite& site) const {
    const std::vector<float> own = Values(plan_.NameIn(block, site.name) + ".bias");
    if (!own.empty() || !site.stored) return own;
    const std::vector<float> fused = Values(plan_.NameIn(block, site.stored->tensor) + ".bias");
    if (fused.empty()) return {};
    std::vector<float> bias;
    for (const size_t row : RowsOf(site)) bias.push_back(fused.at(row));
    return bias;
  }

  // A tensor under its own name as a matrix.
  Matrix Table(const std::string& name, size_t rows, size_t cols) const {
    const std::vector<float> values = Values(name);
    Matrix table(rows, cols);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) table(r, c) = values.at(r * cols + c);
    }
    return table;
  }

  // One table serves both ends of a model whose embeddings are tied, under either name.
  Matrix Embedding() const {
    const std::string& own = plan_.embedding.name;
    const bool is_under_head = plan_.tied_embeddings && !tensors_.contains(own + ".weight");
    return Table((is_under_head ? plan_.head.name : own) + ".weight", plan_.embedding.rows,
                 plan_.embedding.width);
  }
  Matrix Head() const {
    if (plan_.tied_embeddings) return Embedding();
    return Table(plan_.head.name + ".weight", plan_.head.out, plan_.head.in);
  }

 private:
  // The stored rows of a layer, run by run.
  static std::vector<size_t> RowsOf(const LinearSite& site) {
    const StoredRows& stored = *site.stored;
    const size_t run = stored.run == 0 ? site.out : stored.run;
    std::vector<size_t> rows;
    for (size_t begin = stored.first; rows.size() < site.out; begin += stored.step) {
      for (size_t i = 0; i < run; ++i) rows.push_back(begin + i);
    }
    return rows;
  }

  const ModelPlan& plan_;
  std::map<std::string, const TensorView*> tensors_;
};

}  // namespace qualm::testing
