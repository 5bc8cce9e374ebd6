// Three steps from a name to a corpus: the table of readers says how a file's text becomes
// documents, the YAML files say which files and which reader a corpus has, and the folder of data
// sets says where the user keeps the files.
#include "data/named_corpora.h"

#include <array>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "data/embedded_datasets.h"
#include "io/yaml.h"

namespace qualm {
namespace {

using Documents = std::vector<std::string>;

template <typename MakeRow>
Documents ReadRows(std::string_view text, const MakeRow& make_row) {
  Documents documents;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    documents.push_back(make_row(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return documents;
}

// A document a line, without white space around it.
Documents ReadLines(const std::string& text) {
  return ReadRows(text, [](std::string_view line) { return std::string(Trim(line)); });
}

// A row a line: it keeps its newline, and a blank one is empty (PROTOCOLS, section 1).
Documents ReadWikitextRows(const std::string& text) {
  return ReadRows(text, [](std::string_view line) {
    return Trim(line).empty() ? std::string() : StrCat(line, "\n");
  });
}

struct Reader {
  const char* name;
  Documents (*read)(const std::string& text);
};

// ADD A READER: a function from a file's text to documents, and a line here.
constexpr Reader kReaders[] = {
    {"lines", ReadLines},
    {"wikitext-rows", ReadWikitextRows},
};

const Reader& FindReader(std::string_view name, std::string_view place) {
  for (const Reader& reader : kReaders) {
    if (reader.name == name) return reader;
  }
  ThrowUnknownName(place, "reader", name, CorpusReaderNames());
}

std::vector<std::string> SplitNames(const NamedCorpus& corpus) {
  std::vector<std::string> names;
  for (const auto& [name, path] : corpus.splits) names.push_back(name);
  return names;
}

const std::string& PathOfSplit(const NamedCorpus& corpus, std::string_view split,
                               std::string_view place) {
  for (const auto& [name, path] : corpus.splits) {
    if (name == split) return path;
  }
  ThrowUnknownName(place, StrCat("split of ", corpus.name), split, SplitNames(corpus));
}

std::vector<std::string> CorpusNames() {
  std::vector<std::string> names;
  for (const NamedCorpus& corpus : AllNamedCorpora()) names.push_back(corpus.name);
  return names;
}

const NamedCorpus& FindNamed(const std::string& name, const std::string& given) {
  for (const NamedCorpus& corpus : AllNamedCorpora()) {
    if (corpus.name == name) return corpus;
  }
  const std::string nearest = NearestName(name, CorpusNames());
  ThrowBadInput(given, StrCat("a file, a folder, or a corpus among ", Join(CorpusNames(), ", ")),
                "none of them", nearest.empty() ? "" : StrCat("did you mean '", nearest, "'?"));
}

}  // namespace

std::vector<std::string> CorpusReaderNames() {
  std::vector<std::string> names;
  for (const Reader& reader : kReaders) names.emplace_back(reader.name);
  return names;
}

NamedCorpus ParseNamedCorpus(std::string_view yaml_text, std::string_view place) {
  const Yaml yaml = Yaml::Parse(yaml_text, place);
  yaml.RequireKnownKeys(std::array<std::string, 10>{"name", "title", "citation", "licence",
                                                    "source", "reader", "join", "splits",
                                                    "calibration", "evaluation"});
  NamedCorpus corpus;
  corpus.name = yaml.Get("name").AsString();
  corpus.title = yaml.Get("title").AsString();
  corpus.citation = yaml.Get("citation").AsString();
  corpus.licence = yaml.Get("licence").AsString();
  corpus.source = yaml.Get("source").AsString();
  corpus.reader = FindReader(yaml.Get("reader").AsString(), yaml.Get("reader").place()).name;
  corpus.join = yaml.Get("join").AsString();
  for (const auto& [split, path] : yaml.Get("splits").AsMap()) {
    corpus.splits.emplace_back(split, path.AsString());
  }
  for (auto [key, field] : {std::pair{"calibration", &NamedCorpus::calibration},
                            std::pair{"evaluation", &NamedCorpus::evaluation}}) {
    corpus.*field = yaml.Get(key).AsString();
    (void)PathOfSplit(corpus, corpus.*field, yaml.Get(key).place());
  }
  return corpus;
}

std::span<const NamedCorpus> AllNamedCorpora() {
  static const std::vector<NamedCorpus> corpora = [] {
    std::vector<NamedCorpus> all;
    for (const EmbeddedFile& file : EmbeddedDatasets()) {
      if (IsRowSet(file)) continue;
      all.push_back(ParseNamedCorpus(file.text, file.name));
      all.back().definition.AddText(StrCat("datasets/", file.name), file.text);
    }
    return all;
  }();
  return corpora;
}

Corpus FindCorpus(const std::string& path_or_name, CorpusUse use,
                  const std::filesystem::path& data_folder, const CorpusOptions& options) {
  std::error_code ignored;
  if (std::filesystem::exists(path_or_name, ignored)) return LoadCorpus(path_or_name, options);
  // What looks like a path is a path that is not there.
  const bool is_path = path_or_name.find_first_of("/.") != std::string::npos;
  if (is_path) return LoadCorpus(path_or_name, options);
  const size_t colon = path_or_name.find(':');
  const NamedCorpus& named = FindNamed(path_or_name.substr(0, colon), path_or_name);
  const std::string split = colon != std::string::npos       ? path_or_name.substr(colon + 1)
                            : use == CorpusUse::kCalibration ? named.calibration
                                                             : named.evaluation;
  const std::string& file = PathOfSplit(named, split, path_or_name);
  if (data_folder.empty()) {
    ThrowBadInput(path_or_name, "a data folder: --data FOLDER or QUALM_DATA", "none",
                  StrCat("it should hold ", file));
  }
  const std::filesystem::path path = data_folder / file;
  if (!std::filesystem::exists(path, ignored)) {
    ThrowBadInput(path_or_name, StrCat("the file ", path.string()), "none",
                  StrCat("get it from: ", named.source));
  }
  Corpus corpus =
      MakeCorpus(StrCat(named.name, ":", split),
                 FindReader(named.reader, named.name).read(ReadFile(path, options.max_file_bytes)));
  corpus.separator = named.join;
  // The same file, joined in another way, is another text.
  corpus.inputs.Add(named.definition);
  corpus.inputs.Add(file, path);
  return corpus;
}

std::filesystem::path DataFolder(const std::string& flag) {
  if (!flag.empty()) return flag;
  if (const char* environment = std::getenv("QUALM_DATA")) return environment;
  const char *config = std::getenv("XDG_CONFIG_HOME"), *home = std::getenv("HOME");
  if (config == nullptr && home == nullptr) return "";
  const std::filesystem::path file = (config != nullptr ? std::filesystem::path(config)
                                                        : std::filesystem::path(home) / ".config") /
                                     "qualm/config.yaml";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return "";
  const Yaml yaml = Yaml::ReadFile(file);
  yaml.RequireKnownKeys(std::array<std::string, 1>{"data"});
  return yaml.Get("data").AsString();
}

}  // namespace qualm
