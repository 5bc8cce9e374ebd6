#include "data/row_sets.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "data/archive.h"
#include "data/embedded_datasets.h"
#include "io/hash.h"
#include "io/yaml.h"

namespace qualm {
namespace {

constexpr std::string_view kSubset = "{subset}";

RowFormat FormatOf(const Yaml& yaml, const RowFormat& otherwise) {
  RowFormat format = otherwise;
  if (const Yaml* reader = yaml.Find("reader")) {
    format = {};
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
  return format;
}

// "path", or a map with the path and what differs from the set's format.
RowSet::Split SplitOf(const std::string& name, const Yaml& yaml, const RowFormat& format) {
  RowSet::Split split;
  split.name = name;
  split.format = format;
  if (yaml.IsMap()) {
    yaml.RequireKnownKeys(
        std::array<std::string, 6>{"path", "reader", "columns", "records", "beside", "hash"});
    if (const Yaml* beside = yaml.Find("beside")) {
      for (const auto& [field, path] : beside->AsMap()) {
        split.beside_field = field;
        split.beside = path.AsString();
      }
    }
    split.path = yaml.Get("path").AsString();
    split.format = FormatOf(yaml, format);
    if (const Yaml* hash = yaml.Find("hash")) split.hash = hash->AsString();
  } else {
    split.path = yaml.AsString();
  }
  return split;
}

std::string PathOf(std::string path, const std::string& subset) {
  for (size_t at; (at = path.find(kSubset)) != std::string::npos;) {
    path.replace(at, kSubset.size(), subset);
  }
  return path;
}

void AddBeside(const RowSet::Split& split, const std::filesystem::path& data_folder,
               std::vector<Row>& rows) {
  const std::string place = (data_folder / split.beside).string();
  const std::vector<Row> lines =
      ReadRows(ReadDataFile(data_folder, split.beside), {"lines", {}, ""}, place);
  if (lines.size() != rows.size()) {
    ThrowBadInput(place, StrCat(rows.size(), " lines, one for every row of ", split.path),
                  StrCat(lines.size()));
  }
  for (size_t i = 0; i < rows.size(); ++i) rows[i][split.beside_field] = lines[i]["text"];
}

}  // namespace

const RowSet::Split& RowSet::FindSplit(std::string_view split, std::string_view place) const {
  std::vector<std::string> names;
  for (const Split& one : splits) {
    if (one.name == split) return one;
    names.push_back(one.name);
  }
  ThrowUnknownName(place, StrCat("split of ", name), split, names);
}

RowSet ParseRowSet(std::string_view yaml_text, std::string_view place) {
  const Yaml yaml = Yaml::Parse(yaml_text, place);
  yaml.RequireKnownKeys(std::array<std::string, 12>{"kind", "name", "title", "citation", "licence",
                                                    "source", "note", "reader", "columns",
                                                    "records", "subsets", "splits"});
  RowSet set;
  set.name = yaml.Get("name").AsString();
  set.title = yaml.Get("title").AsString();
  set.citation = yaml.Get("citation").AsString();
  set.licence = yaml.Get("licence").AsString();
  set.source = yaml.Get("source").AsString();
  if (const Yaml* note = yaml.Find("note")) set.note = note->AsString();
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
  return set;
}

std::span<const RowSet> AllRowSets() {
  static const std::vector<RowSet> sets = [] {
    std::vector<RowSet> all;
    for (const EmbeddedFile& file : EmbeddedDatasets()) {
      if (IsRowSet(file)) all.push_back(ParseRowSet(file.text, file.name));
    }
    return all;
  }();
  return sets;
}

const RowSet& FindRowSet(std::string_view name, std::string_view place) {
  std::vector<std::string> names;
  for (const RowSet& set : AllRowSets()) {
    if (set.name == name) return set;
    names.push_back(set.name);
  }
  ThrowUnknownName(place, "data set", name, names);
}

std::vector<std::string> FilesOf(const RowSet& set, const RowSet::Split& split) {
  if (set.subsets.empty()) return {split.path};
  std::vector<std::string> files;
  for (const std::string& subset : set.subsets) files.push_back(PathOf(split.path, subset));
  return files;
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
  for (const std::string& file : FilesOf(set, split)) {
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
  return path.ends_with(".gz") ? ReadGzip(data_folder / path) : ReadFile(data_folder / path);
}

std::vector<SourcedRow> LoadRows(const RowSet& set, std::string_view split_name,
                                 std::string_view only_subset,
                                 const std::filesystem::path& data_folder) {
  const RowSet::Split& split = set.FindSplit(split_name, set.name);
  std::vector<std::string> subsets = set.subsets;
  if (subsets.empty()) subsets.emplace_back();
  if (!only_subset.empty()) {
    if (std::ranges::find(subsets, only_subset) == subsets.end()) {
      ThrowUnknownName(set.name, "subset", only_subset, subsets);
    }
    subsets = {std::string(only_subset)};
  }
  std::vector<SourcedRow> rows;
  for (const std::string& subset : subsets) {
    const std::string path = PathOf(split.path, subset);
    const std::filesystem::path there = PathOnDisk(data_folder, path);
    std::error_code ignored;
    if (!std::filesystem::exists(there, ignored)) {
      ThrowBadInput(StrCat(set.name, ":", split.name), StrCat("the file ", there.string()), "none",
                    data_folder.empty() ? "name the folder by --data or QUALM_DATA"
                                        : StrCat("it comes from: ", set.source));
    }
    std::vector<Row> read =
        ReadRows(ReadDataFile(data_folder, path), split.format, (data_folder / path).string());
    if (!split.beside.empty()) AddBeside(split, data_folder, read);
    for (size_t i = 0; i < read.size(); ++i) rows.push_back({std::move(read[i]), subset, i});
  }
  return rows;
}

}  // namespace qualm
