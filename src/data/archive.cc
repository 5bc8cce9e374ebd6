#include "data/archive.h"

#include <zip.h>
#include <zlib.h>

#include <memory>
#include <vector>

#include "base/error.h"
#include "base/opened_files.h"
#include "base/strings.h"

namespace qualm {
namespace {

struct CloseZip {
  void operator()(zip_t* zip) const { zip_discard(zip); }
};
struct CloseEntry {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
struct CloseGzip {
  void operator()(gzFile_s* file) const { gzclose(file); }
};

std::vector<std::string> EntriesOf(zip_t* zip) {
  std::vector<std::string> names;
  for (zip_int64_t i = 0; i < zip_get_num_entries(zip, 0); ++i) {
    if (const char* name = zip_get_name(zip, static_cast<zip_uint64_t>(i), 0)) {
      names.emplace_back(name);
    }
  }
  return names;
}

void RequireSize(std::string_view place, uint64_t bytes, uint64_t max_bytes) {
  if (bytes <= max_bytes) return;
  ThrowBadInput(place, StrCat("at most ", HumanBytes(max_bytes), " unpacked"), HumanBytes(bytes));
}

}  // namespace

std::string ReadZipEntry(const std::filesystem::path& archive, std::string_view entry,
                         uint64_t max_bytes) {
  int code = 0;
  const std::unique_ptr<zip_t, CloseZip> zip(zip_open(archive.c_str(), ZIP_RDONLY, &code));
  if (!zip) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string text = zip_error_strerror(&error);
    zip_error_fini(&error);
    ThrowBadInput(archive.string(), "a zip archive", text);
  }
  NoteOpened(archive);
  const std::string name(entry), place = StrCat(archive.string(), ":", entry);
  zip_stat_t stat;
  if (zip_stat(zip.get(), name.c_str(), 0, &stat) != 0) {
    ThrowUnknownName(archive.string(), "entry", entry, EntriesOf(zip.get()));
  }
  RequireSize(place, stat.size, max_bytes);
  const std::unique_ptr<zip_file_t, CloseEntry> file(zip_fopen(zip.get(), name.c_str(), 0));
  std::string bytes(stat.size, '\0');
  // One byte more than promised would mean a size that lies.
  if (!file ||
      zip_fread(file.get(), bytes.data(), bytes.size()) != static_cast<zip_int64_t>(bytes.size())) {
    ThrowBadInput(place, StrCat(bytes.size(), " bytes"), "a damaged entry");
  }
  char more;
  if (zip_fread(file.get(), &more, 1) != 0) {
    ThrowBadInput(place, "the checksum that the archive names", "a damaged entry");
  }
  return bytes;
}

std::string ReadGzip(const std::filesystem::path& path, uint64_t max_bytes) {
  const std::unique_ptr<gzFile_s, CloseGzip> file(gzopen(path.c_str(), "rb"));
  if (!file) ThrowBadInput(path.string(), "a file that can be read", "none");
  NoteOpened(path);
  std::string bytes;
  std::vector<char> piece(size_t{1} << 20);
  int count;
  while ((count = gzread(file.get(), piece.data(), static_cast<unsigned>(piece.size()))) > 0) {
    bytes.append(piece.data(), static_cast<size_t>(count));
    RequireSize(path.string(), bytes.size(), max_bytes);
  }
  int code = 0;
  const char* text = gzerror(file.get(), &code);
  if (count < 0 || code != Z_OK) ThrowBadInput(path.string(), "a whole gzip file", text);
  return bytes;
}

}  // namespace qualm
