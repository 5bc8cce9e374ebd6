// Corpora that are known by name: datasets/*.yaml, compiled in. Each says which files hold its
// splits, how a file becomes documents and how documents are joined. The files themselves are the
// user's.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/corpus.h"

namespace qualm {

struct NamedCorpus {
  std::string name, title, citation, licence, source;
  InputSet definition;                                      // the text, where it is compiled in
  std::string reader;                                       // of CorpusReaderNames()
  std::string join;                                         // between documents
  std::vector<std::pair<std::string, std::string>> splits;  // name, path below the data folder
  std::string calibration, evaluation;  // the split that is meant if none is said
};

// Strict: an unknown key, reader or split is bad input with its line.
NamedCorpus ParseNamedCorpus(std::string_view yaml_text, std::string_view place);

std::span<const NamedCorpus> AllNamedCorpora();
std::vector<std::string> CorpusReaderNames();

enum class CorpusUse { kCalibration, kEvaluation };

// A path if there is such a file or folder; else a name, "ptb", or a name and a split, "ptb:train",
// whose file is looked for below `data_folder`. Throws bad input for an unknown name (with the
// nearest), an unknown split, and a file that is not there (with where it was looked for).
Corpus FindCorpus(const std::string& path_or_name, CorpusUse use,
                  const std::filesystem::path& data_folder, const CorpusOptions& options = {});

// `flag` if it is not empty, else the environment variable QUALM_DATA, else the key `data` of the
// configuration ($XDG_CONFIG_HOME or ~/.config, qualm/config.yaml), else empty. Throws bad input
// for a configuration with other keys.
std::filesystem::path DataFolder(const std::string& flag);

}  // namespace qualm
