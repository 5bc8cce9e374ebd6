// One request at a time goes through an engine with one slot, whose cache stays filled between the
// requests. What is shown of a text is what its stop strings can no longer cut off.
#include "generate/text_writer.h"

#include <algorithm>

#include "generate/stop_scanner.h"
#include "model/decoder.h"

namespace qualm {
namespace {

EngineOptions OneSequence() {
  EngineOptions options;
  options.batch_tokens = kPromptTokensPerPass;
  options.sequences = 1;
  return options;
}

// Passes a text on piece by piece.
class Shown {
 public:
  explicit Shown(const TextWatch& watch) : watch_(watch) {}

  // `settled` begins with all that was passed on before. False if nobody wants more.
  bool Show(std::string_view settled) {
    const std::string_view piece = settled.substr(std::min(bytes_, settled.size()));
    bytes_ += piece.size();
    return piece.empty() || !watch_.on_text || watch_.on_text(piece);
  }

 private:
  const TextWatch& watch_;
  size_t bytes_ = 0;
};

}  // namespace

TextWriter::TextWriter(const Decoder& decoder, const Tokenizer& tokenizer, size_t capacity,
                       const Context& context)
    : tokenizer_(tokenizer),
      capacity_(std::min(capacity, decoder.plan.context)),
      engine_(decoder, capacity_, OneSequence(), context) {}

WrittenText TextWriter::Write(std::span<const TokenId> prompt, const GenerateOptions& options,
                              std::span<const std::string> stop, const TextWatch& watch) {
  WrittenText written;
  StopScanner scanner(tokenizer_, prompt, stop);
  Shown shown(watch);
  bool has_stopped = false;  // at a stop string
  bool has_ended = false;    // the engine is done with the request

  // After a prompt that is too long there is no room; Submit refuses it. The last new token takes
  // no place in the cache.
  const size_t room = capacity_ - std::min(capacity_, prompt.size()) + 1;
  EngineRequest request = MakeEngineRequest(prompt, options, room);
  request.on_token = [&](TokenId id) {
    if (options.max_tokens == 0) return false;
    written.ids.push_back(id);
    has_stopped = scanner.Push(id);
    return !has_stopped && shown.Show(scanner.SettledText());
  };
  request.on_end = [&](EndReason reason) {
    RequireFinite(reason);
    has_ended = true;
    if (reason == EndReason::kEos) written.reason = FinishReason::kEos;
    if (reason == EndReason::kStopped) written.reason = FinishReason::kInterrupted;
  };

  // An interruption between two tokens; a long prompt takes several passes.
  const uint64_t computed_before = engine_.counts().computed_tokens;
  const Engine::RequestId id = engine_.Submit(std::move(request));
  for (bool is_left = true; is_left;) {
    is_left = engine_.Step();
    if (has_ended || !watch.is_interrupted || !watch.is_interrupted()) continue;
    engine_.Cancel(id);
    written.reason = FinishReason::kInterrupted;
  }
  written.computed_tokens = engine_.counts().computed_tokens - computed_before;

  // What the scanner's decoder held back may complete a stop string.
  if (!has_stopped) has_stopped = scanner.Flush();
  if (has_stopped) written.reason = FinishReason::kStop;
  if (options.max_tokens == 0) written.reason = FinishReason::kLength;
  written.text = scanner.text();
  shown.Show(written.text);
  return written;
}

}  // namespace qualm
