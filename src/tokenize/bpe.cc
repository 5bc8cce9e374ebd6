// The merges are in a hash table by their pair of symbols. Short texts look at every pair for each
// merge; long ones keep the possible merges in a heap.
#include "tokenize/bpe.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "base/error.h"

namespace qualm {
namespace {

constexpr uint32_t kNoMerge = std::numeric_limits<uint32_t>::max();

// Below this many symbols looking at every pair for each merge is faster than keeping a heap.
constexpr size_t kScanLimit = 32;

uint64_t KeyOf(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

size_t MergeTable::SlotOf(uint64_t key) const {
  uint64_t hash = key * 0x9e3779b97f4a7c15u;
  size_t slot = (hash ^ hash >> 32) & (slots_.size() - 1);
  while (slots_[slot].key != key && slots_[slot].key != kFree)
    slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::Grow() {
  std::vector<Slot> old(std::max<size_t>(16, slots_.size() * 2));
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.key != kFree) slots_[SlotOf(slot.key)] = slot;
  }
}

void MergeTable::Add(TokenId left, TokenId right, uint32_t rank, TokenId result) {
  QUALM_CHECK(left >= 0 && right >= 0 && rank != kNoMerge);
  if ((used_ + 1) * 2 > slots_.size()) Grow();
  Slot& slot = slots_[SlotOf(KeyOf(left, right))];
  if (slot.key == kFree) ++used_;
  slot = {KeyOf(left, right), {rank, result}};
}

const MergeTable::Merge* MergeTable::Find(TokenId left, TokenId right) const {
  if (left < 0 || right < 0 || slots_.empty()) return nullptr;
  const Slot& slot = slots_[SlotOf(KeyOf(left, right))];
  return slot.key == kFree ? nullptr : &slot.merge;
}

void MergeTable::Apply(std::vector<TokenId>& symbols, TokenId forbidden) const {
  if (symbols.size() <= kScanLimit) {
    ApplyByScanning(symbols, forbidden);
  } else {
    ApplyByHeap(symbols, forbidden);
  }
}

void MergeTable::ApplyByScanning(std::vector<TokenId>& symbols, TokenId forbidden) const {
  MergeTable::Merge merges[kScanLimit];  // merges[i] joins symbols i and i + 1
  auto look_up = [&](size_t i) {
    const Merge* merge = Find(symbols[i], symbols[i + 1]);
    merges[i] = merge != nullptr && merge->result != forbidden ? *merge : Merge{kNoMerge, -1};
  };
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoMerge) break;
    symbols[best] = merges[best].result;
    std::copy(symbols.begin() + static_cast<ptrdiff_t>(best) + 2,
              symbols.begin() + static_cast<ptrdiff_t>(n),
              symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    std::copy(merges + best + 1, merges + n - 1, merges + best);
    --n;
    if (best > 0) look_up(best - 1);
    if (best + 1 < n) look_up(best);
  }
  symbols.resize(n);
}

void MergeTable::ApplyByHeap(std::vector<TokenId>& symbols, TokenId forbidden) const {
  size_t n = symbols.size();
  QUALM_CHECK(n < std::numeric_limits<uint32_t>::max());
  constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  // A doubly linked list over the positions still alive; a position merged away holds -2.
  constexpr TokenId kGone = -2;
  std::vector<uint32_t> previous(n), next(n);
  for (size_t i = 0; i < n; ++i) {
    previous[i] = i == 0 ? kNone : static_cast<uint32_t>(i - 1);
    next[i] = i + 1 == n ? kNone : static_cast<uint32_t>(i + 1);
  }
  // rank << 32 | position of the left symbol: the smallest is the next merge.
  std::vector<uint64_t> heap;
  heap.reserve(n);
  auto entry_at = [&](uint32_t at) {
    const Merge* merge = Find(symbols[at], symbols[next[at]]);
    bool merges = merge != nullptr && merge->result != forbidden;
    return merges ? uint64_t{merge->rank} << 32 | at : ~uint64_t{0};
  };
  auto push = [&](uint32_t at) {
    uint64_t entry = entry_at(at);
    if (entry == ~uint64_t{0}) return;
    heap.push_back(entry);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  for (uint32_t i = 0; i + 1 < n; ++i) {
    if (uint64_t entry = entry_at(i); entry != ~uint64_t{0}) heap.push_back(entry);
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    uint64_t entry = heap.back();
    heap.pop_back();
    auto at = static_cast<uint32_t>(entry);
    // Out of date if the position is gone or the pair that begins there is another one by now.
    if (symbols[at] == kGone || next[at] == kNone || entry_at(at) != entry) continue;
    uint32_t right = next[at];
    symbols[at] = Find(symbols[at], symbols[right])->result;
    symbols[right] = kGone;
    next[at] = next[right];
    if (next[at] != kNone) {
      previous[next[at]] = at;
      push(at);
    }
    if (previous[at] != kNone) push(previous[at]);
  }
  std::erase(symbols, kGone);
}

void MergeReach::Add(uint32_t left_unit, uint32_t right_unit) {
  unsigned left = Small(left_unit), right = Small(right_unit);
  if (left < kSmall && right < kSmall) {
    small_[left * kSmall + right] = true;
  } else {
    others_.insert(uint64_t{left_unit} << 32 | right_unit);
  }
}

}  // namespace qualm
