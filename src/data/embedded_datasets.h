// The files of datasets/, compiled in by cmake/Qualm.cmake (qualm_embed).
#pragma once

#include <span>
#include <string_view>

namespace qualm {

struct EmbeddedFile {
  std::string_view name;  // "ptb.yaml"
  std::string_view text;
};

std::span<const EmbeddedFile> EmbeddedDatasets();  // by name

// Whether the file says `kind: rows`: a row_sets.h data set, else a named_corpora.h corpus.
inline bool IsRowSet(const EmbeddedFile& file) { return file.text.starts_with("kind: rows\n"); }

}  // namespace qualm
