// Maps the names of a checkpoint to those of a plan when it is opened, and cuts layers out of
// tensors that hold several when they are asked for. Rows that lie together stay in the mapped
// file; others are gathered.
#include "model/model_tensors.h"

#include <algorithm>
#include <cstring>

#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {
namespace {

size_t ProductOf(std::span<const size_t> shape) {
  size_t product = 1;
  for (const size_t extent : shape) product *= extent;
  return product;
}

// The stored row of a layer's row.
size_t StoredRow(const StoredRows& rows, size_t row) {
  return rows.run == 0 ? rows.first + row
                       : rows.first + row / rows.run * rows.step + row % rows.run;
}

}  // namespace

ModelTensors::ModelTensors(std::shared_ptr<const TensorFile> file, const ModelPlan& plan,
                           const std::set<std::string>& not_weights)
    : file_(std::move(file)), renamings_(plan.renamings) {
  AddStored(not_weights);
  AddParts(plan);
}

std::string ModelTensors::PlanName(const std::string& stored) const {
  for (const Renaming& renaming : renamings_) {
    if (stored.starts_with(renaming.from)) {
      return renaming.to + stored.substr(renaming.from.size());
    }
  }
  return stored;
}

// Every stored tensor under the plan's name for it.
void ModelTensors::AddStored(const std::set<std::string>& not_weights) {
  for (const TensorView& tensor : file_->tensors()) {
    if (not_weights.contains(tensor.name)) {
      not_weights_.insert(PlanName(tensor.name));
      continue;
    }
    Entry entry;
    entry.view = tensor;
    entry.view.name = PlanName(tensor.name);
    entry.source = &tensor;
    const std::string name = entry.view.name;
    if (entries_.emplace(name, std::move(entry)).second) continue;
    ThrowExpected("tensors of different names",
                  StrCat("two for ", name, ", one stored as ", tensor.name));
  }
}

// A tensor with other rows than its layers have was made for another configuration, even if all
// layers find theirs in it.
void ModelTensors::CheckWholes(const ModelPlan& plan, size_t block) const {
  struct Whole {
    size_t rows = 0;
    bool transposed = false;
  };
  std::map<std::string, Whole> wholes;
  for (const LinearSite& site : SitesOf(plan.blocks[block])) {
    if (!site.stored) continue;
    Whole& whole = wholes[plan.NameIn(block, site.stored->tensor)];
    whole.rows += site.out;
    whole.transposed = site.stored->transposed;
  }

  for (const auto& [name, whole] : wholes) {
    for (const char* ending : {".weight", ".bias"}) {
      const auto found = entries_.find(name + ending);
      if (found == entries_.end()) continue;
      const TensorView& view = found->second.view;
      const bool in_columns = whole.transposed && found->first.ends_with(".weight");
      const size_t dims = view.shape.size();
      if (dims == 0 || dims > 2 || (in_columns && dims != 2)) {
        ThrowBadInput(view.name, "a matrix of several layers, or their bias",
                      StrCat("a tensor of ", dims, " dimensions"));
      }
      const size_t rows = view.shape[in_columns ? 1 : 0];
      if (rows == whole.rows) continue;
      ThrowBadInput(view.name, StrCat(whole.rows, " rows"), StrCat(rows),
                    "config.json and the tensors do not belong together");
    }
  }
}

void ModelTensors::AddParts(const ModelPlan& plan) {
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    CheckWholes(plan, b);
    for (const LinearSite& site : SitesOf(plan.blocks[b])) {
      if (site.stored) AddSite(plan, b, site);
    }
    for (const NormPlan& norm : InnerNormsOf(plan.blocks[b])) {
      if (!norm.stored_by_group.empty()) AddGroups(plan, b, norm);
    }
  }
}

void ModelTensors::AddSite(const ModelPlan& plan, size_t block, const LinearSite& site) {
  const std::string name = plan.NameIn(block, site.name);
  const std::string stored = plan.NameIn(block, site.stored->tensor);
  AddRows(name + ".weight", stored + ".weight", *site.stored, site.out);

  // A bias has one number for each row, in whatever direction the weight is stored.
  StoredRows of_bias = *site.stored;
  of_bias.transposed = false;
  AddRows(name + ".bias", stored + ".bias", of_bias, site.out);
}

// A part of `out` rows of a tensor that CheckWholes has seen. A layer under its own name wins: that
// is how a quantized folder keeps what was not quantized.
void ModelTensors::AddRows(const std::string& name, const std::string& stored,
                           const StoredRows& rows, size_t out) {
  if (entries_.contains(name)) return;
  const auto whole = entries_.find(stored);
  if (whole == entries_.end()) return;
  const TensorView& view = whole->second.view;
  wholes_.insert(stored);

  const size_t dims = view.shape.size();
  const size_t available = view.shape[rows.transposed ? 1 : 0];
  const size_t needed = out == 0 ? 0 : StoredRow(rows, out - 1) + 1;
  if (needed > available) {
    ThrowBadInput(view.name, StrCat("at least ", needed, " rows"), StrCat(available),
                  "config.json and the tensors do not belong together");
  }

  Entry entry;
  entry.view.name = name;
  entry.view.type = view.type;
  entry.view.shape = dims == 1 ? std::vector<size_t>{out}
                               : std::vector<size_t>{out, view.shape[rows.transposed ? 0 : 1]};
  entry.stored = {&view};
  entry.rows = rows;
  if (rows.run == 0 && !rows.transposed) {
    // Neighbouring rows are a part of the mapped file.
    const size_t row_bytes = view.bytes.size() / std::max<size_t>(1, available);
    entry.view.bytes = view.bytes.subspan(rows.first * row_bytes, out * row_bytes);
  }
  entries_.emplace(name, std::move(entry));
}

// Weights and biases of all groups, one after the other.
void ModelTensors::AddGroups(const ModelPlan& plan, size_t block, const NormPlan& norm) {
  for (const char* ending : {".weight", ".bias"}) {
    const std::string name = plan.NameIn(block, norm.name) + ending;
    if (entries_.contains(name)) continue;
    Entry entry;
    for (size_t group = 0; group < norm.groups; ++group) {
      const std::string stored = StrCat(plan.NameIn(block, norm.stored_by_group), group, ending);
      const auto found = entries_.find(stored);
      if (found == entries_.end()) break;
      const TensorView& view = found->second.view;
      if (ProductOf(view.shape) != norm.width ||
          (group > 0 && view.type != entry.stored[0]->type)) {
        ThrowBadInput(stored, StrCat(norm.width, " values of one type"), StrCat(view.elements()));
      }
      entry.stored.push_back(&view);
    }
    if (entry.stored.size() != norm.groups) continue;
    // Groups of a norm that lacks some stay tensors that nothing reads.
    for (const TensorView* view : entry.stored) wholes_.insert(view->name);
    entry.view.name = name;
    entry.view.type = entry.stored[0]->type;
    entry.view.shape = {norm.weights()};
    entries_.emplace(name, std::move(entry));
  }
}

// Whoever walks over the tensors must not see a layer twice.
std::vector<std::string> ModelTensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) {
    if (!wholes_.contains(name)) names.push_back(name);
  }
  return names;
}

std::vector<std::string> ModelTensors::all_names() const {
  std::vector<std::string> all = names();
  for (const std::string& stored : file_->names()) {
    std::string name = PlanName(stored);
    if (!entries_.contains(name) && !not_weights_.contains(name)) all.push_back(std::move(name));
  }
  std::ranges::sort(all);
  return all;
}

void ModelTensors::LeaveOut(const std::vector<std::string>& names) {
  for (const std::string& name : names) entries_.erase(name);
  left_out_.insert(left_out_.end(), names.begin(), names.end());
}

// A tensor of a type that cannot be read has no entry: the file names the type when it is asked.
void ModelTensors::RefuseUnreadType(std::string_view name) const {
  (void)file_->Find(name);
  for (const Renaming& renaming : renamings_) {
    if (!name.starts_with(renaming.to)) continue;
    (void)file_->Find(StrCat(renaming.from, name.substr(renaming.to.size())));
  }
}

const TensorView* ModelTensors::Header(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found != entries_.end() && !wholes_.contains(name)) return &found->second.view;
  if (std::ranges::find(left_out_, name) == left_out_.end()) RefuseUnreadType(name);
  return nullptr;
}

const TensorView* ModelTensors::Find(std::string_view name) const {
  if (Header(name) == nullptr) return nullptr;
  Entry& entry = entries_.find(name)->second;
  if (!entry.stored.empty()) {
    const std::scoped_lock lock(mutex_);
    if (entry.view.bytes.empty()) CutOut(entry);
  }
  return &entry.view;
}

const TensorView& ModelTensors::Get(std::string_view name) const {
  if (const TensorView* found = Find(name)) return *found;
  // A wrong prefix is the most common mistake.
  const std::string near = NearestName(name, names());
  ThrowBadInput(file_->files().front().parent_path().string(), StrCat("a tensor '", name, "'"),
                StrCat("none among ", entries_.size()),
                near.empty() ? "" : StrCat("the nearest name is '", near, "'"));
}

uint64_t ModelTensors::ElementsOf(std::string_view name) const {
  const TensorView* header = Header(name);
  return ProductOf((header != nullptr ? *header : Get(name)).shape);
}

uint64_t ModelTensors::BytesOf(std::string_view name) const {
  return ElementsOf(name) * SizeOf(Header(name)->type);
}

// Copies the rows of a part, or the groups of a norm, together.
void ModelTensors::CutOut(Entry& entry) const {
  const size_t item = SizeOf(entry.view.type);
  const size_t out = entry.view.shape[0];
  const size_t in = entry.view.shape.size() == 2 ? entry.view.shape[1] : 1;
  entry.part.resize(ProductOf(entry.view.shape) * item);
  std::byte* to = entry.part.data();
  const std::byte* from = entry.stored[0]->bytes.data();

  if (entry.stored.size() > 1) {
    for (const TensorView* group : entry.stored) {
      to = std::ranges::copy(group->bytes, to).out;
    }
  } else if (entry.rows.transposed) {
    // [in, all rows]: a row of the layer is a column of the tensor.
    const size_t stored_rows = entry.stored[0]->shape[1];
    for (size_t r = 0; r < out; ++r) {
      const size_t column = StoredRow(entry.rows, r);
      for (size_t c = 0; c < in; ++c, to += item) {
        std::memcpy(to, from + (c * stored_rows + column) * item, item);
      }
    }
  } else {
    for (size_t r = 0; r < out; ++r, to += in * item) {
      std::memcpy(to, from + StoredRow(entry.rows, r) * in * item, in * item);
    }
  }
  entry.view.bytes = entry.part;
}

void ModelTensors::Release(std::string_view prefix) const {
  const std::scoped_lock lock(mutex_);
  // Names with the prefix follow one another.
  for (auto at = entries_.lower_bound(prefix); at != entries_.end(); ++at) {
    Entry& entry = at->second;
    if (!at->first.starts_with(prefix)) break;
    if (!entry.part.empty()) {
      entry.view.bytes = {};
      entry.part = {};
    } else if (entry.source != nullptr) {
      file_->Release(*entry.source);
    }
  }
}

}  // namespace qualm
