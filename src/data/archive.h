// Files inside archives and compressed files, whole in memory. What unpacks to more than its budget
// (data/budget.h: 64 MiB and 64 times the compressed bytes) is refused, whatever it declares.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace qualm {

inline constexpr uint64_t kMostUnpackedBytes = uint64_t{1} << 32;

// Throws bad input for what is no zip archive, an entry that is not there (with the nearest), a
// damaged one, and one that unpacks to more than `max_bytes`.
std::string ReadZipEntry(const std::filesystem::path& archive, std::string_view entry,
                         uint64_t max_bytes = kMostUnpackedBytes);
// Likewise.
std::string ReadGzip(const std::filesystem::path& file, uint64_t max_bytes = kMostUnpackedBytes);
std::string ReadZstd(const std::filesystem::path& file, uint64_t max_bytes = kMostUnpackedBytes);

}  // namespace qualm
