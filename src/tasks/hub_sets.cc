// Reads datasets/hub/*.yaml, and turns rows of our data sets into rows with the hub's fields.
#include "tasks/hub_sets.h"

#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "tasks/embedded_tasks.h"
#include "tasks/row_value.h"

namespace qualm {
namespace {

HubSet ParseHubSet(std::string_view text, const std::string& place) {
  const Yaml yaml = Yaml::Parse(text, place);
  yaml.RequireKnownKeys(
      std::array<std::string, 7>{"path", "name", "set", "subset", "splits", "row", "group"});
  const auto text_of = [&](std::string_view key) {
    const Yaml* value = yaml.Find(key);
    return value == nullptr ? std::string() : value->AsString();
  };

  HubSet set;
  set.path = yaml.Get("path").AsString();
  set.name = text_of("name");
  set.set = yaml.Get("set").AsString();
  set.subset = text_of("subset");
  set.row = text_of("row");
  set.group = text_of("group");
  set.place = place;
  set.definition.AddText(place, text);

  const RowSet& rows = FindRowSet(set.set, yaml.Get("set").place());
  for (const auto& [name, split] : yaml.Get("splits").AsMap()) {
    (void)rows.FindSplit(split.AsString(), split.place());
    set.splits.emplace_back(name, split.AsString());
  }
  return set;
}

}  // namespace

std::span<const HubSet> AllHubSets() {
  static const std::vector<HubSet> sets = [] {
    std::vector<HubSet> all;
    for (const EmbeddedFile& file : EmbeddedHubSets()) {
      all.push_back(ParseHubSet(file.text, StrCat("datasets/hub/", file.name)));
    }
    return all;
  }();
  return sets;
}

RowView HubSet::View() const { return MakeRowView(row, group, place); }

RowView MakeRowView(std::string_view row, std::string_view group, std::string_view place) {
  RowView view{JinjaTemplate(row, place, TaskJinjaOptions()), std::nullopt, std::string(place)};
  if (!group.empty()) view.group.emplace(group, place, TaskJinjaOptions());
  return view;
}

std::vector<SourcedRow> RowView::Apply(std::vector<SourcedRow> rows) const {
  // Where rows are grouped, those that follow the first one are its companions.
  std::vector<std::vector<size_t>> groups;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!group) {
      groups.push_back({i});
      continue;
    }
    const auto [at, is_new] = known.emplace(group->Render(rows[i].row), groups.size());
    if (is_new) groups.emplace_back();
    groups[at->second].push_back(i);
  }

  std::vector<SourcedRow> made;
  for (size_t number = 0; number < groups.size(); ++number) {
    SourcedRow& first = rows[groups[number][0]];
    Json variables = first.row;
    variables["row"] = first.row;
    variables["subset"] = first.subset;
    if (group) {
      Json all = Json::array();
      for (size_t i : groups[number]) all.push_back(rows[i].row);
      variables["rows"] = std::move(all);
    }

    const std::string where = StrCat(place, ": row ", first.index);
    Json fields;
    try {
      fields = ParseJson(row.Render(variables), where);
    } catch (const Error& error) {
      throw error.Within(where);
    }
    if (!fields.is_object()) ThrowBadInput(where, "a row that is an object", fields.type_name());
    made.push_back({std::move(fields), first.subset, group ? number : first.index});
  }
  return made;
}

}  // namespace qualm
