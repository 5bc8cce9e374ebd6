// Requests in, tokens or texts out: what each of the two callers means in terms of an Engine.
#include "generate/generate.h"

#include <algorithm>
#include <map>
#include <string>

#include "base/error.h"
#include "generate/stop_scanner.h"
#include "model/decoder.h"

namespace qualm {
namespace {

// Equal requests, which one text answers.
struct Job {
  const GenerationRequest* request = nullptr;
  std::string hash;
  std::vector<size_t> indexes;
};

// What the engine has made for a job so far.
struct Text {
  std::optional<StopScanner> scanner;  // until the text has ended
  uint64_t tokens = 0;
};

// One job for each distinct request, in the order of their tokens: neighbours share the most.
std::vector<Job> JobsOf(std::span<const GenerationRequest> requests) {
  std::vector<Job> jobs;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto [at, is_new] = known.emplace(requests[i].Hash(), jobs.size());
    if (is_new) jobs.push_back({&requests[i], at->first, {}});
    jobs[at->second].indexes.push_back(i);
  }

  std::ranges::stable_sort(jobs, [](const Job& a, const Job& b) {
    return std::ranges::lexicographical_compare(a.request->tokens, b.request->tokens);
  });
  return jobs;
}

// Positions of the longest text with its prompt, which every cache has room for.
size_t LongestOf(std::span<const Job> jobs, size_t context) {
  size_t longest = 0;
  for (const Job& job : jobs) {
    // What is asked for is bounded first, so that the sum does not overflow.
    const size_t new_tokens = std::min(job.request->max_tokens, context);
    longest = std::max(longest, job.request->tokens.size() + new_tokens);
  }
  return longest;
}

// The engine's form of a request, still without sinks.
EngineRequest RequestOf(const Job& job, const Tokenizer& tokenizer) {
  EngineRequest request;
  request.prompt = job.request->tokens;
  request.max_tokens = job.request->max_tokens;
  request.sampling.temperature = job.request->temperature;
  request.sampling.top_p = job.request->top_p;
  request.random = Rng(job.request->sample, job.request->PromptHash());
  request.ends = job.request->other_ends;
  if (tokenizer.special().eos) request.ends.push_back(*tokenizer.special().eos);
  return request;
}

FinishReason FinishReasonOf(EndReason reason, StopScanner& scanner) {
  if (reason == EndReason::kNotFinite) {
    ThrowFailed("generate", "the logits are not finite; is the model whole?");
  }
  if (reason == EndReason::kStopped) return FinishReason::kStop;
  // What the scanner's decoder held back may complete a stop string.
  if (scanner.Flush()) return FinishReason::kStop;
  return reason == EndReason::kEos ? FinishReason::kEos : FinishReason::kLength;
}

}  // namespace

// The engine makes at least one token. Where none is wanted it still checks the prompt.
EngineRequest MakeEngineRequest(std::span<const TokenId> prompt, const GenerateOptions& options,
                                size_t room) {
  EngineRequest request;
  request.prompt.assign(prompt.begin(), prompt.end());
  request.max_tokens = std::clamp<size_t>(options.max_tokens, 1, room);
  request.sampling = options.sampling;
  request.random = Rng(options.seed, "generate");
  request.ends = options.ends;
  return request;
}

void RequireFinite(EndReason reason) {
  if (reason != EndReason::kNotFinite) return;
  ThrowBadInput("generate", "finite logits", "NaN or infinity",
                "are there such numbers among the model's weights?");
}

std::vector<TokenId> Generate(const Decoder& decoder, std::span<const TokenId> prompt,
                              const GenerateOptions& options, const Context& context,
                              const std::function<bool(TokenId)>& on_token) {
  // After a prompt that is too long there is no room; Submit refuses it.
  const size_t context_length = decoder.plan.context;
  const size_t room = context_length - std::min(context_length, prompt.size());

  std::vector<TokenId> made;
  EngineRequest request = MakeEngineRequest(prompt, options, room + 1);
  request.on_token = [&](TokenId id) {
    if (options.max_tokens == 0) return false;
    made.push_back(id);
    return !on_token || on_token(id);
  };
  request.on_end = RequireFinite;

  // One cache, as long as this text can become.
  EngineOptions engine_options;
  engine_options.batch_tokens = kPromptTokensPerPass;
  engine_options.sequences = 1;
  const size_t capacity = prompt.size() + std::min(options.max_tokens, room);
  Engine engine(decoder, capacity, engine_options, context);
  engine.Submit(std::move(request));
  while (engine.Step()) {
  }
  return made;
}

GeneratorCounts GenerateTexts(const Decoder& decoder, const Tokenizer& tokenizer,
                              std::span<const GenerationRequest> requests,
                              const EngineOptions& options, const Context& context,
                              const GenerationSink& on_answer, const GenerationPassSink& on_pass) {
  const std::vector<Job> jobs = JobsOf(requests);
  GeneratorCounts counts;
  counts.requests = requests.size();
  counts.distinct = jobs.size();
  EngineOptions engine_options = options;
  engine_options.sequences = std::min(options.sequences, jobs.size());
  Engine engine(decoder, LongestOf(jobs, decoder.plan.context), engine_options, context);

  // All are submitted at once, in the order of the jobs, and the engine takes them as it has room.
  std::vector<Text> texts(jobs.size());
  uint64_t answered = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const Job& job = jobs[i];
    Text& text = texts[i];
    counts.prompt_tokens += job.request->tokens.size();
    text.scanner.emplace(tokenizer, job.request->tokens, job.request->stop);

    EngineRequest request = RequestOf(job, tokenizer);
    request.on_token = [&text](TokenId id) {
      ++text.tokens;
      return !text.scanner->Push(id);
    };
    request.on_end = [&](EndReason reason) {
      const FinishReason finish = FinishReasonOf(reason, *text.scanner);
      on_answer(job.indexes, {text.scanner->text(), text.tokens, finish});
      text.scanner.reset();
      counts.made_tokens += text.tokens;
      answered += job.indexes.size();
    };
    engine.Submit(std::move(request));
  }

  for (bool is_left = !jobs.empty(); is_left;) {
    is_left = engine.Step();
    if (on_pass) on_pass(answered);
  }
  counts.computed_tokens = engine.counts().computed_tokens;
  counts.passes = engine.counts().passes;
  return counts;
}

}  // namespace qualm
