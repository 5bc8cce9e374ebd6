// The journal of an unfinished run: which blocks are written, and what the manifest will say of
// them. One JSON object a line: first the run's key, then a line per finished block in order.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "artefact/manifest.h"

namespace qualm {

struct JournalEntry {
  size_t block = 0;
  FileRecord file;
  std::vector<LayerRecord> layers;
  std::string times;  // seconds per stage as JSON text, for timings.json; decides nothing

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("block", self.block);
    visit("file", self.file.name);
    visit("hash", self.file.hash);
    visit("bytes", self.file.bytes);
    visit("layers", self.layers, {.optional = true});
    visit("times", self.times);
  }
};

class Journal {
 public:
  // Opens OUT/journal.jsonl or begins it. `run_key` identifies all inputs of the run: a journal of
  // another run is bad input. A torn last line (a killed run) is dropped. Entries whose file is
  // missing or has other bytes end the list.
  Journal(const std::filesystem::path& folder, const std::string& run_key);

  const std::vector<JournalEntry>& entries() const { return entries_; }
  // Appends a line and flushes it to disk.
  void Append(JournalEntry entry);
  // Removes the file: the manifest has taken over.
  void Finish();

 private:
  void Read(const std::string& run_key);
  void Rewrite(const std::string& run_key) const;

  std::filesystem::path folder_, path_;
  std::vector<JournalEntry> entries_;
};

}  // namespace qualm
