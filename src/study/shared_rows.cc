// Compares all rows that a study calibrates on with all that it scores, by content. What is both
// gets pools that every stage draws alike.
#include "study/shared_rows.h"

#include "base/error.h"
#include "base/strings.h"

namespace qualm {

void SharedRows::Add(RowPool use, std::string who, RowsIdentity rows) {
  users_.push_back({use, std::move(who), std::move(rows)});
}

void SharedRows::Part() {
  for (const User& set : users_) {
    for (const User& test : users_) {
      if (set.use != RowPool::kCalibration || test.use != RowPool::kScored) continue;
      if (!set.rows.IsSameAs(test.rows)) {
        if (!set.rows.SharesAFileWith(test.rows)) continue;
        ThrowBadInput(set.who,
                      StrCat("rows that ", test.who, " does not score, or all files of ",
                             test.rows.name, " in their order"),
                      StrCat(set.rows.name, ", which has a file of it at another place"),
                      "rows with other numbers, subsets or readers cannot be kept apart");
      }

      for (const User* user : {&set, &test}) {
        const std::string pool_name = PoolName(user->rows);
        std::optional<std::string>& shared = shared_[user->rows.name];
        if (pool_name != user->rows.built_in) shared = pool_name;
      }
    }
  }
}

// The first name of a set that is compiled in and has these rows, or else their content.
std::string SharedRows::PoolName(const RowsIdentity& rows) const {
  std::string name = rows.built_in;
  for (const User& user : users_) {
    const std::string& other = user.rows.built_in;
    if (other.empty() || !user.rows.IsSameAs(rows)) continue;
    if (name.empty() || other < name) name = other;
  }
  return name.empty() ? rows.content : name;
}

PooledRows SharedRows::Of(RowPool use, const std::string& name) const {
  // Where all rows may be used, a pool's name would only make equal stages differ in their keys.
  const auto found = shared_.find(name);
  if (found == shared_.end()) return {};
  return {.pool = use, .pool_name = found->second};
}

}  // namespace qualm
