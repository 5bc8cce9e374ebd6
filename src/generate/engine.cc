// Requests wait in a queue until a slot is free. A slot computes its prompt, whole or in pieces,
// and then one token per pass. Its cache outlives the request, so that later prompts with the same
// beginning start from there.
#include "generate/engine.h"

#include <algorithm>
#include <functional>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "generate/sampling.h"
#include "model/decoder.h"
#include "tensor/matrix.h"

namespace qualm {
namespace {

// Copying a cache, or waiting a pass for another prompt, has to save more than this many tokens.
constexpr size_t kWorthCopying = 16;

// After this many passes without room for it, a prompt goes before those that have waited less.
constexpr size_t kPatience = 64;

size_t CommonPrefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  const auto end = a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return static_cast<size_t>(std::mismatch(a.begin(), end, b.begin()).first - a.begin());
}

// How many of the prompt's first tokens need not be computed if `cached` are there. The last one
// always is, because its logits choose the first new token.
size_t ReusablePrefix(std::span<const TokenId> prompt, std::span<const TokenId> cached) {
  return std::min(CommonPrefix(prompt, cached), prompt.size() - 1);
}

// How far a cache can go back to a prefix that the next request shares: as far as an answer of
// usual length. Blocks that see everything go back to any.
constexpr size_t kRollback = 1024;

// The number of positions that a request will take in the end.
size_t SequenceLength(const EngineRequest& request) {
  return request.prompt.size() + request.max_tokens;
}

// How many caches of `capacity` positions the budget allows.
size_t SlotCount(const Decoder& decoder, size_t capacity, const EngineOptions& options) {
  const uint64_t bytes = std::max<uint64_t>(1, KvCache::BytesOf(decoder.plan, capacity, kRollback));
  const uint64_t affordable = options.cache_bytes / bytes;
  return static_cast<size_t>(
      std::max<uint64_t>(1, std::min<uint64_t>(affordable, options.sequences)));
}

}  // namespace

Engine::Engine(const Decoder& decoder, size_t capacity, const EngineOptions& options,
               const Context& context)
    : decoder_(decoder),
      capacity_(std::min(capacity, decoder.plan.context)),
      options_(options),
      context_(context),
      slots_(SlotCount(decoder, capacity_, options)) {}

// --- requests

Engine::RequestId Engine::Submit(EngineRequest request) {
  CheckRequest(request);
  queue_.push_back({++last_id_, std::move(request)});
  return last_id_;
}

void Engine::CheckRequest(const EngineRequest& request) const {
  const size_t prompt = request.prompt.size(), context = decoder_.plan.context;
  if (prompt == 0) ThrowBadInput("prompt", "at least one token", "none");
  if (prompt >= context) {
    ThrowBadInput("prompt", StrCat("fewer than ", context, " tokens (the model's context)"),
                  StrCat(prompt));
  }
  if (prompt > capacity_) {
    ThrowBadInput("prompt", StrCat("at most ", capacity_, " tokens (the engine's caches)"),
                  StrCat(prompt));
  }
  decoder_.input.embedding.CheckIds(request.prompt);

  // The last new token is not read again, so it takes no position.
  const size_t most = capacity_ - prompt + 1;
  if (request.max_tokens == 0 || request.max_tokens > most) {
    ThrowBadInput("max_tokens", StrCat("1 to ", most, " after a prompt of ", prompt, " tokens"),
                  StrCat(request.max_tokens));
  }
}

bool Engine::Cancel(RequestId id) {
  const auto queued = std::ranges::find(queue_, id, &Queued::id);
  if (queued != queue_.end()) {
    queue_.erase(queued);
    return true;
  }
  // A running one keeps its slot until the next Step: the caller may be one of its sinks.
  for (Slot& slot : slots_) {
    if (!slot.request || slot.id != id || slot.is_cancelled) continue;
    slot.is_cancelled = true;
    return true;
  }
  return false;
}

bool Engine::HasWork() const {
  return !queue_.empty() || std::ranges::any_of(slots_, [](const Slot& slot) {
    return slot.request && !slot.is_cancelled;
  });
}

// --- a pass

bool Engine::Step() {
  FillSlots();
  const std::vector<Part> parts = NextPass();
  if (!parts.empty()) RunPass(parts);
  return HasWork();
}

void Engine::FillSlots() {
  // No sink runs here, so what they cancelled can go.
  for (Slot& slot : slots_) {
    if (slot.is_cancelled) slot.request.reset();
    slot.is_cancelled = false;
    if (slot.request || queue_.empty()) continue;
    Begin(slot, std::move(queue_.front()));
    queue_.pop_front();
  }
}

// Keeps what the slot's cache holds of the prompt already.
void Engine::Begin(Slot& slot, Queued queued) {
  const std::vector<TokenId>& prompt = slot.request.emplace(std::move(queued.request)).prompt;
  if (!slot.cache) slot.cache.emplace(decoder_.MakeCache(capacity_, kRollback));
  const size_t kept = UsablePrefix(slot, slot);
  slot.cache->Truncate(kept);
  if (kept == 0) slot.cache->SetSequenceLength(SequenceLength(*slot.request));
  slot.cached.resize(kept);
  slot.pending.assign(prompt.begin() + static_cast<std::ptrdiff_t>(kept), prompt.end());
  slot.id = queued.id;
  slot.made = 0;
  slot.waited = 0;
}

// How many of the first tokens of the slot's prompt the cache of `other` holds and can go back to.
// Keys that are turned for texts of another length are of no use.
size_t Engine::UsablePrefix(const Slot& slot, const Slot& other) const {
  const size_t length = SequenceLength(*slot.request);
  if (RotaryRegime(decoder_.plan, length) !=
      RotaryRegime(decoder_.plan, other.cache->sequence_length())) {
    return 0;
  }
  const size_t kept = ReusablePrefix(slot.request->prompt, other.cached);
  return other.cache->CanTruncate(kept) ? kept : 0;
}

// Copies another cache if it holds much more of the prompt's beginning.
void Engine::TakeFromOthers(Slot& slot) {
  // Free slots count too: their caches still hold the tokens of a request that has ended.
  const std::span<const TokenId> prompt(slot.request->prompt);
  const Slot* best = nullptr;
  size_t most = slot.cached.size() + kWorthCopying;
  for (const Slot& other : slots_) {
    if (&other == &slot || !other.cache) continue;
    const size_t reusable = UsablePrefix(slot, other);
    if (reusable > most) {
      most = reusable;
      best = &other;
    }
  }
  if (best == nullptr) return;

  // Entire, because caches copy no part; then cut to what both share.
  slot.cache->CopyFrom(*best->cache);
  slot.cache->Truncate(most);
  slot.cached.assign(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(most));
  slot.pending.assign(prompt.begin() + static_cast<std::ptrdiff_t>(most), prompt.end());
}

// The slots whose prompts are not computed yet. In an open queue, new prompts might take the room
// of a pass for ever; so one that has waited for long goes first.
std::vector<Engine::Slot*> Engine::Prompts() {
  std::vector<Slot*> prompts;
  for (Slot& slot : slots_) {
    if (slot.request && slot.made == 0) prompts.push_back(&slot);
  }
  std::ranges::stable_sort(prompts, std::greater<>(),
                           [](const Slot* slot) { return slot->waited / kPatience; });
  return prompts;
}

std::vector<Engine::Part> Engine::NextPass() {
  // Every text that is being written gets its next token.
  std::vector<Part> parts;
  for (Slot& slot : slots_) {
    if (slot.request && slot.made > 0) parts.push_back({&slot, 1});
  }

  // Whether a prompt of this pass computes much of what `slot` needs, which then waits for it.
  const auto will_be_computed = [&](const Slot& slot) {
    return std::ranges::any_of(parts, [&](const Part& part) {
      return part.slot->made == 0 &&
             CommonPrefix(slot.request->prompt, part.slot->request->prompt) >
                 slot.cached.size() + kWorthCopying;
    });
  };

  // A prompt that fits in addition to the texts goes whole, in this pass or a later one. A longer
  // one goes in pieces as large as the room allows.
  const size_t batch_tokens = std::max<size_t>(1, options_.batch_tokens);
  const size_t prompt_tokens = batch_tokens - std::min(batch_tokens, parts.size());
  size_t room = prompt_tokens;
  for (Slot* slot : Prompts()) {
    // A prompt that waits for another one takes over what that has when it is there as a whole.
    if (will_be_computed(*slot)) continue;
    TakeFromOthers(*slot);
    const size_t wanted = slot->pending.size();
    const size_t tokens = wanted <= prompt_tokens ? wanted : room;
    if (tokens == 0 || tokens > room) {
      ++slot->waited;
      continue;
    }
    parts.push_back({slot, tokens});
    room -= tokens;
  }
  return parts;
}

void Engine::RunPass(std::span<const Part> parts) {
  std::vector<SequenceSlice> slices;
  for (const Part& part : parts) {
    slices.push_back({&*part.slot->cache, std::span(part.slot->pending).first(part.tokens)});
  }
  const Matrix hidden = decoder_.Forward(slices, context_);
  ++counts_.passes;

  // What was pending is in the caches now. In a slot that has no token left to compute, the hidden
  // state of the last one says what follows; a prompt in pieces waits for its next piece.
  std::vector<Slot*> ready;
  Matrix last = Matrix::Uninitialized(parts.size(), decoder_.plan.hidden_size);
  size_t row = 0;
  for (const Part& part : parts) {
    Slot& slot = *part.slot;
    row += part.tokens;
    if (slot.made == 0) counts_.computed_tokens += part.tokens;

    const auto end = slot.pending.begin() + static_cast<std::ptrdiff_t>(part.tokens);
    slot.cached.insert(slot.cached.end(), slot.pending.begin(), end);
    slot.pending.erase(slot.pending.begin(), end);

    if (!slot.pending.empty()) continue;
    std::ranges::copy(hidden.row(row - 1), last.row(ready.size()).begin());
    ready.push_back(&slot);
  }
  if (!ready.empty()) ChooseTokens(ready, last.view().Rows(0, ready.size()));
}

// The next token of each slot, from its last hidden state. [slots, hidden_size]
void Engine::ChooseTokens(std::span<Slot* const> slots, Span2D<const float> hidden) {
  Matrix logits = Matrix::Uninitialized(slots.size(), decoder_.plan.vocab_size());
  decoder_.Logits(hidden, logits, context_);

  std::vector<std::optional<TokenId>> chosen(slots.size());  // none where logits are not finite
  context_.pool.ParallelFor(slots.size(), [&](size_t i) {
    if (!AreFinite(logits.row(i))) return;
    EngineRequest& request = *slots[i]->request;
    // The cache holds the prompt and the new tokens: all that the text has so far.
    if (request.sampling.repetition_penalty != 1) {
      PenalizeRepetition(slots[i]->cached, request.sampling.repetition_penalty, logits.row(i));
    }
    chosen[i] = ChooseToken(logits.row(i), request.sampling, request.random);
  });

  // A sink may cancel any of the slots that follow.
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!slots[i]->is_cancelled) Advance(*slots[i], chosen[i]);
  }
}

void Engine::Advance(Slot& slot, std::optional<TokenId> id) {
  const EngineRequest& request = *slot.request;
  if (!id) return End(slot, EndReason::kNotFinite);
  if (std::ranges::find(request.ends, *id) != request.ends.end()) {
    return End(slot, EndReason::kEos);
  }

  ++slot.made;
  slot.pending.assign(1, *id);
  const bool goes_on = !request.on_token || request.on_token(*id);
  if (slot.is_cancelled) return;  // by its own sink
  if (!goes_on) return End(slot, EndReason::kStopped);
  if (slot.made == request.max_tokens) End(slot, EndReason::kLength);
}

// Frees the slot first: for the sink, the request has ended.
void Engine::End(Slot& slot, EndReason reason) {
  const std::function<void(EndReason)> on_end = std::move(slot.request->on_end);
  slot.request.reset();
  if (on_end) on_end(reason);
}

}  // namespace qualm
