// qualm data: lists, shows, checks and downloads the sets of rows that tasks read. Checking
// compares a hash of the files with that of the files that qualm's own numbers were made with.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "cli.h"
#include "data/download.h"
#include "data/named_corpora.h"
#include "data/row_sets.h"
#include "data/sha256.h"

namespace qualm::cli {
namespace {

// An empty name means all sets, for the actions that allow it.
struct Flags {
  std::string action, name, data, mirror;
};

// What `qualm data check` found out about one split. `state` is ok, changed, unknown, absent or
// bad.
struct SplitCheck {
  std::string split, state, hash, problem;  // state: ok, changed, unknown, absent, bad
  size_t files = 0, rows = 0;
};

// Reads all rows of the split, so a file that is cut short is found as well.
SplitCheck CheckSplit(const RowSet& set, const RowSet::Split& split,
                      const std::filesystem::path& folder) {
  // A split counts as absent if any of its files is missing.
  SplitCheck check;
  check.split = split.name;
  for (const std::string& file : FilesOf(set, split, folder)) {
    std::error_code ignored;
    check.files += std::filesystem::exists(PathOnDisk(folder, file), ignored) ? 1 : 0;
  }

  if (check.files < FilesOf(set, split, folder).size()) {
    check.state = "absent";
    return check;
  }

  // Files that are there must also be readable as rows.
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

// All sets, with those splits whose data is available.
int List(const Globals& globals, const std::filesystem::path& folder) {
  Json json = Json::array();
  std::vector<std::vector<std::string>> table = {{"name", "splits at hand", "title"}};

  // A split is listed if its first file is there; `data check` looks at all files.
  for (const RowSet& set : AllRowSets()) {
    std::vector<std::string> there;
    for (const RowSet::Split& split : set.splits) {
      std::error_code ignored;
      if (std::filesystem::exists(PathOnDisk(folder, FilesOf(set, split, folder)[0]), ignored)) {
        there.push_back(split.name);
      }
    }

    json.push_back({{"name", set.name}, {"title", set.title}, {"splits_at_hand", there}});
    table.push_back({set.name, there.empty() ? "-" : Join(there, ", "), set.title});
  }
  if (globals.json) {
    PrintJson({{"datasets", json}});
  } else {
    Print(FormatTable(table, {}));
  }
  return kOk;
}

// Where a set comes from, what its licence is, and where its files belong.
int Show(const RowSet& set, const Globals& globals, const std::filesystem::path& folder) {
  Json splits = Json::object();

  // The same contents twice, as text and as JSON.
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

// Checks one set, or all of them.
int Check(const std::string& name, const Globals& globals, const std::filesystem::path& folder) {
  // Every split is a row; problems follow after the table.
  bool is_good = true, is_there = false;
  Json json = Json::array();
  std::vector<std::vector<std::string>> table = {
      {"set", "split", "files", "rows", "state", "hash"}};
  std::string problems;

  const std::span<const RowSet> sets =
      name.empty() ? AllRowSets() : std::span(&FindRowSet(name, "data"), 1);
  for (const RowSet& set : sets) {
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

  // Without a single file the folder is probably the wrong one.
  if (!is_there) {
    ThrowBadInput(
        "data",
        StrCat("files of ", name.empty() ? "some set" : name, " in '", folder.string(), "'"),
        "none", "name the folder by --data or QUALM_DATA");
  }
  return is_good ? kOk : kFailed;
}

// A token from the environment. HF_TOKEN belongs to Hugging Face and is sent nowhere else.
std::string TokenFor(const std::string& url) {
  if (const char* token = std::getenv("QUALM_DATA_TOKEN")) return token;
  const char* token = std::getenv("HF_TOKEN");
  return token != nullptr && url.starts_with("https://huggingface.co/") ? token : "";
}

// Downloads a set's files into the data folder, each checked by its SHA-256.
int Pull(const RowSet& set, const Flags& flags, const Globals& globals,
         const std::filesystem::path& folder) {
  // Pulling needs a folder and a set with an address.
  if (folder.empty()) ThrowBadInput("data pull", "a folder for the files", "none", "--data FOLDER");
  if (set.pull_files.empty()) {
    ThrowBadInput("data pull", StrCat("a set with an address; ", set.name, " has none"), set.name,
                  StrCat("it comes from: ", set.source));
  }

  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  progress->Info(StrCat(set.title, "; licence: ", set.licence));
  Json json = Json::array();
  // Each file is downloaded, unless it is there with the right hash; another file is never
  // overwritten.
  for (const RowSet::PullFile& file : set.pull_files) {
    DownloadRequest request;
    request.url = (flags.mirror.empty() ? set.pull_from : flags.mirror + "/") + file.at;
    request.file = folder / file.path;
    request.sha256 = file.sha256;
    request.bytes = file.bytes;
    request.token = TokenFor(request.url);

    // A file of the same name with other bytes may be the user's.
    std::error_code ignored;
    const bool is_there = std::filesystem::exists(request.file, ignored);
    if (is_there && Sha256OfFile(request.file) != file.sha256) {
      ThrowBadInput(request.file.string(), "no file, or the one that is to be got", "another one",
                    "move it away first");
    }

    if (!is_there) {
      progress->Begin(file.path, file.bytes);
      Download(request, {}, [&](uint64_t bytes) { progress->Advance(bytes, ""); });
      progress->End();
    }

    json.push_back({{"file", request.file.string()},
                    {"bytes", file.bytes},
                    {"state", is_there ? "was there" : "got"}});
    if (!globals.json) {
      Print(StrCat(is_there ? "was there " : "got       ", request.file.string(), "\n"));
    }
  }
  if (globals.json) PrintJson({{"files", json}});
  return kOk;
}

int Run(const Flags& flags, const Globals& globals) {
  // Listing needs no name, checking may do without.
  const std::filesystem::path folder = DataFolder(flags.data);
  if (flags.action == "list") return List(globals, folder);
  if (!flags.name.empty()) (void)FindRowSet(flags.name, "data");
  if (flags.action == "check") return Check(flags.name, globals, folder);
  if (flags.name.empty()) {
    ThrowBadInput(StrCat("data ", flags.action), "the name of a set", "none");
  }
  if (flags.action == "pull") return Pull(FindRowSet(flags.name, "data"), flags, globals, folder);
  return Show(FindRowSet(flags.name, "data"), globals, folder);
}

}  // namespace

Command AddData(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // What to do with which set.
  arguments.Add("ACTION", flags->action, "list, show, check or pull")
      .Required()
      .OneOf({"list", "show", "check", "pull"});
  arguments.Add("NAME", flags->name, "A set; check without it looks at all");
  AddDataFlag(arguments, flags->data);
  arguments.Add("--mirror", flags->mirror,
                "pull: an address to take in place of the set's own (may be http)");

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm data list --data ~/datasets\n"
      "  qualm data show mmlu\n"
      "  qualm data check mmlu --data ~/datasets\n"
      "  qualm data pull gsm8k --data ~/datasets");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
