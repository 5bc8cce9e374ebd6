// Which file of a folder is the tokenizer.
#pragma once

#include <filesystem>

namespace qualm {

// The file that LoadTokenizer reads first; empty if the folder has no tokenizer.
std::filesystem::path TokenizerFileIn(const std::filesystem::path& folder);

}  // namespace qualm
