// Names, checks and sizes of the schemes for the key-value cache.
#include "artefact/kv_scheme.h"

#include <array>

#include "artefact/codebook.h"
#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr int kFewestGroupTokens = 8;
constexpr int kMostGroupTokens = 1024;  // more than that would stay float in most texts

// The checks that keys and values have in common.
void ValidatePart(const KvPart& part) {
  // Positions are rounded one by one, so nothing may depend on a whole tensor or on fixed groups.
  part.scheme.Validate();
  if (part.scheme.second_level || HasByteScales(part.scheme.type) ||
      part.scheme.type == NumberType::kTable || part.scheme.zero_point == ZeroPointKind::kOffset) {
    ThrowExpected("a type with one float scale per group for the cache", part.scheme.ShortName(),
                  "int2 .. int8, nf4 or an fp8 type");
  }
}

// The part's piece of the short name, such as "int4-head-asym".
std::string ShortName(const KvPart& part, int group_tokens) {
  std::string name(NameOf(part.scheme.type));
  if (part.scheme.type == NumberType::kInteger) name += StrCat(part.scheme.bits);
  name += StrCat("-", NameOf(part.granularity));
  if (part.granularity == KvGranularity::kChannel) name += StrCat(group_tokens);
  if (!part.scheme.is_symmetric()) name += "-asym";
  return name;
}

// Bytes that one position's keys (or values) take, with their share of scales and zero points.
double BytesOf(const KvPart& part, int group_tokens, size_t kv_heads, size_t head_dim) {
  const auto values = static_cast<double>(kv_heads * head_dim);
  // A position has one scale, one for each head, or a part of the scales of a group of tokens.
  double points = 1;
  if (part.granularity == KvGranularity::kHead) points = static_cast<double>(kv_heads);
  if (part.granularity == KvGranularity::kChannel) points = values / group_tokens;

  const auto scale_bytes = static_cast<double>(SizeOf(part.scheme.scale_type));
  double zero_bytes = 0;
  if (part.scheme.zero_point == ZeroPointKind::kInteger) zero_bytes = part.scheme.bits / 8.0;
  if (part.scheme.zero_point == ZeroPointKind::kFloat) zero_bytes = scale_bytes;
  return values * part.scheme.bits / 8.0 + points * (scale_bytes + zero_bytes);
}

}  // namespace

EnumNames NamesOfEnum(KvGranularity) {
  static constexpr std::array<std::string_view, 3> kNames = {"token", "head", "channel"};
  return {"granularity", kNames};
}

std::string_view NameOf(KvGranularity granularity) { return NameOfEnum(granularity); }

void KvCacheScheme::Validate() const {
  ValidatePart(keys);
  ValidatePart(values);
  // Keys are grouped by channel because some of their channels are much larger; values have none.
  if (values.granularity == KvGranularity::kChannel) {
    ThrowExpected("values per token or head", "channel", "keys may be quantized so");
  }

  // Only keys per channel have groups of tokens.
  const bool is_channel = keys.granularity == KvGranularity::kChannel;
  const bool is_in_range =
      key_group_tokens >= kFewestGroupTokens && key_group_tokens <= kMostGroupTokens;
  if (is_channel && !is_in_range) {
    ThrowExpected(StrCat("group_tokens in ", kFewestGroupTokens, "..", kMostGroupTokens),
                  StrCat(key_group_tokens), "32 is usual");
  }
  if (!is_channel && key_group_tokens != 0) {
    ThrowExpected("group_tokens with keys per channel only", StrCat(key_group_tokens));
  }
}

std::string KvCacheScheme::ShortName() const {
  return StrCat("k:", qualm::ShortName(keys, key_group_tokens), " v:", qualm::ShortName(values, 0));
}

double KvCacheScheme::BytesPerPosition(size_t kv_heads, size_t head_dim) const {
  return BytesOf(keys, key_group_tokens, kv_heads, head_dim) +
         BytesOf(values, 0, kv_heads, head_dim);
}

}  // namespace qualm
