// The 13-grams of calibration sequences become hashes, which are written next to the model; the
// 13-grams of a test text are looked up among them.
#include "data/overlap.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"
#include "io/tensor_file.h"

namespace qualm {
namespace {

constexpr const char* kTensorName = "hashes";

uint64_t HashOfGram(std::span<const TokenId, kOverlapGram> ids) {
  std::array<unsigned char, kOverlapGram * 4> bytes;
  for (size_t i = 0; i < kOverlapGram; ++i) {
    const auto id = static_cast<uint32_t>(ids[i]);
    for (size_t b = 0; b < 4; ++b) bytes[4 * i + b] = static_cast<unsigned char>(id >> (8 * b));
  }
  return Hash64(bytes.data(), bytes.size());
}

template <typename Body>
void ForGrams(std::span<const TokenId> ids, const Body& body) {
  for (size_t i = 0; i + kOverlapGram <= ids.size(); ++i) {
    body(HashOfGram(ids.subspan(i).first<kOverlapGram>()));
  }
}

}  // namespace

std::vector<uint64_t> GramHashes(std::span<const std::vector<TokenId>> sequences) {
  std::vector<uint64_t> hashes;
  for (const std::vector<TokenId>& sequence : sequences) {
    ForGrams(sequence, [&](uint64_t hash) { hashes.push_back(hash); });
  }
  std::ranges::sort(hashes);
  hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
  return hashes;
}

Overlap MeasureOverlap(std::span<const uint64_t> hashes, std::span<const TokenId> ids) {
  Overlap overlap;
  ForGrams(ids, [&](uint64_t hash) {
    ++overlap.grams;
    if (std::ranges::binary_search(hashes, hash)) ++overlap.found;
  });
  return overlap;
}

void WriteGramHashes(const std::filesystem::path& folder, std::span<const uint64_t> hashes) {
  const TensorToWrite tensor = {kTensorName, DType::kI64, {hashes.size()}, std::as_bytes(hashes)};
  WriteSafetensors(folder / kCalibrationGramsName, {&tensor, 1},
                   {{"format", "qualm"}, {"gram", StrCat(kOverlapGram)}});
}

std::optional<std::vector<uint64_t>> ReadGramHashes(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kCalibrationGramsName;
  if (!std::filesystem::exists(path)) return std::nullopt;
  const TensorFile file = TensorFile::Open(path);
  const TensorView& tensor = file.Get(kTensorName);
  if (tensor.type != DType::kI64 || tensor.shape.size() != 1) {
    ThrowBadInput(path.string(), "hashes I64 [n]",
                  StrCat(NameOf(tensor.type), " with ", tensor.shape.size(), " dimensions"));
  }
  std::vector<uint64_t> hashes(tensor.elements());
  if (!hashes.empty()) std::memcpy(hashes.data(), tensor.bytes.data(), tensor.bytes.size());
  if (!std::ranges::is_sorted(hashes)) {
    ThrowBadInput(path.string(), "hashes in rising order", "others", "the file is damaged");
  }
  return hashes;
}

}  // namespace qualm
