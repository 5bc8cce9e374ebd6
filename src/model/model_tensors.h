// The tensors of a checkpoint as a plan knows them, whatever names the files use and however many
// layers a tensor holds: those who read a model, copy it or compare it see one tensor for each
// linear layer and norm.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/tensor_file.h"
#include "model/model_plan.h"

namespace qualm {

class ModelTensors {
 public:
  // Throws bad input naming tensors that two of the plan's renamings make the same, or a stored
  // tensor whose rows are not those of the layers in it.
  // Stored tensors that are `not_weights` (codes and scales of another tool) are as if absent.
  ModelTensors(std::shared_ptr<const TensorFile> file, const ModelPlan& plan,
               const std::set<std::string>& not_weights = {});
  ModelTensors(TensorFile file, const ModelPlan& plan)
      : ModelTensors(std::make_shared<const TensorFile>(std::move(file)), plan) {}

  // The plan's name for a stored one.
  std::string PlanName(const std::string& stored) const;

  // In the order of the names; all_names are also of those whose type is not read.
  std::vector<std::string> names() const;
  std::vector<std::string> all_names() const;
  // Null if absent. A layer that is only a part of a stored tensor is cut out at the first call and
  // kept until Release. Safe to call from several threads.
  const TensorView* Find(std::string_view name) const;
  // The same; throws bad input naming the nearest existing name if it is absent.
  const TensorView& Get(std::string_view name) const;
  // Shape and type without cutting anything out: the bytes may be empty. Null if absent.
  const TensorView* Header(std::string_view name) const;

  uint64_t ElementsOf(std::string_view name) const;
  uint64_t BytesOf(std::string_view name) const;

  // Drops the pages and the parts of all tensors whose names begin with `prefix` from memory.
  void Release(std::string_view prefix) const;

  // From now on these tensors are absent.
  void LeaveOut(const std::vector<std::string>& names);
  // Under the names of the plan.
  const std::vector<std::string>& left_out() const { return left_out_; }
  const TensorFile& file() const { return *file_; }

 private:
  // A tensor by its name in the plan.
  struct Entry {
    TensorView view;                        // without bytes while a part has not been cut out
    const TensorView* source = nullptr;     // of the file; null: it is cut out of
    std::vector<const TensorView*> stored;  // these
    StoredRows rows;
    std::vector<std::byte> part;
  };

  void AddStored(const std::set<std::string>& not_weights);
  void AddParts(const ModelPlan& plan);
  void CheckWholes(const ModelPlan& plan, size_t block) const;
  void AddSite(const ModelPlan& plan, size_t block, const LinearSite& site);
  void AddGroups(const ModelPlan& plan, size_t block, const NormPlan& norm);
  void AddRows(const std::string& name, const std::string& stored, const StoredRows& rows,
               size_t out);
  void CutOut(Entry& entry) const;
  void RefuseUnreadType(std::string_view name) const;

  std::shared_ptr<const TensorFile> file_;
  std::set<std::string> not_weights_;  // under the names of the plan
  mutable std::mutex mutex_;           // of the entries' views and parts
  mutable std::map<std::string, Entry, std::less<>> entries_;
  std::set<std::string, std::less<>> wholes_;  // entries that others are cut out of
  std::vector<Renaming> renamings_;
  std::vector<std::string> left_out_;
};

}  // namespace qualm
