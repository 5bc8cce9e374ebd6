// The flags that say which texts are scored and how they are cut: of qualm eval and qualm judge.
#pragma once

#include <string>
#include <vector>

#include "cli.h"

namespace qualm::cli {

struct CorpusFlags {
  std::vector<std::string> corpora;
  std::string text_field = "text", protocol = "gptq", data;
  size_t seqlen = 0, batch = 0;
};

// `model` is what the help calls the model whose context limits a window.
void AddCorpusFlags(Arguments& arguments, CorpusFlags& flags, const std::string& model);

// A text by the name that results have for it.
struct NamedText {
  std::string name, text;
};
// One of `flags.corpora`, joined as a whole. Warns of bytes that are not UTF-8. Throws bad input
// for a corpus that is not there.
NamedText ReadCorpus(const CorpusFlags& flags, const std::string& corpus, Progress& progress);

}  // namespace qualm::cli
