// Continues one prompt with one cache: the prompt in chunks, then a token per pass. SampleToken is
// also what the batched generator draws with.
#include "model/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Prompt tokens per forward pass: bounds the memory of long prompts.
constexpr size_t kPrefillChunk = 512;

TokenId Greedy(std::span<const float> logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace

// The nucleus: the likeliest tokens until their probability reaches top_p, and a draw among them.
TokenId SampleToken(std::span<const float> logits, double temperature, double top_p,
                    double uniform) {
  QUALM_CHECK(temperature > 0 && !logits.empty());
  // Tokens by falling probability, equal ones by id.
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });

  double largest = logits[order[0]], total = 0;
  std::vector<double> weights(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    weights[i] = std::exp((logits[order[i]] - largest) / temperature);
    total += weights[i];
  }

  size_t kept = 0;
  double mass = 0;
  while (kept < order.size() && (kept == 0 || mass < top_p * total)) mass += weights[kept++];

  // The draw falls into one of the kept tokens.
  double point = uniform * mass;
  for (size_t i = 0; i + 1 < kept; ++i) {
    point -= weights[i];
    if (point < 0) return static_cast<TokenId>(order[i]);
  }
  return static_cast<TokenId>(order[kept - 1]);
}

std::vector<TokenId> Generate(const Decoder& decoder, std::span<const TokenId> prompt,
                              const GenerateOptions& options, const Context& context,
                              const std::function<bool(TokenId)>& on_token) {
  size_t context_length = decoder.plan.context;
  // A prompt that leaves no room for a token is refused.
  if (prompt.empty()) ThrowBadInput("prompt", "at least one token", "none");
  if (prompt.size() >= context_length) {
    ThrowBadInput("prompt", StrCat("fewer than ", context_length, " tokens (the model's context)"),
                  StrCat(prompt.size()));
  }

  KvCache cache = decoder.MakeCache(prompt.size() +
                                    std::min(options.max_tokens, context_length - prompt.size()));
  Rng rng(options.seed, "generate");
  Matrix logits(1, decoder.plan.vocab_size());

  // Runs tokens through the model and leaves the last position's logits in `logits`.
  auto run = [&](std::span<const TokenId> ids) {
    Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, ids}}, context);
    decoder.Logits(hidden.view().Rows(hidden.rows() - 1, 1), logits, context);
    float sum = 0;  // not finite if a logit is not
    for (float logit : logits.row(0)) sum += logit * 0;
    if (std::isfinite(sum)) return;
    ThrowBadInput("generate", "finite logits", "NaN or infinity",
                  "are there such numbers among the model's weights?");
  };

  for (size_t first = 0; first < prompt.size(); first += kPrefillChunk) {
    run(prompt.subspan(first, std::min(kPrefillChunk, prompt.size() - first)));
  }

  // Each new token is the input of the next pass, except for the last one.
  std::vector<TokenId> made;
  while (made.size() < options.max_tokens) {
    TokenId next = options.temperature > 0 ? SampleToken(logits.row(0), options.temperature,
                                                         options.top_p, rng.Uniform())
                                           : Greedy(logits.row(0));
    if (options.stop_at_eos && options.eos && next == *options.eos) break;
    made.push_back(next);
    if (on_token && !on_token(next)) break;
    if (made.size() == options.max_tokens || cache.length() == cache.capacity()) break;
    run({&next, 1});
  }
  return made;
}

}  // namespace qualm
