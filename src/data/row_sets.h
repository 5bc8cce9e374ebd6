// Data sets of rows that are known by name: those of datasets/*.yaml with `kind: rows`, compiled
// in. Each says which files hold its splits and how a file becomes rows. The files are the user's.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/rows.h"
#include "io/input_set.h"

namespace qualm {

struct RowSet {
  std::string name, title, citation, licence, source;
  std::string note;     // where the files at hand are a part or a substitute; empty: they are not
  InputSet definition;  // the text of a set that is compiled in; of another one empty
  RowFormat format;
  // Parts of the set, each in files of its own, "abstract_algebra"; empty: there are none.
  std::vector<std::string> subsets;
  // Name and path below the data folder; {subset} in it is the subset's name, and what stands
  // behind a colon names a file inside a zip archive. Each may have a reader of its own.
  struct Split {
    std::string name, path;
    std::vector<std::string> more_paths;  // of a set of the user's: files that follow the first
    RowFormat format;
    std::string beside, beside_field;  // a file with a line for every row, and the field it becomes
    // HashOfFiles of the files that qualm's own numbers were made with; empty: none were.
    std::string hash;
  };
  std::vector<Split> splits;
  // Where `qualm data pull` gets the files; empty: nowhere, `source` says how to come by them.
  std::string pull_from;  // an address that `at` goes behind
  struct PullFile {
    std::string path, at, sha256;  // path: below the data folder
    uint64_t bytes = 0;
  };
  std::vector<PullFile> pull_files;

  // kWholeSet also finds the only split of a set. Throws bad input with the nearest name.
  const Split& FindSplit(std::string_view split, std::string_view place) const;
};

// The split of a set whose files do not say one.
inline constexpr const char* kWholeSet = "all";

// Strict: an unknown key or reader is bad input with its line. The user's own sets need no title,
// citation, licence and source.
RowSet ParseRowSet(std::string_view yaml_text, std::string_view place, bool is_users = false);

std::span<const RowSet> AllRowSets();
// A name, or a path of a file or folder of the user's (data/local_sets.h): what has a slash or ends
// like a data file. Throws bad input with the nearest name.
const RowSet& FindRowSet(std::string_view name, std::string_view place);

// A row with where it came from.
struct SourcedRow {
  Row row;
  std::string subset;  // empty: the set has none
  size_t index = 0;    // in its file, from 0
};

// All rows of a split, or of one of its subsets; the set's definition and the files that were read
// are added to `inputs`, if it is not null. Throws bad input for a file that is not there, with
// where it was looked for and where to get it.
std::vector<SourcedRow> LoadRows(const RowSet& set, std::string_view split,
                                 std::string_view only_subset,
                                 const std::filesystem::path& data_folder,
                                 InputSet* inputs = nullptr);
// Adds the definition and the files that LoadRows would read, without reading them.
void AddRowFiles(const RowSet& set, const RowSet::Split& split, std::string_view only_subset,
                 const std::filesystem::path& data_folder, InputSet& inputs);
// Adds a file below the data folder; one inside an archive is the archive.
void AddDataFile(const std::filesystem::path& data_folder, const std::string& path,
                 InputSet& inputs);

// The files of a split, in the subsets' order, below the data folder; stars in names stand for all
// files that fit, by name.
std::vector<std::string> FilesOf(const RowSet& set, const RowSet::Split& split,
                                 const std::filesystem::path& data_folder);
// "test-00000-of-00002.parquet" with a star for the shard's number; other names stay as they are.
std::string WithShardStar(std::string name);
// The first file of the split, or of one of its subsets, that is not there; empty: all are.
std::string MissingFile(const RowSet& set, const RowSet::Split& split, std::string_view only_subset,
                        const std::filesystem::path& data_folder);
// Over the hashes of the files, in that order. A file inside an archive stands for the archive.
std::string HashOfFiles(const RowSet& set, const RowSet::Split& split,
                        const std::filesystem::path& data_folder);
// Where a file is looked for; of one inside an archive, the archive.
std::filesystem::path PathOnDisk(const std::filesystem::path& data_folder, const std::string& path);
// The bytes of a file, or of one inside a zip archive ("a.zip:inner"); .gz and .zst files are
// unpacked.
std::string ReadDataFile(const std::filesystem::path& data_folder, const std::string& path);

}  // namespace qualm
