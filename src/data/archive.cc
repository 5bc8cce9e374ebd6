// Unpacks zip entries, gzip and zstd files piece by piece.
#include "data/archive.h"

#include <zip.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/opened_files.h"
#include "base/strings.h"
#include "data/budget.h"

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

// Collects unpacked bytes piece by piece, so that no declared size is trusted.
class Collector {
 public:
  Collector(uint64_t packed_bytes, uint64_t max_bytes, std::string_view place)
      : limit_(std::min(max_bytes, Budget::LimitFor(packed_bytes))),
        place_(place),
        piece_(size_t{1} << 20) {}

  std::vector<char>& piece() { return piece_; }

  // The first `count` bytes of the piece.
  void Add(size_t count) {
    if (count > limit_ - bytes_.size()) {
      ThrowBadInput(
          place_,
          StrCat("at most ", HumanBytes(limit_), " unpacked, the budget of a file of this size"),
          "more");
    }
    bytes_.append(piece_.data(), count);
  }
  std::string Take() { return std::move(bytes_); }

 private:
  uint64_t limit_;
  std::string place_;
  std::vector<char> piece_;
  std::string bytes_;
};

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

  // The entry must exist; its size is compared after unpacking.
  const std::string name(entry), place = StrCat(archive.string(), ":", entry);
  zip_stat_t stat;
  if (zip_stat(zip.get(), name.c_str(), 0, &stat) != 0) {
    ThrowUnknownName(archive.string(), "entry", entry, EntriesOf(zip.get()));
  }
  const std::unique_ptr<zip_file_t, CloseEntry> file(zip_fopen(zip.get(), name.c_str(), 0));
  if (!file) ThrowBadInput(place, "an entry that can be read", zip_strerror(zip.get()));
  Collector collector(stat.comp_size, max_bytes, place);
  zip_int64_t count;
  while ((count = zip_fread(file.get(), collector.piece().data(), collector.piece().size())) > 0) {
    collector.Add(static_cast<size_t>(count));
  }

  // The library compares the checksum when it reads the end.
  std::string bytes = collector.Take();
  if (count < 0) ThrowBadInput(place, "the checksum that the archive names", "a damaged entry");
  if (bytes.size() != stat.size) {
    ThrowBadInput(place, StrCat(stat.size, " bytes"), StrCat(bytes.size()));
  }
  return bytes;
}

std::string ReadGzip(const std::filesystem::path& path, uint64_t max_bytes) {
  const std::unique_ptr<gzFile_s, CloseGzip> file(gzopen(path.c_str(), "rb"));
  if (!file) ThrowBadInput(path.string(), "a file that can be read", "none");
  NoteOpened(path);
  Collector collector(std::filesystem::file_size(path), max_bytes, path.string());
  std::vector<char>& piece = collector.piece();
  int count;
  while ((count = gzread(file.get(), piece.data(), static_cast<unsigned>(piece.size()))) > 0) {
    collector.Add(static_cast<size_t>(count));
  }

  // The library checks the sum of the contents when it reads the end.
  int code = 0;
  const char* text = gzerror(file.get(), &code);
  if (count < 0 || code != Z_OK) ThrowBadInput(path.string(), "a whole gzip file", text);
  return collector.Take();
}

std::string ReadZstd(const std::filesystem::path& path, uint64_t max_bytes) {
  const std::string packed = ReadFile(path);
  Collector collector(packed.size(), max_bytes, path.string());
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(),
                                                                          ZSTD_freeDStream);
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  size_t left = 1;  // 0 at the end of a frame; a file may have several

  while (in.pos < in.size || left != 0) {
    ZSTD_outBuffer out{collector.piece().data(), collector.piece().size(), 0};
    const size_t before = in.pos;
    left = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(left) != 0) {
      ThrowBadInput(path.string(), "a whole zstd file", ZSTD_getErrorName(left));
    }
    collector.Add(out.pos);
    if (in.pos == before && out.pos == 0 && left != 0) {
      ThrowBadInput(path.string(), "a whole zstd file", "one that is cut off");
    }
  }
  return collector.Take();
}

}  // namespace qualm
