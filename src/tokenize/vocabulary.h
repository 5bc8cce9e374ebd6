// The pieces of a tokenizer and their ids, both ways. Ids may have holes; pieces are unique.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

class Vocabulary {
 public:
  // No tokenizer in use comes near; keeps a hostile id from claiming memory.
  static constexpr int64_t kMaxId = (int64_t{1} << 22) - 1;

  // Throws bad input at `place` for an id out of range or already taken, or a piece already there.
  void Add(std::string_view piece, int64_t id, std::string_view place);
  // The same for a piece that may be there already: Find gives the newer id from then on.
  void AddOrRepoint(std::string_view piece, int64_t id, std::string_view place);

  // The id of `piece`, or -1.
  TokenId Find(std::string_view piece) const;
  // Empty for a hole and for ids out of range.
  std::string_view Piece(TokenId id) const;
  bool Has(TokenId id) const;
  size_t size() const { return entries_.size(); }  // largest id + 1
  size_t pieces() const { return used_; }

 private:
  struct Entry {
    uint64_t offset = 0;  // into text_
    uint32_t length = 0;
    bool used = false;
  };
  void RequireFree(std::string_view piece, int64_t id, std::string_view place) const;
  // The slot of `piece`, or the free one where it would go. Requires: slots_ not empty.
  size_t SlotOf(std::string_view piece) const;
  void Grow();

  std::string text_;            // all pieces one after the other
  std::vector<Entry> entries_;  // by id
  std::vector<TokenId> slots_;  // open addressing over the pieces' bytes; -1 is free
  size_t used_ = 0;
};

// A fast hash of short byte strings for tables inside one process.
uint64_t HashShort(std::string_view bytes);

}  // namespace qualm
