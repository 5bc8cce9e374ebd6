// What a folder or file is that was given as a model, said before anything in it is read.
#pragma once

#include <filesystem>

namespace qualm {

// Throws bad input that says what `path` is and what to do, where it is not a float checkpoint in
// Hugging Face's form (or what qualm makes of one): a file (GGUF, torch, safetensors), git-lfs
// pointers, a checkpoint that another tool has quantized, an adapter, Meta's or
// Mistral's own form. A folder that looks right may still be incomplete.
void RequireModelFolder(const std::filesystem::path& path);

}  // namespace qualm
