// Searches each new piece of text, together with the end of what was there before it.
#include "generate/stop_scanner.h"

#include <algorithm>

namespace qualm {
namespace {

// Tokens of the prompt that the decoder sees: enough for whether a blank belongs before a word.
constexpr size_t kSeenTokens = 8;

}  // namespace

StopScanner::StopScanner(const Tokenizer& tokenizer, const GenerationRequest& request)
    : decoder_(tokenizer), stop_(request.stop) {
  // The blank in front of the first word belongs to the text, so the decoder sees tokens before it.
  const size_t seen = std::min<size_t>(request.tokens.size(), kSeenTokens);
  for (size_t i = request.tokens.size() - seen; i < request.tokens.size(); ++i) {
    decoder_.Push(request.tokens[i]);
  }
  for (const std::string& stop : stop_) longest_ = std::max(longest_, stop.size());
}

bool StopScanner::Append(const std::string& piece) {
  // A stop string may begin in what was there before.
  const size_t from = text_.size() >= longest_ ? text_.size() - longest_ : 0;
  text_ += piece;

  size_t first = std::string::npos;
  for (const std::string& stop : stop_) first = std::min(first, text_.find(stop, from));
  if (first == std::string::npos) return false;
  text_.resize(first);
  return true;
}

}  // namespace qualm
