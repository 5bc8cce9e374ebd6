// Finds the rows of a study that are both calibrated on and scored, whatever names they go by.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "study/stage.h"
#include "tasks/row_pools.h"

namespace qualm {

// Add every user of rows first, then Part, then ask for the rows of each.
class SharedRows {
 public:
  // `who` is named in messages: "test boolq".
  void Add(RowPool use, std::string who, RowsIdentity rows);
  // Throws bad input where a file is both calibrated on and scored but its rows have other numbers,
  // so that no pools keep them apart.
  void Part();

  // The rows for one use, by the name of their identity: those of its pool where the other use has
  // the same rows, else all.
  PooledRows Of(RowPool use, const std::string& name) const;

 private:
  struct User {
    RowPool use;
    std::string who;
    RowsIdentity rows;
  };
  std::string PoolName(const RowsIdentity& rows) const;

  std::vector<User> users_;
  // Of rows with two uses, by their name; nothing: pools are drawn by the set's own name.
  std::map<std::string, std::optional<std::string>> shared_;
};

}  // namespace qualm
