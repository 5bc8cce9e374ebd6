// How keys and values are kept in the cache of a quantized model.
//
// Each position is rounded when it is stored, per token or per head of a token, and every reader
// sees the rounded values. Keys may instead be rounded per channel over `key_group_tokens`
// consecutive positions (KIVI, Liu et al. 2024, section 3.2). Positions are then grouped by their
// absolute place, and the query at position t sees rounded keys of the groups that are complete
// with position t, and float keys after them, exactly as if the tokens came one by one.
#pragma once

#include <string>
#include <string_view>

#include "artefact/scheme.h"

namespace qualm {

enum class KvGranularity { kToken, kHead, kChannel };
std::string_view NameOf(KvGranularity granularity);
EnumNames NamesOfEnum(KvGranularity);

// How keys, or values, are rounded.
struct KvPart {
  // Type, bits and zero points; its granularity is not used.
  Scheme scheme;
  KvGranularity granularity = KvGranularity::kHead;
  bool operator==(const KvPart&) const = default;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("granularity", self.granularity);
    visit("scheme", self.scheme);
  }
};

// How the cache of a model is rounded.
struct KvCacheScheme {
  KvPart keys, values;
  int key_group_tokens = 0;  // for keys per channel; otherwise 0

  bool operator==(const KvCacheScheme&) const = default;
  // Throws bad input for values per channel, for groups of keys that are too small or too large,
  // and for types that define their own groups.
  void Validate() const;
  // "k:int4-channel32-asym v:int4-head-asym"
  std::string ShortName() const;
  // Bytes of codes, scales and zero points of one position, all groups complete.
  double BytesPerPosition(size_t kv_heads, size_t head_dim) const;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("keys", self.keys);
    visit("values", self.values);
    visit("key_group_tokens", self.key_group_tokens, {.range = InRange(0, 1 << 24)});
  }
};

}  // namespace qualm
