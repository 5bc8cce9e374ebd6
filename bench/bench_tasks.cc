// Times the scorer on tasks: shared prefixes against one forward pass per request, and the rate of
// tokens against plain prefill, on a random model of the shape of 160M parameters with a context of
// 4096.
// bench_tasks [--threads T] [--questions Q] [--shots-tokens S] [--texts N]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/rng.h"
#include "evaluate/likelihood_scorer.h"
#include "evaluate/row_scores.h"
#include "generate/generate.h"
#include "measure.h"
#include "model/decoder.h"
#include "tensor/dense.h"
#include "tensor/isa.h"

namespace qualm::bench {
namespace {

double Seconds(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// A model with random weights; the time of a forward pass does not depend on their values.
class RandomModel {
 public:
  explicit RandomModel(const Context& context) : context_(context) {
    decoder.plan = ParseModelPlan(Json{{"model_type", "llama"},
                                       {"hidden_size", 768},
                                       {"intermediate_size", 2048},
                                       {"num_hidden_layers", 12},
                                       {"num_attention_heads", 12},
                                       {"vocab_size", 32000},
                                       {"max_position_embeddings", 4096}},
                                  "bench");

    const ModelPlan& plan = decoder.plan;
    embedding_ = RandomMatrix(plan.vocab_size(), plan.hidden_size, 1);
    decoder.input.embedding.weight = {embedding_.data(), DType::kF32, plan.vocab_size(),
                                      plan.hidden_size};

    // Each block from its plan, so the benchmark knows no names.
    for (size_t b = 0; b < plan.blocks.size(); ++b) {
      auto block = std::make_unique<DecoderBlock>(plan.blocks[b], b);
      for (const NormPlan& norm : NormsOf(plan.blocks[b])) {
        block->Norm(norm.name).weight.assign(norm.width, 1.0f);
      }
      for (const LinearSite& site : SitesOf(plan.blocks[b])) {
        block->Linear(site.name).weight = Random(site.out, site.in);
      }
      decoder.blocks.push_back(std::move(block));
    }

    decoder.final_norm =
        NormLayer{*plan.final_norm, std::vector<float>(plan.hidden_size, 1.0f), {}};
    decoder.head.weight = Random(plan.vocab_size(), plan.hidden_size);
  }

  std::vector<TokenId> Ids(size_t count) {
    std::vector<TokenId> ids;
    for (size_t i = 0; i < count; ++i) {
      ids.push_back(static_cast<TokenId>(rng_.Below(decoder.plan.vocab_size())));
    }
    return ids;
  }

  Decoder decoder;

 private:
  std::unique_ptr<LinearWeight> Random(size_t out, size_t in) {
    Matrix w = RandomMatrix(out, in, ++seed_);
    for (size_t i = 0; i < out * in; ++i) w.data()[i] *= 0.03f;
    return MakeDenseWeight({w.data(), DType::kF32, out, in}, context_);
  }

  const Context& context_;
  Matrix embedding_;
  uint64_t seed_ = 1;
  Rng rng_{7};
};

void Append(std::vector<TokenId>& to, const std::vector<TokenId>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

std::vector<double> Scored(const Decoder& decoder, const std::vector<LikelihoodRequest>& requests,
                           const Context& context, ScorerCounts& counts) {
  std::vector<double> answers(requests.size());
  counts = ScoreLikelihoods(decoder, requests, {}, context,
                            [&](std::span<const size_t> equal, const LikelihoodAnswer& answer) {
                              for (size_t i : equal) answers[i] = answer.log_likelihood;
                            });
  return answers;
}

// One request with a forward pass and a cache that no other request uses.
double OneByOne(const Decoder& decoder, const LikelihoodRequest& request, const Context& context) {
  const size_t inputs = request.tokens.size() - 1;
  KvCache cache = decoder.MakeCache(inputs);
  const Matrix hidden = decoder.Forward(
      std::vector<SequenceSlice>{{&cache, std::span(request.tokens).first(inputs)}}, context);

  // The last rows predict the continuation's tokens.
  const size_t rows = request.continuation_length();
  Matrix logits(rows, decoder.plan.vocab_size());
  decoder.Logits(hidden.view().Rows(hidden.rows() - rows, rows), logits, context);

  double sum = 0;
  for (size_t i = 0; i < rows; ++i) {
    sum -= NegativeLogLikelihood(logits.row(i), request.tokens[request.context_length + i]);
  }
  return sum;
}

// The text does not matter here: every token is a letter.
class LetterTokenizer : public Tokenizer {
 public:
  std::vector<TokenId> Encode(std::string_view text) const override {
    return std::vector<TokenId>(text.size(), 1);
  }
  std::string Decode(std::span<const TokenId> ids, bool) const override {
    return std::string(ids.size(), 'x');
  }
  std::string Piece(TokenId) const override { return "x"; }
  std::optional<TokenId> IdOfPiece(std::string_view) const override { return std::nullopt; }
  size_t vocab_size() const override { return 32000; }
  std::string_view kind() const override { return "letters"; }
};

// Generates texts after few-shot prompts, many at a time and one after another; returns whether
// both are equal.
bool BenchGeneration(RandomModel& model, size_t texts, const Context& context) {
  constexpr size_t kShots = 600, kQuestion = 60, kMade = 32;
  const LetterTokenizer tokenizer;

  // Requests that share their shots.
  const std::vector<TokenId> shots = model.Ids(kShots);
  std::vector<GenerationRequest> requests(texts);
  for (GenerationRequest& request : requests) {
    request.tokens = shots;
    Append(request.tokens, model.Ids(kQuestion));
    request.max_tokens = kMade;
  }

  GeneratorCounts counts;
  std::vector<uint64_t> made(texts), alone(texts);
  // All at once, then one by one.
  const double together_s = Seconds([&] {
    counts = GenerateTexts(model.decoder, tokenizer, requests, {}, context,
                           [&](std::span<const size_t> equal, const GenerationAnswer& answer) {
                             for (size_t i : equal) made[i] = answer.tokens;
                           });
  });
  const double alone_s = Seconds([&] {
    GenerateOptions options;
    options.max_tokens = kMade;
    for (size_t i = 0; i < texts; ++i) {
      alone[i] = Generate(model.decoder, requests[i].tokens, options, context).size();
    }
  });

  std::printf(
      "texts: %zu of %zu tokens behind %zu + %zu: one by one %.2f s, together %.2f s, %.1fx; %llu "
      "of "
      "%llu prompt tokens computed, %llu passes\n",
      texts, kMade, kShots, kQuestion, alone_s, together_s, alone_s / together_s,
      static_cast<unsigned long long>(counts.computed_tokens),
      static_cast<unsigned long long>(counts.prompt_tokens),
      static_cast<unsigned long long>(counts.passes));
  return made == alone;
}

int Main(int argc, char** argv) {
  const int threads = IntFlag(argc, argv, "--threads", 2);
  const auto questions = static_cast<size_t>(IntFlag(argc, argv, "--questions", 6));
  const auto shot_tokens = static_cast<size_t>(IntFlag(argc, argv, "--shots-tokens", 1200));
  ThreadPool pool(threads);
  SilentProgress silent;
  const Context context{pool, silent};
  RandomModel model(context);
  std::printf("12 blocks of 768, vocabulary 32000, %d threads, %.*s\n", threads,
              static_cast<int>(InstructionSet().size()), InstructionSet().data());

  // One subject of MMLU with five shots: four letters after each question.
  std::vector<LikelihoodRequest> letters;
  const std::vector<TokenId> shots = model.Ids(shot_tokens);
  for (size_t q = 0; q < questions; ++q) {
    std::vector<TokenId> prefix = shots;
    Append(prefix, model.Ids(90));
    for (TokenId letter = 300; letter < 304; ++letter) {
      letters.push_back({prefix, prefix.size()});
      letters.back().tokens.push_back(letter);
    }
  }

  // The same requests in both ways, which must give equal scores.
  ScorerCounts counts;
  std::vector<double> shared, alone;
  const double shared_s =
      Seconds([&] { shared = Scored(model.decoder, letters, context, counts); });
  const double alone_s = Seconds([&] {
    for (const LikelihoodRequest& request : letters) {
      alone.push_back(OneByOne(model.decoder, request, context));
    }
  });

  std::printf(
      "letters: %zu requests of %zu + 90 tokens: one by one %.2f s, shared %.2f s, %.1fx; "
      "%s\n",
      letters.size(), shot_tokens, alone_s, shared_s, alone_s / shared_s,
      shared == alone ? "equal scores" : "DIFFERENT SCORES");

  // Endings without shots, as in HellaSwag, against prefill of as many tokens.
  std::vector<LikelihoodRequest> endings;
  for (size_t q = 0; q < 60; ++q) {
    const std::vector<TokenId> prefix = model.Ids(80);
    for (int ending = 0; ending < 4; ++ending) {
      endings.push_back({prefix, prefix.size()});
      Append(endings.back().tokens, model.Ids(20));
    }
  }

  const double endings_s = Seconds([&] { Scored(model.decoder, endings, context, counts); });
  const double rate = static_cast<double>(counts.computed_tokens) / endings_s;

  // Plain prefill, without logits.
  constexpr size_t kWindow = 512, kWindows = 4;
  std::vector<KvCache> caches;
  std::vector<std::vector<TokenId>> windows;
  std::vector<SequenceSlice> slices;
  for (size_t w = 0; w < kWindows; ++w) {
    caches.push_back(model.decoder.MakeCache(kWindow));
    windows.push_back(model.Ids(kWindow));
  }
  for (size_t w = 0; w < kWindows; ++w) slices.push_back({&caches[w], windows[w]});

  // The best of three rounds, each with empty caches.
  double prefill_s = 1e9;
  for (int round = 0; round < 3; ++round) {
    for (KvCache& cache : caches) cache.Truncate(0);
    prefill_s = std::min(prefill_s, Seconds([&] { model.decoder.Forward(slices, context); }));
  }
  const double prefill = static_cast<double>(kWindow * kWindows) / prefill_s;

  std::printf(
      "endings: %llu tokens computed, %.0f tokens/s with their logits; prefill without "
      "logits %.0f tokens/s; %.0f %%\n",
      static_cast<unsigned long long>(counts.computed_tokens), rate, prefill, 100 * rate / prefill);

  // Finally, generation.
  const auto texts = static_cast<size_t>(IntFlag(argc, argv, "--texts", 24));
  const bool equal_texts = BenchGeneration(model, texts, context);
  return shared == alone && equal_texts ? 0 : 1;
}

}  // namespace
}  // namespace qualm::bench

int main(int argc, char** argv) { return qualm::bench::Main(argc, argv); }
