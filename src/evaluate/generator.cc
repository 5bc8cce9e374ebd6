// Continuous batching: a fixed number of slots, each with a cache, takes prompts in the order of
// their tokens, so that neighbours share prefixes. Each pass carries the prompts that fit and one
// token of every text in progress. A finished slot takes the next prompt and keeps of its cache
// what that prompt shares.
#include "evaluate/generator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/context.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "model/decoder.h"
#include "model/generate.h"
#include "tensor/matrix.h"

namespace qualm {
namespace {

// Equal requests are answered as one job.
struct Job {
  const GenerationRequest* request = nullptr;
  std::vector<size_t> indexes;
};

// Holds the text of one answer as it grows, and finds where it has to end. Push each new token,
// Flush at the end. It is a class because bytes of an incomplete character and the start of a stop
// string carry over from one token to the next.
class StopScanner {
 public:
  StopScanner(const Tokenizer& tokenizer, const GenerationRequest& request)
      : decoder_(tokenizer), stop_(request.stop) {
    // A tokenizer drops the blank before a first word, but here it belongs to the text, so the
    // decoder must see some tokens of the prompt first.
    const size_t seen = std::min<size_t>(request.tokens.size(), kSeenTokens);
    for (size_t i = request.tokens.size() - seen; i < request.tokens.size(); ++i) {
      decoder_.Push(request.tokens[i]);
    }
    for (const std::string& stop : stop_) longest_ = std::max(longest_, stop.size());
  }

  // Whether a stop string has appeared; the text then ends before it.
  bool Push(TokenId id) { return Append(decoder_.Push(id)); }
  bool Flush() { return Append(decoder_.Flush()); }
  const std::string& text() const { return text_; }

 private:
  static constexpr size_t kSeenTokens = 8;

  bool Append(const std::string& piece) {
    // A stop string may begin in the text that was there before this piece.
    const size_t from = text_.size() >= longest_ ? text_.size() - longest_ : 0;
    text_ += piece;

    size_t first = std::string::npos;
    for (const std::string& stop : stop_) first = std::min(first, text_.find(stop, from));
    if (first == std::string::npos) return false;
    text_.resize(first);
    return true;
  }

  StreamingDecoder decoder_;
  const std::vector<std::string>& stop_;
  size_t longest_ = 0;
  std::string text_;
};

// A cache and the text that is being written with it.
struct Slot {
  std::optional<KvCache> cache;
  std::vector<TokenId> cached;  // the tokens that the cache holds
  const Job* job = nullptr;     // null: free
  std::optional<StopScanner> scanner;
  std::optional<Rng> rng;
  std::vector<TokenId> pending;  // tokens for the next pass
  uint64_t made = 0;
};

// One call of GenerateTexts. Run is called once: it makes jobs, then alternates between filling
// slots (Fill), choosing a batch (NextBatch) and running it (RunBatch), which reports answers
// through on_answer.
class Generator {
 public:
  Generator(const Decoder& decoder, const Tokenizer& tokenizer, const GeneratorOptions& options,
            const Context& context, const GenerationSink& on_answer)
      : decoder_(decoder),
        tokenizer_(tokenizer),
        options_(options),
        context_(context),
        on_answer_(on_answer) {}

  GeneratorCounts Run(std::span<const GenerationRequest> requests,
                      const GenerationPassSink& on_pass) {
    MakeJobs(requests);
    slots_.resize(SlotCount());

    while (true) {
      Fill();
      std::vector<Slot*> batch = NextBatch();
      if (batch.empty()) break;
      RunBatch(batch);
      if (on_pass) on_pass(answered_);
    }
    return counts_;
  }

 private:
  // Jobs in the order of their prompts' tokens, so that neighbours share the longest prefixes.
  void MakeJobs(std::span<const GenerationRequest> requests) {
    // Equal requests share a job.
    std::map<std::string, size_t> known;
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto [at, is_new] = known.emplace(requests[i].Hash(), jobs_.size());
      if (is_new) jobs_.push_back({&requests[i], {}});
      jobs_[at->second].indexes.push_back(i);
    }

    std::ranges::stable_sort(jobs_, [](const Job& a, const Job& b) {
      return std::ranges::lexicographical_compare(a.request->tokens, b.request->tokens);
    });

    // Every cache must hold the longest prompt with its text.
    counts_.requests = requests.size();
    counts_.distinct = jobs_.size();
    for (const Job& job : jobs_) {
      counts_.prompt_tokens += job.request->tokens.size();
      capacity_ = std::max(capacity_, job.request->tokens.size() + job.request->max_tokens);
    }
  }

  // As many as the caches' memory allows; every cache can hold the longest text.
  size_t SlotCount() const {
    const uint64_t position_bytes = CacheFloatsPerPosition(decoder_.plan) * sizeof(float);
    const uint64_t bytes = std::max<uint64_t>(1, position_bytes * capacity_);
    const uint64_t room = std::max<uint64_t>(1, options_.cache_bytes / bytes);
    return static_cast<size_t>(std::min<uint64_t>({room, options_.sequences, jobs_.size()}));
  }

  // Gives free slots the next jobs.
  void Fill() {
    for (Slot& slot : slots_) {
      if (slot.job != nullptr || next_ == jobs_.size()) continue;
      Begin(slot, jobs_[next_++]);
    }
  }

  // Gives the slot a job, and keeps of its cache what the prompt begins with.
  void Begin(Slot& slot, const Job& job) {
    const std::vector<TokenId>& prompt = job.request->tokens;
    if (!slot.cache) slot.cache.emplace(decoder_.MakeCache(capacity_));
    // The logits of the prompt's last token are needed, so that token is always computed.
    const size_t kept = std::min(CommonPrefix(prompt, slot.cached), prompt.size() - 1);
    slot.cache->Truncate(kept);
    slot.cached.resize(kept);
    slot.pending.assign(prompt.begin() + static_cast<std::ptrdiff_t>(kept), prompt.end());

    slot.job = &job;
    slot.scanner.emplace(tokenizer_, *job.request);
    slot.rng.emplace(job.request->sample, job.request->Hash());
    slot.made = 0;
  }

  static size_t CommonPrefix(std::span<const TokenId> a, std::span<const TokenId> b) {
    const auto end = a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
    return static_cast<size_t>(std::mismatch(a.begin(), end, b.begin()).first - a.begin());
  }

  // Copies another slot's cache if it holds much more of the prompt's beginning.
  void TakeFromOthers(Slot& slot) {
    const std::span<const TokenId> prompt(slot.job->request->tokens);
    const Slot* best = nullptr;
    size_t most = slot.cached.size() + kWorthCopying;

    // The last token of the prompt is never taken: its logits must be computed.
    for (const Slot& other : slots_) {
      if (&other == &slot || !other.cache) continue;
      const size_t common = std::min(CommonPrefix(prompt, other.cached), prompt.size() - 1);
      if (common > most) {
        most = common;
        best = &other;
      }
    }
    if (best == nullptr) return;

    slot.cache->CopyFrom(*best->cache);
    slot.cache->Truncate(most);
    slot.cached.assign(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(most));
    slot.pending.assign(prompt.begin() + static_cast<std::ptrdiff_t>(most), prompt.end());
  }

  // Whether a prompt of this pass computes much of what this one needs; then it is better to wait
  // for it.
  static bool WillBeComputed(const Slot& slot, std::span<Slot* const> batch) {
    return std::ranges::any_of(batch, [&](const Slot* other) {
      return other->made == 0 &&
             CommonPrefix(slot.job->request->tokens, other->job->request->tokens) >
                 slot.cached.size() + kWorthCopying;
    });
  }

  // All texts in progress, and as many prompts as the pass has room for; at least one slot if any
  // has a job.
  std::vector<Slot*> NextBatch() {
    std::vector<Slot*> batch;
    size_t tokens = 0;
    for (Slot& slot : slots_) {
      if (slot.job == nullptr || slot.made == 0) continue;
      batch.push_back(&slot);
      ++tokens;
    }

    // A prompt first looks for its prefix in other caches, then in this pass, then needs room.
    for (Slot& slot : slots_) {
      if (slot.job == nullptr || slot.made > 0) continue;
      TakeFromOthers(slot);
      if (WillBeComputed(slot, batch)) continue;
      if (!batch.empty() && tokens + slot.pending.size() > options_.batch_tokens) continue;
      batch.push_back(&slot);
      tokens += slot.pending.size();
    }
    return batch;
  }

  // One forward pass, and the next token of every slot in it.
  void RunBatch(const std::vector<Slot*>& batch) {
    std::vector<SequenceSlice> slices;
    for (Slot* slot : batch) {
      slices.push_back({&*slot->cache, slot->pending});
      if (slot->made == 0) counts_.computed_tokens += slot->pending.size();
    }
    const Matrix hidden = decoder_.Forward(slices, context_);
    ++counts_.passes;

    // Logits are computed for the last position of each slot only.
    Matrix last = Matrix::Uninitialized(batch.size(), decoder_.plan.hidden_size);
    size_t row = 0;
    for (size_t i = 0; i < batch.size(); ++i) {
      row += batch[i]->pending.size();
      std::ranges::copy(hidden.row(row - 1), last.row(i).begin());
    }

    Matrix logits = Matrix::Uninitialized(batch.size(), decoder_.plan.vocab_size());
    decoder_.Logits(last, logits, context_);

    // Slots are independent, so the tokens are chosen in parallel.
    std::vector<TokenId> chosen(batch.size());
    std::vector<uint8_t> finite(batch.size());
    context_.pool.ParallelFor(batch.size(), [&](size_t i) {
      float sum = 0;  // not finite if a logit is not
      for (float logit : logits.row(i)) sum += logit * 0;
      finite[i] = std::isfinite(sum) ? 1 : 0;
      if (finite[i] != 0) chosen[i] = Choose(*batch[i], logits.row(i));
    });

    // Reports happen on this thread, in the order of the batch.
    for (size_t i = 0; i < batch.size(); ++i) {
      if (finite[i] == 0) ThrowFailed("generate", "the logits are not finite; is the model whole?");
      Slot& slot = *batch[i];
      slot.cached.insert(slot.cached.end(), slot.pending.begin(), slot.pending.end());
      slot.pending.assign(1, chosen[i]);
      Advance(slot, chosen[i]);
    }
  }

  static TokenId Choose(Slot& slot, std::span<const float> logits) {
    const GenerationRequest& request = *slot.job->request;
    if (request.temperature > 0) {
      return SampleToken(logits, request.temperature, request.top_p, slot.rng->Uniform());
    }
    return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
  }

  // Takes the new token into the text; ends the text at EOS, a stop string or the limit.
  void Advance(Slot& slot, TokenId id) {
    const std::optional<TokenId> eos = tokenizer_.special().eos;
    if (eos && id == *eos) {
      Finish(slot, slot.scanner->Flush() ? FinishReason::kStop : FinishReason::kEos);
      return;
    }

    // Flush may still complete a stop string, which then wins over the limit.
    ++slot.made;
    ++counts_.made_tokens;
    if (slot.scanner->Push(id)) {
      Finish(slot, FinishReason::kStop);
    } else if (slot.made == slot.job->request->max_tokens) {
      Finish(slot, slot.scanner->Flush() ? FinishReason::kStop : FinishReason::kLength);
    }
  }

  void Finish(Slot& slot, FinishReason reason) {
    on_answer_(slot.job->indexes, {slot.scanner->text(), slot.made, reason});
    answered_ += slot.job->indexes.size();
    slot.job = nullptr;
  }

  static constexpr size_t kWorthCopying = 16;  // for fewer tokens a copy does not pay

  const Decoder& decoder_;
  const Tokenizer& tokenizer_;
  const GeneratorOptions& options_;
  const Context& context_;
  const GenerationSink& on_answer_;
  GeneratorCounts counts_;
  std::vector<Job> jobs_;
  std::vector<Slot> slots_;
  size_t next_ = 0, capacity_ = 0;
  uint64_t answered_ = 0;
};

}  // namespace

GeneratorCounts GenerateTexts(const Decoder& decoder, const Tokenizer& tokenizer,
                              std::span<const GenerationRequest> requests,
                              const GeneratorOptions& options, const Context& context,
                              const GenerationSink& on_answer, const GenerationPassSink& on_pass) {
  for (const GenerationRequest& request : requests) {
    QUALM_CHECK(!request.tokens.empty() && request.max_tokens > 0);
    QUALM_CHECK(request.tokens.size() + request.max_tokens <= decoder.plan.context);
  }
  return Generator(decoder, tokenizer, options, context, on_answer).Run(requests, on_pass);
}

}  // namespace qualm
