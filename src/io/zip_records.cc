// Reads a zip archive from its end: the end record says where the directory lies, the directory
// says where each record lies. Every number is checked against the file before it is used. Field
// offsets are those of PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16.
#include "io/zip_records.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryEntry = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr size_t kLocalHeaderBytes = 30, kDirectoryEntryBytes = 46;
constexpr size_t kEndBytes = 22, kEnd64Bytes = 56, kEnd64LocatorBytes = 20;
// A field of all ones says that the number is in the zip64 part.
constexpr uint64_t kIn64 = 0xffffffff, kCountIn64 = 0xffff;

// Little-endian numbers of an archive; what lies outside of it is bad input.
class ZipBytes {
 public:
  explicit ZipBytes(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t size() const { return bytes_.size(); }

  std::span<const std::byte> Range(uint64_t begin, uint64_t count) const {
    if (begin > bytes_.size() || count > bytes_.size() - begin) {
      ThrowExpected(StrCat("parts of the archive within its ", bytes_.size(), " bytes"),
                    StrCat(count, " bytes at ", begin), "the file may be truncated");
    }
    return bytes_.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
  }

  template <class Number>
  Number Get(uint64_t at) const {
    Number value;
    std::memcpy(&value, Range(at, sizeof value).data(), sizeof value);
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
};

// Where the directory lies.
struct Directory {
  uint64_t offset = 0, bytes = 0, entries = 0;
};

// The end record is followed only by its own comment of at most 2^16 - 1 bytes.
uint64_t FindEnd(const ZipBytes& zip) {
  const uint64_t size = zip.size();
  for (uint64_t back = kEndBytes; back <= size && back <= kEndBytes + 0xffff; ++back) {
    const uint64_t at = size - back;
    if (zip.Get<uint32_t>(at) == kEnd && zip.Get<uint16_t>(at + 20) == back - kEndBytes) return at;
  }
  ThrowExpected("a zip archive with its directory at the end", "none", "the file may be truncated");
}

Directory FindDirectory(const ZipBytes& zip) {
  const uint64_t end = FindEnd(zip);
  Directory directory{zip.Get<uint32_t>(end + 16), zip.Get<uint32_t>(end + 12),
                      zip.Get<uint16_t>(end + 10)};

  // A large archive, or a writer that always does so, repeats these numbers with 64 bits.
  const bool has_64 = end >= kEnd64LocatorBytes + kEnd64Bytes &&
                      zip.Get<uint32_t>(end - kEnd64LocatorBytes) == kEnd64Locator;
  if (has_64) {
    const uint64_t end64 = zip.Get<uint64_t>(end - kEnd64LocatorBytes + 8);
    if (zip.Get<uint32_t>(end64) != kEnd64) ThrowExpected("a zip64 end record", "other bytes");
    const Directory wide{zip.Get<uint64_t>(end64 + 48), zip.Get<uint64_t>(end64 + 40),
                         zip.Get<uint64_t>(end64 + 32)};

    // Two directories would mean two different archives to two readers.
    const bool is_same = (directory.offset == kIn64 || directory.offset == wide.offset) &&
                         (directory.bytes == kIn64 || directory.bytes == wide.bytes) &&
                         (directory.entries == kCountIn64 || directory.entries == wide.entries);
    if (!is_same) ThrowExpected("one directory", "two that differ (zip and zip64)");
    directory = wide;
  }

  (void)zip.Range(directory.offset, directory.bytes);
  if (directory.offset + directory.bytes > end) {
    ThrowExpected("a directory before the end record", StrCat("one at ", directory.offset));
  }
  return directory;
}

// What the directory says of one record.
struct Entry {
  std::string_view name;
  uint64_t packed = 0, unpacked = 0, header = 0;  // bytes, bytes, offset of the local header
};

// "record 'a/data.pkl'"; a hostile name is cut short.
std::string RecordPlace(std::string_view name) {
  return StrCat("record '", name.substr(0, 200), "'");
}

// Replaces the numbers that are too wide for the entry's own fields by those of its zip64 part.
void Widen(const ZipBytes& zip, uint64_t extra, uint64_t extra_bytes, Entry& entry) {
  std::vector<uint64_t*> wide;
  for (uint64_t* field : {&entry.unpacked, &entry.packed, &entry.header}) {
    if (*field == kIn64) wide.push_back(field);
  }
  if (wide.empty()) return;

  // Parts follow one another, each with its kind and length.
  const uint64_t end = extra + extra_bytes;
  while (extra + 4 <= end) {
    const auto kind = zip.Get<uint16_t>(extra);
    const uint64_t bytes = zip.Get<uint16_t>(extra + 2);
    extra += 4;
    if (kind == 1 && extra + bytes <= end && bytes >= 8 * wide.size()) {
      for (size_t i = 0; i < wide.size(); ++i) *wide[i] = zip.Get<uint64_t>(extra + 8 * i);
      return;
    }
    extra += bytes;
  }
  ThrowExpected("a zip64 part with the record's sizes", "none");
}

// Reads the entry at `at` and moves it to the next one.
Entry ReadEntry(const ZipBytes& zip, uint64_t& at) {
  if (zip.Get<uint32_t>(at) != kDirectoryEntry) ThrowExpected("a directory entry", "other bytes");
  Entry entry;
  entry.packed = zip.Get<uint32_t>(at + 20);
  entry.unpacked = zip.Get<uint32_t>(at + 24);
  entry.header = zip.Get<uint32_t>(at + 42);
  const uint64_t name_bytes = zip.Get<uint16_t>(at + 28), extra_bytes = zip.Get<uint16_t>(at + 30);
  const auto name = zip.Range(at + kDirectoryEntryBytes, name_bytes);
  entry.name = {reinterpret_cast<const char*>(name.data()), name.size()};

  const auto flags = zip.Get<uint16_t>(at + 8), method = zip.Get<uint16_t>(at + 10);
  At([&] { return RecordPlace(entry.name); },
     [&] {
       (void)zip.Range(at + kDirectoryEntryBytes + name_bytes, extra_bytes);
       Widen(zip, at + kDirectoryEntryBytes + name_bytes, extra_bytes, entry);
       if ((flags & 1) != 0) ThrowExpected("a record that is not encrypted", "an encrypted one");
       if (method != 0 || entry.packed != entry.unpacked) {
         ThrowExpected(
             "a record that is stored as it is", StrCat("a compressed one (method ", method, ")"),
             "torch.save does not compress: the archive was packed again by another tool");
       }
     });
  at += kDirectoryEntryBytes + name_bytes + extra_bytes + zip.Get<uint16_t>(at + 32);
  return entry;
}

// The bytes of a record, which follow its local header. That header repeats the name; its sizes may
// be zero, and are not read.
std::span<const std::byte> BytesOf(const ZipBytes& zip, const Entry& entry) {
  if (zip.Get<uint32_t>(entry.header) != kLocalHeader) {
    ThrowExpected("a local header", "other bytes");
  }
  const uint64_t name_bytes = zip.Get<uint16_t>(entry.header + 26);
  const auto name = zip.Range(entry.header + kLocalHeaderBytes, name_bytes);
  if (std::string_view(reinterpret_cast<const char*>(name.data()), name.size()) != entry.name) {
    ThrowExpected("the same name in the directory and before the record", "two names");
  }
  const uint64_t extra_bytes = zip.Get<uint16_t>(entry.header + 28);
  return zip.Range(entry.header + kLocalHeaderBytes + name_bytes + extra_bytes, entry.unpacked);
}

// A byte of the file belongs to one record, or to the directory.
void CheckOverlaps(std::vector<std::pair<uint64_t, uint64_t>>& extents,
                   const Directory& directory) {
  extents.emplace_back(directory.offset, directory.offset + directory.bytes);
  std::ranges::sort(extents);
  for (size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].first >= extents[i - 1].second) continue;
    ThrowExpected("records that do not overlap", StrCat("two at ", extents[i].first));
  }
}

}  // namespace

std::map<std::string_view, std::span<const std::byte>> ReadStoredRecords(
    std::span<const std::byte> file_bytes) {
  const ZipBytes zip(file_bytes);
  const Directory directory = FindDirectory(zip);
  std::map<std::string_view, std::span<const std::byte>> records;
  std::vector<std::pair<uint64_t, uint64_t>> extents;

  // Each entry takes bytes of the directory, so that a wrong count ends at its end.
  uint64_t at = directory.offset;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    const Entry entry = ReadEntry(zip, at);
    if (at > directory.offset + directory.bytes) {
      ThrowExpected(StrCat("a directory of ", directory.entries, " entries"), "fewer");
    }
    const std::span<const std::byte> bytes =
        At([&] { return RecordPlace(entry.name); }, [&] { return BytesOf(zip, entry); });
    if (!records.emplace(entry.name, bytes).second) {
      ThrowBadInput(RecordPlace(entry.name), "one record of each name", "two");
    }
    const auto end = static_cast<uint64_t>(bytes.data() - file_bytes.data()) + bytes.size();
    extents.emplace_back(entry.header, end);
  }
  CheckOverlaps(extents, directory);
  return records;
}

}  // namespace qualm
