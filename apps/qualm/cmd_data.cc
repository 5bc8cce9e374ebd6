// qualm data: the sets of rows that tasks read: what there is, where it is looked for, whether the
// files at hand are whole.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "data/named_corpora.h"
#include "data/row_sets.h"

namespace qualm::cli {
namespace {

struct Flags {
  std::string action, name, data;
};

// What is at hand of one split.
struct SplitCheck {
  std::string split, state, hash, problem;  // state: ok, changed, unknown, absent, bad
  size_t files = 0, rows = 0;
};

SplitCheck CheckSplit(const RowSet& set, const RowSet::Split& split,
                      const std::filesystem::path& folder) {
  SplitCheck check;
  check.split = split.name;
  for (const std::string& file : FilesOf(set, split)) {
    std::error_code ignored;
    check.files += std::filesystem::exists(PathOnDisk(folder, file), ignored) ? 1 : 0;
  }
  if (check.files < FilesOf(set, split).size()) {
    check.state = "absent";
    return check;
  }
  try {
    check.rows = LoadRows(set, split.name, "", folder).size();
    check.hash = HashOfFiles(set, split, folder);
    check.state = split.hash.empty() ? "unknown" : split.hash == check.hash ? "ok" : "changed";
  } catch (const Error& error) {
    check.state = "bad";
    check.problem = error.what();
  }
  return check;
}

int List(const Globals& globals, const std::filesystem::path& folder) {
  Json json = Json::array();
  std::vector<std::vector<std::string>> table = {{"name", "splits at hand", "title"}};
  for (const RowSet& set : AllRowSets()) {
    std::vector<std::string> there;
    for (const RowSet::Split& split : set.splits) {
      std::error_code ignored;
      if (std::filesystem::exists(PathOnDisk(folder, FilesOf(set, split)[0]), ignored)) {
        there.push_back(split.name);
      }
    }
    json.push_back({{"name", set.name}, {"title", set.title}, {"splits_at_hand", there}});
    table.push_back({set.name, there.empty() ? "-" : Join(there, ", "), set.title});
  }
  globals.json ? PrintJson({{"datasets", json}}) : Print(FormatTable(table, {}));
  return kOk;
}

int Show(const RowSet& set, const Globals& globals, const std::filesystem::path& folder) {
  Json splits = Json::object();
  std::string text = StrCat(set.title, "\ncitation ", set.citation, "\nlicence  ", set.licence,
                            "\nsource   ", set.source, "\n");
  if (!set.note.empty()) text += StrCat("note     ", set.note, "\n");
  if (!set.subsets.empty()) text += StrCat("subsets  ", set.subsets.size(), "\n");
  for (const RowSet::Split& split : set.splits) {
    splits[split.name] = split.path;
    text += StrCat(split.name, "  ", (folder / split.path).string(), "\n");
  }
  if (globals.json) {
    PrintJson({{"name", set.name},
               {"title", set.title},
               {"citation", set.citation},
               {"licence", set.licence},
               {"source", set.source},
               {"note", set.note},
               {"subsets", set.subsets},
               {"splits", splits}});
  } else {
    Print(text);
  }
  return kOk;
}

// Of one set, or of all.
int Check(const std::string& name, const Globals& globals, const std::filesystem::path& folder) {
  bool is_good = true, is_there = false;
  Json json = Json::array();
  std::vector<std::vector<std::string>> table = {
      {"set", "split", "files", "rows", "state", "hash"}};
  std::string problems;
  for (const RowSet& set : AllRowSets()) {
    if (!name.empty() && set.name != name) continue;
    for (const RowSet::Split& split : set.splits) {
      const SplitCheck check = CheckSplit(set, split, folder);
      is_there |= check.state != "absent";
      is_good &= check.state != "bad" && check.state != "changed";
      json.push_back({{"set", set.name},
                      {"split", check.split},
                      {"files", check.files},
                      {"rows", check.rows},
                      {"state", check.state},
                      {"hash", check.hash},
                      {"problem", check.problem}});
      table.push_back({set.name, check.split, StrCat(check.files), StrCat(check.rows), check.state,
                       check.hash});
      if (!check.problem.empty()) problems += StrCat(check.problem, "\n");
    }
  }
  if (globals.json) {
    PrintJson({{"splits", json}});
  } else {
    Print(StrCat(FormatTable(table, {false, false, true, true, false, false}), problems,
                 "ok: the files that qualm's own numbers were made with; changed: others; unknown: "
                 "none are known\n"));
  }
  if (!is_there) {
    ThrowBadInput(
        "data",
        StrCat("files of ", name.empty() ? "some set" : name, " in '", folder.string(), "'"),
        "none", "name the folder by --data or QUALM_DATA");
  }
  return is_good ? kOk : kFailed;
}

int Run(const Flags& flags, const Globals& globals) {
  const std::filesystem::path folder = DataFolder(flags.data);
  if (flags.action == "list") return List(globals, folder);
  if (!flags.name.empty()) (void)FindRowSet(flags.name, "data");
  if (flags.action == "check") return Check(flags.name, globals, folder);
  if (flags.name.empty()) ThrowBadInput("data show", "the name of a set", "none");
  return Show(FindRowSet(flags.name, "data"), globals, folder);
}

}  // namespace

Command AddData(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  arguments.Add("ACTION", flags->action, "list, show or check")
      .Required()
      .OneOf({"list", "show", "check"});
  arguments.Add("NAME", flags->name, "A set; check without it looks at all");
  AddDataFlag(arguments, flags->data);
  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm data list --data ~/datasets\n"
      "  qualm data show mmlu\n"
      "  qualm data check mmlu --data ~/datasets");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
