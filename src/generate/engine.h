// Writes many texts at once with one decoder, while new requests come in and others are given up.
// Every forward pass carries one token of each text that is being written, and the prompts of those
// that begin (continuous batching, as in Orca, Yu et al. 2022). What a prompt shares with the
// tokens in some cache is taken from there. A text depends on its own request only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/rng.h"
#include "generate/sampling.h"
#include "model/kv_cache.h"
#include "tokenize/tokenizer.h"

namespace qualm {

struct Context;
class Decoder;

// Why a text is complete.
enum class EndReason : uint8_t {
  kEos,        // the model chose an id that ends texts
  kLength,     // max_tokens were made
  kStopped,    // on_token returned false
  kNotFinite,  // the model's logits were not finite, so no token can be chosen
};

struct EngineRequest {
  std::vector<TokenId> prompt;
  size_t max_tokens = 1;
  Sampling sampling;
  Rng random{0};              // the stream that sampled tokens are drawn from
  std::vector<TokenId> ends;  // ids that end the text; empty: none does

  // Both may be empty.
  std::function<bool(TokenId)> on_token;  // gets each new token but the one that ends the text;
                                          // returns false to end the text
  std::function<void(EndReason)> on_end;  // called once, unless the request is cancelled
};

struct EngineOptions {
  size_t batch_tokens = 2048;                // of a forward pass, about
  size_t sequences = 64;                     // written at once, at most
  uint64_t cache_bytes = uint64_t{2} << 30;  // of all caches together, about; at least one
};

struct EngineCounts {
  uint64_t computed_tokens = 0;  // of prompts that went through the model
  uint64_t passes = 0;
};

// Submit requests, then call Step until it returns false. Submit and Cancel may be called at any
// time between, also by the sinks, which Step alone calls. All calls come from one thread. After an
// exception from Step, the engine can only be destroyed.
class Engine {
 public:
  using RequestId = uint64_t;  // counts up from 1

  // Each sequence has a cache of `capacity` positions, and keeps it for the next request. It never
  // grows, so `capacity` bounds what Submit accepts; above the model's context it means the
  // context. A server passes the longest text that it allows, and a closed set its longest request.
  Engine(const Decoder& decoder, size_t capacity, const EngineOptions& options,
         const Context& context);

  // Puts a request in the queue. Throws bad input, and changes nothing, for an empty prompt, one
  // with an id outside the vocabulary, max_tokens of 0, and what does not fit: a prompt that leaves
  // no room in the model's context, or more tokens than a cache holds. (The last new token needs no
  // place in the cache.)
  RequestId Submit(EngineRequest request);

  // Gives a request up: its sinks are not called again. False if it is unknown or has ended.
  bool Cancel(RequestId id);

  // One forward pass over everything that is due. Returns whether there is more to do.
  bool Step();

  const EngineCounts& counts() const { return counts_; }

 private:
  struct Queued {
    RequestId id = 0;
    EngineRequest request;
  };

  // A cache and the request that it serves.
  struct Slot {
    std::optional<KvCache> cache;  // made for the slot's first request
    std::vector<TokenId> cached;   // the tokens that the cache holds, also after the request
    std::optional<EngineRequest> request;  // absent: the slot is free
    RequestId id = 0;
    bool is_cancelled = false;     // freed by the next Step, because a sink may be running
    std::vector<TokenId> pending;  // to go through the model next
    size_t made = 0;               // new tokens; 0 as long as the prompt is not computed
    size_t waited = 0;             // passes that had no room for the prompt
  };

  // What one pass computes for a slot: its first pending tokens.
  struct Part {
    Slot* slot = nullptr;
    size_t tokens = 0;
  };

  void CheckRequest(const EngineRequest& request) const;
  bool HasWork() const;
  void FillSlots();
  void Begin(Slot& slot, Queued queued);
  size_t UsablePrefix(const Slot& slot, const Slot& other) const;
  void TakeFromOthers(Slot& slot);
  std::vector<Slot*> Prompts();
  std::vector<Part> NextPass();
  void RunPass(std::span<const Part> parts);
  void ChooseTokens(std::span<Slot* const> slots, Span2D<const float> hidden);
  void Advance(Slot& slot, std::optional<TokenId> id);
  void End(Slot& slot, EndReason reason);

  const Decoder& decoder_;
  const size_t capacity_;
  const EngineOptions options_;
  const Context& context_;
  EngineCounts counts_;
  std::deque<Queued> queue_;
  std::vector<Slot> slots_;
  RequestId last_id_ = 0;
};

}  // namespace qualm
