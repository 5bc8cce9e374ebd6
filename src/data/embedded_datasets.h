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

}  // namespace qualm
