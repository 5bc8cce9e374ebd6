// The tokenizer in the metadata of a GGUF file, as llama.cpp reads it.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "io/gguf.h"
#include "tokenize/tokenizer.h"

namespace qualm {

// Byte-level BPE ("gpt2", with the pattern that tokenizer.ggml.pre names) or SentencePiece
// ("llama"). Throws bad input for other kinds and for a pattern that is not known.
std::unique_ptr<Tokenizer> MakeGgufTokenizer(const GgufFile& file);
bool HasGgufTokenizer(const GgufFile& file);
// The same as files of a checkpoint, by their names: tokenizer.json or tokenizer.model, and
// tokenizer_config.json.
std::map<std::string, std::string> GgufTokenizerFiles(const GgufFile& file);

}  // namespace qualm
