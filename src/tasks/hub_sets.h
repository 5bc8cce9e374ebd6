// Data sets under the names that they have on the Hugging Face hub: datasets/hub/*.yaml, compiled
// in. Each says which of our data sets has the same rows, and how a row of ours becomes a row with
// the hub's fields, so that a task file that names the hub's set finds it in the user's data
// folder.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/jinja.h"
#include "data/row_sets.h"
#include "io/input_set.h"

namespace qualm {

// From rows of a file to rows as a task sees them.
struct RowView {
  // Renders the JSON of a new row from the fields of the old one, from `row` (all of them), from
  // `rows` (those of its group) and from `subset`.
  JinjaTemplate row;
  std::optional<JinjaTemplate>
      group;  // rows that render alike become one, in the first one's place
  std::string place;

  std::vector<SourcedRow> Apply(std::vector<SourcedRow> rows) const;
};

struct HubSet {
  std::string path,
      name;            // dataset_path and dataset_name; a name of {subset} stands for all subsets
  std::string set;     // of ours
  std::string subset;  // of ours, where the set has some; {subset}: the hub's name is ours
  std::vector<std::pair<std::string, std::string>> splits;  // the hub's name, ours
  std::string row, group, place;
  InputSet definition;

  RowView View() const;
};

std::span<const HubSet> AllHubSets();

// Throws bad input for text that is not a template.
RowView MakeRowView(std::string_view row, std::string_view group, std::string_view place);

}  // namespace qualm
