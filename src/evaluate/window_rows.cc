// The numbers of one window as bytes and back: what a journal appends and a store keeps.
#include <bit>
#include <cstring>

#include "evaluate/perplexity.h"
#include "io/hash.h"

namespace qualm {
namespace {

static_assert(std::endian::native == std::endian::little);

// Positions and 1 with a comparison (uint32 each), the numbers (float64: nll, then nll,
// reference_nll, kl, delta_p, same_top1 of each position), and XXH3 of all these bytes.
constexpr size_t kHeadBytes = 8, kHashBytes = 8;
constexpr size_t kComparisonFields = 5;
constexpr uint32_t kMostTargets = 1 << 24;

void AppendBytes(std::string& record, const void* data, size_t size_bytes) {
  record.append(static_cast<const char*>(data), size_bytes);
}

}  // namespace

std::string BytesOf(const WindowRows& rows) {
  const uint32_t head[2] = {static_cast<uint32_t>(rows.nll.size()),
                            rows.comparison.empty() ? 0U : 1U};
  std::string record;
  AppendBytes(record, head, sizeof(head));
  AppendBytes(record, rows.nll.data(), rows.nll.size() * sizeof(double));
  for (const RowComparison& one : rows.comparison) {
    const double fields[kComparisonFields] = {one.nll, one.reference_nll, one.kl, one.delta_p,
                                              one.same_top1 ? 1.0 : 0.0};
    AppendBytes(record, fields, sizeof(fields));
  }
  const uint64_t hash = Hash64(record.data(), record.size());
  AppendBytes(record, &hash, sizeof(hash));
  return record;
}

std::optional<WindowRows> WindowRowsOf(std::string_view bytes, size_t& used) {
  // The sizes are checked before they are used, since they may be garbage.
  uint32_t head[2];
  if (bytes.size() < kHeadBytes + kHashBytes) return std::nullopt;
  std::memcpy(head, bytes.data(), sizeof(head));
  const size_t targets = head[0];
  if (targets == 0 || targets > kMostTargets || head[1] > 1) return std::nullopt;
  const size_t numbers = targets * (1 + (head[1] == 1 ? kComparisonFields : 0));
  const size_t body = kHeadBytes + numbers * sizeof(double);
  if (bytes.size() < body + kHashBytes) return std::nullopt;

  // The hash covers everything before it.
  uint64_t hash = 0;
  std::memcpy(&hash, bytes.data() + body, sizeof(hash));
  if (hash != Hash64(bytes.data(), body)) return std::nullopt;
  used = body + kHashBytes;

  // From here on every number is as it was written.
  WindowRows rows;
  rows.nll.resize(targets);
  const char* at = bytes.data() + kHeadBytes;
  std::memcpy(rows.nll.data(), at, targets * sizeof(double));
  at += targets * sizeof(double);
  for (size_t i = 0; head[1] == 1 && i < targets; ++i, at += kComparisonFields * sizeof(double)) {
    double fields[kComparisonFields];
    std::memcpy(fields, at, sizeof(fields));
    rows.comparison.push_back({.nll = fields[0],
                               .reference_nll = fields[1],
                               .kl = fields[2],
                               .delta_p = fields[3],
                               .same_top1 = fields[4] != 0});
  }
  return rows;
}

}  // namespace qualm
