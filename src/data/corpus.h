// Texts to calibrate on or to measure: a list of documents with a name and a hash of the content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "io/input_set.h"

namespace qualm {

struct CorpusOptions {
  std::string text_field = "text";              // the key of a .jsonl line that holds the document
  uint64_t max_file_bytes = uint64_t{1} << 32;  // a larger file is bad input
};

struct Corpus {
  std::string name;                    // the file's or folder's name, such as "ptb.valid.txt"
  std::vector<std::string> documents;  // arbitrary bytes; at least one is not empty
  std::string hash;                    // over the documents, not the name
  std::string separator = "\n\n";      // between documents where they are joined
  InputSet inputs;                     // the files that it was read from

  std::string Joined() const;
  uint64_t size_bytes() const;  // of the documents alone
  // Bytes that are no UTF-8 and that tokenizers read as U+FFFD; many of them mean that this is no
  // text, or text in another encoding.
  uint64_t bytes_not_utf8() const;
};

// Reads a .jsonl file (one document a line), any other file (one document, as it is:
// "wiki.test.raw", "ptb.test.txt") or a folder (its .txt and .jsonl files in the order of their
// names; not its subfolders; other files are left alone). Throws bad input, for .jsonl with the
// line: a line that is not a JSON object, that lacks the field or holds another type there, and a
// corpus without text. Blank lines of a .jsonl file are left out.
Corpus LoadCorpus(const std::filesystem::path& path, const CorpusOptions& options = {});

// For texts that do not come from a file.
Corpus MakeCorpus(std::string_view name, std::vector<std::string> documents);

}  // namespace qualm
