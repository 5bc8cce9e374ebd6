// Data sets of rows: their YAML files, where their files lie, and loading them.
#include "data/row_sets.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "data/archive.h"
#include "data/embedded_datasets.h"
#include "data/local_sets.h"
#include "io/hash.h"
#include "io/yaml.h"

namespace qualm {
namespace {

constexpr std::string_view kSubset = "{subset}";

RowFormat FormatOf(const Yaml& yaml, const RowFormat& otherwise) {
  RowFormat format = otherwise;
  if (const Yaml* reader = yaml.Find("reader")) {
    // A split with its own reader shares only the encoding with the set.
    format = {};
    format.encoding = otherwise.encoding;
    format.reader = reader->AsString();
    const std::vector<std::string> known = RowReaderNames();
    if (std::ranges::find(known, format.reader) == known.end()) {
      ThrowUnknownName(reader->place(), "reader", format.reader, known);
    }
  }
  if (const Yaml* columns = yaml.Find("columns")) {
    format.columns.clear();
    for (const Yaml& column : columns->AsList()) format.columns.push_back(column.AsString());
  }
  if (const Yaml* records = yaml.Find("records")) format.records = records->AsString();
  if (const Yaml* encoding = yaml.Find("encoding")) format.encoding = encoding->AsString();
  return format;
}

// "path", or a map with the path and what differs from the set's format.
RowSet::Split SplitOf(const std::string& name, const Yaml& yaml, const RowFormat& format) {
  RowSet::Split split;
  split.name = name;
  split.format = format;
  if (yaml.IsMap()) {
    yaml.RequireKnownKeys(std::array<std::string, 7>{"path", "reader", "columns", "records",
                                                     "encoding", "beside", "hash"});
    if (const Yaml* beside = yaml.Find("beside")) {
      for (const auto& [field, path] : beside->AsMap()) {
        split.beside_field = field;
        split.beside = path.AsString();
      }
    }

    // What the split does not say is as in the set.
    split.path = yaml.Get("path").AsString();
    split.format = FormatOf(yaml, format);
    if (const Yaml* hash = yaml.Find("hash")) split.hash = hash->AsString();
  } else {
    split.path = yaml.AsString();
  }
  return split;
}

// The path with the subset's name for {subset}. What is put in is not looked at again: a subset may
// be called {subset}, too.
std::string PathOf(std::string_view path, const std::string& subset) {
  std::string made;
  for (size_t at; (at = path.find(kSubset)) != std::string_view::npos;) {
    made += StrCat(path.substr(0, at), subset);
    path.remove_prefix(at + kSubset.size());
  }
  return made + std::string(path);
}

// Paths that fit one with stars in its last part, by name; itself where it has none or none fits.
std::vector<std::string> Expanded(const std::string& path,
                                  const std::filesystem::path& data_folder) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string pattern = std::filesystem::path(path).filename().string();
  if (pattern.find('*') == std::string::npos) return {path};

  // Stars stand for shards, in the order of their numbers.
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(data_folder / parent, ignored)) {
    const std::string name = entry.path().filename().string();
    if (MatchesGlob(name, pattern)) found.push_back((parent / name).string());
  }
  std::ranges::sort(found);
  if (found.empty()) found.push_back(path);
  return found;
}

std::vector<std::string> FilesOfSubset(const RowSet::Split& split, const std::string& subset,
                                       const std::filesystem::path& data_folder) {
  std::vector<std::string> files = Expanded(PathOf(split.path, subset), data_folder);
  for (const std::string& more : split.more_paths) {
    for (std::string& file : Expanded(more, data_folder)) files.push_back(std::move(file));
  }
  return files;
}

void ReadPull(const Yaml& yaml, RowSet& set) {
  const Yaml* pull = yaml.Find("pull");
  if (pull == nullptr) return;
  pull->RequireKnownKeys(std::array<std::string, 2>{"from", "files"});
  set.pull_from = pull->Get("from").AsString();
  for (const Yaml& file : pull->Get("files").AsList()) {
    file.RequireKnownKeys(std::array<std::string, 4>{"path", "at", "bytes", "sha256"});
    set.pull_files.push_back({file.Get("path").AsString(), file.Get("at").AsString(),
                              file.Get("sha256").AsString(),
                              static_cast<uint64_t>(file.Get("bytes").AsInt())});
    if (set.pull_files.back().sha256.size() != 64) {
      ThrowBadInput(file.place(), "a sha256 of 64 digits", set.pull_files.back().sha256);
    }
  }
}

void AddBeside(const RowSet::Split& split, const std::filesystem::path& data_folder,
               std::vector<Row>& rows) {
  const std::string place = (data_folder / split.beside).string();
  const std::vector<Row> lines = ReadRows(ReadDataFile(data_folder, split.beside),
                                          {"lines", {}, "", split.format.encoding}, place);
  if (lines.size() != rows.size()) {
    ThrowBadInput(place, StrCat(rows.size(), " lines, one for every row of ", split.path),
                  StrCat(lines.size()));
  }
  for (size_t i = 0; i < rows.size(); ++i) rows[i][split.beside_field] = lines[i]["text"];
}

// All subsets, or the one that is asked for; one empty name where the set has none.
std::vector<std::string> SubsetsOf(const RowSet& set, std::string_view only_subset) {
  std::vector<std::string> subsets = set.subsets;
  if (subsets.empty()) subsets.emplace_back();
  if (only_subset.empty()) return subsets;
  if (std::ranges::find(subsets, only_subset) == subsets.end()) {
    ThrowUnknownName(set.name, "subset", only_subset, subsets);
  }
  return {std::string(only_subset)};
}

void RequireFile(const RowSet& set, const RowSet::Split& split, const std::filesystem::path& file,
                 const std::filesystem::path& data_folder) {
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored)) return;
  const std::string pull =
      set.pull_files.empty() ? "" : StrCat("; qualm data pull ", set.name, " gets it");
  ThrowBadInput(StrCat(set.name, ":", split.name), StrCat("the file ", file.string()), "none",
                data_folder.empty() ? "name the folder by --data or QUALM_DATA"
                                    : StrCat("it comes from: ", set.source, pull));
}

}  // namespace

const RowSet::Split& RowSet::FindSplit(std::string_view split, std::string_view place) const {
  std::vector<std::string> names;
  for (const Split& one : splits) {
    if (one.name == split) return one;
    names.push_back(one.name);
  }
  if (split == kWholeSet && splits.size() == 1) return splits[0];
  ThrowUnknownName(place, StrCat("split of ", name), split, names);
}

RowSet ParseRowSet(std::string_view yaml_text, std::string_view place, bool is_users) {
  const Yaml yaml = Yaml::Parse(yaml_text, place);
  yaml.RequireKnownKeys(std::array<std::string, 14>{
      "kind", "name", "title", "citation", "licence", "source", "note", "reader", "columns",
      "records", "encoding", "subsets", "splits", "pull"});
  RowSet set;
  set.name = yaml.Get("name").AsString();
  const auto text = [&](const char* key, const std::string& fallback) {
    return is_users && yaml.Find(key) == nullptr ? fallback : yaml.Get(key).AsString();
  };

  set.title = text("title", set.name);
  set.citation = text("citation", "the user's own");
  set.licence = text("licence", "the user's own");
  set.source = text("source", std::string(place));
  if (const Yaml* note = yaml.Find("note")) set.note = note->AsString();

  // A set of several subsets has their name in its paths, any other one has not.
  (void)yaml.Get("reader");
  set.format = FormatOf(yaml, {});
  if (const Yaml* subsets = yaml.Find("subsets")) {
    for (const Yaml& subset : subsets->AsList()) set.subsets.push_back(subset.AsString());
  }
  for (const auto& [name, split] : yaml.Get("splits").AsMap()) {
    set.splits.push_back(SplitOf(name, split, set.format));
    const bool has_subset = set.splits.back().path.find(kSubset) != std::string::npos;
    if (has_subset == set.subsets.empty()) {
      ThrowBadInput(split.place(),
                    has_subset ? "a path without {subset}, or subsets" : "a path with {subset}",
                    set.splits.back().path);
    }
  }
  ReadPull(yaml, set);
  return set;
}

std::span<const RowSet> AllRowSets() {
  static const std::vector<RowSet> sets = [] {
    std::vector<RowSet> all;
    for (const EmbeddedFile& file : EmbeddedDatasets()) {
      if (!IsRowSet(file)) continue;
      all.push_back(ParseRowSet(file.text, file.name));
      all.back().definition.AddText(StrCat("datasets/", file.name), file.text);
    }
    return all;
  }();
  return sets;
}

const RowSet& FindRowSet(std::string_view name, std::string_view place) {
  if (IsLocalSet(name)) return FindLocalSet(std::string(name));
  std::vector<std::string> names;
  for (const RowSet& set : AllRowSets()) {
    if (set.name == name) return set;
    names.push_back(set.name);
  }

  // A bare word is never a path, so that a folder cannot hide a known set.
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::path(name), ignored)) {
    ThrowBadInput(place, "a data set's name or a path", StrCat("'", name, "'"),
                  StrCat("there is no set of that name, but a file or folder: write ./", name));
  }
  ThrowUnknownName(place, "data set", name, names);
}

std::vector<std::string> FilesOf(const RowSet& set, const RowSet::Split& split,
                                 const std::filesystem::path& data_folder) {
  std::vector<std::string> files;
  for (const std::string& subset : SubsetsOf(set, "")) {
    for (std::string& file : FilesOfSubset(split, subset, data_folder)) {
      files.push_back(std::move(file));
    }
  }
  return files;
}

std::string MissingFile(const RowSet& set, const RowSet::Split& split, std::string_view only_subset,
                        const std::filesystem::path& data_folder) {
  std::vector<std::string> files;
  for (const std::string& subset : SubsetsOf(set, only_subset)) {
    for (std::string& file : FilesOfSubset(split, subset, data_folder)) {
      files.push_back(std::move(file));
    }
  }
  if (!split.beside.empty()) files.push_back(split.beside);
  for (const std::string& file : files) {
    const std::filesystem::path path = PathOnDisk(data_folder, file);
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return path.string();
  }
  return "";
}

std::string WithShardStar(std::string name) {
  constexpr size_t kDigits = 5;
  const size_t of = name.find("-of-");
  if (of == std::string::npos || of <= kDigits) return name;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const size_t digits = of - kDigits;
  if (!std::ranges::all_of(name.substr(digits, kDigits), is_digit)) return name;

  size_t end = of + 4;
  while (end < name.size() && is_digit(name[end])) ++end;
  return name.substr(0, digits) + "*" + name.substr(end);
}

std::filesystem::path PathOnDisk(const std::filesystem::path& data_folder,
                                 const std::string& path) {
  const size_t archive = path.find(".zip:");
  return data_folder / (archive == std::string::npos ? path : path.substr(0, archive + 4));
}

std::string HashOfFiles(const RowSet& set, const RowSet::Split& split,
                        const std::filesystem::path& data_folder) {
  Hasher hasher;
  std::filesystem::path last;
  for (const std::string& file : FilesOf(set, split, data_folder)) {
    const std::filesystem::path path = PathOnDisk(data_folder, file);
    if (path != last) hasher.Add(HashFile(path));
    last = path;
  }
  if (!split.beside.empty()) hasher.Add(HashFile(data_folder / split.beside));
  return hasher.Hex();
}

std::string ReadDataFile(const std::filesystem::path& data_folder, const std::string& path) {
  const size_t colon = path.find(".zip:");
  if (colon != std::string::npos) {
    return ReadZipEntry(data_folder / path.substr(0, colon + 4), path.substr(colon + 5));
  }
  if (path.ends_with(".gz")) return ReadGzip(data_folder / path);
  if (path.ends_with(".zst")) return ReadZstd(data_folder / path);
  return ReadFile(data_folder / path);
}

void AddDataFile(const std::filesystem::path& data_folder, const std::string& path,
                 InputSet& inputs) {
  const std::filesystem::path file = PathOnDisk(data_folder, path);
  // The role of a file of the user's is its name alone: it may lie anywhere.
  inputs.Add(std::filesystem::path(path).is_absolute()
                 ? file.filename().string()
                 : file.lexically_relative(data_folder).string(),
             file);
}

void AddRowFiles(const RowSet& set, const RowSet::Split& split, std::string_view only_subset,
                 const std::filesystem::path& data_folder, InputSet& inputs) {
  // Equal files of another format are other rows.
  inputs.Add(set.definition);
  for (const std::string& subset : SubsetsOf(set, only_subset)) {
    for (const std::string& path : FilesOfSubset(split, subset, data_folder)) {
      AddDataFile(data_folder, path, inputs);
    }
  }
  if (!split.beside.empty()) AddDataFile(data_folder, split.beside, inputs);
}

std::vector<SourcedRow> LoadRows(const RowSet& set, std::string_view split_name,
                                 std::string_view only_subset,
                                 const std::filesystem::path& data_folder, InputSet* inputs) {
  const RowSet::Split& split = set.FindSplit(split_name, set.name);
  std::vector<SourcedRow> rows;
  for (const std::string& subset : SubsetsOf(set, only_subset)) {
    size_t index = 0;  // goes on over the files of a subset
    for (const std::string& path : FilesOfSubset(split, subset, data_folder)) {
      RequireFile(set, split, PathOnDisk(data_folder, path), data_folder);
      std::vector<Row> read =
          ReadRows(ReadDataFile(data_folder, path), split.format, (data_folder / path).string());
      if (!split.beside.empty()) AddBeside(split, data_folder, read);
      for (Row& row : read) rows.push_back({std::move(row), subset, index++});
    }
  }
  if (inputs != nullptr) AddRowFiles(set, split, only_subset, data_folder, *inputs);
  return rows;
}

}  // namespace qualm
