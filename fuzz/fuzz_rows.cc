// Arbitrary bytes as a data file of any reader: bad input is refused, what is accepted are objects.
// The first byte chooses the reader, where the rows are in a JSON document, and the encoding.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "data/rows.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::vector<std::string> readers = qualm::RowReaderNames();
  qualm::RowFormat format;
  format.reader = readers[(data[0] & 63) % readers.size()];
  if ((data[0] & 64) != 0) format.encoding = "gbk";
  if (data[0] >= 128) format.records = "a.b";
  if (format.reader == "conll") format.columns = {"PER", "LOC"};
  try {
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    for (const qualm::Row& row : qualm::ReadRows(text, format, "fuzz"))
      QUALM_CHECK(row.is_object());
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
