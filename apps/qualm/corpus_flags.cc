// One home for the flags of texts, so that they mean the same everywhere.
#include "corpus_flags.h"

#include <filesystem>

#include "base/strings.h"
#include "data/named_corpora.h"
#include "evaluate/protocol.h"

namespace qualm::cli {

void AddCorpusFlags(Arguments& arguments, CorpusFlags& flags, const std::string& model) {
  arguments
      .Add(
          "--corpus", flags.corpora,
          "A .txt or .jsonl file, a folder of them, or a name ('qualm list corpora'); may be given "
          "several times")
      .OnePerFlag();
  AddDataFlag(arguments, flags.data);
  arguments.Add("--text-field", flags.text_field, "Key of the text in .jsonl lines").ShowDefault();
  arguments.Add("--protocol", flags.protocol, "See 'qualm list protocols'")
      .ShowDefault()
      .Checked([](const std::string& text) { (void)FindProtocol(text); });
  arguments
      .Add("--seqlen", flags.seqlen,
           StrCat("Tokens of a window; default: the protocol's, at most the context of ", model))
      .Positive();
  arguments.Add("--batch", flags.batch, "Windows per forward pass; changes no result").Positive();
}

NamedText ReadCorpus(const CorpusFlags& flags, const std::string& corpus, Progress& progress) {
  const Corpus found = FindCorpus(corpus, CorpusUse::kEvaluation, DataFolder(flags.data),
                                  {.text_field = flags.text_field});
  WarnOfBytes(found, progress);
  // A name without a split gets the split that was used.
  std::error_code ignored;
  return {std::filesystem::exists(corpus, ignored) ? corpus : found.name, found.Joined()};
}

}  // namespace qualm::cli
