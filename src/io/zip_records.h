// The records of a zip archive that are stored as they are, found without copying them: the form in
// which torch.save writes tensors.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string_view>

namespace qualm {

// Record names to their bytes, both inside `file_bytes` (the whole archive), which must outlive the
// result. Reads the zip and the zip64 form. Throws bad input without a place for a compressed or
// encrypted record, two records of one name, records that overlap, and anything outside the file.
std::map<std::string_view, std::span<const std::byte>> ReadStoredRecords(
    std::span<const std::byte> file_bytes);

}  // namespace qualm
