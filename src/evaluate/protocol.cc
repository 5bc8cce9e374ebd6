// The table of perplexity protocols and their rules: windows, first scored token, weights.
#include "evaluate/protocol.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {

namespace {

// A protocol that changes a rule gets a higher version.
// Fields that a protocol does not set have the defaults of the first one.
const std::vector<PerplexityProtocol>& Table() {
  static const std::vector<PerplexityProtocol> kTable = {
      {.name = "gptq",
       .version = 1,
       .summary =
           "windows of min(2048, context), tail dropped, unweighted mean over windows (GPTQ, "
           "AWQ, SmoothQuant, SpQR, OmniQuant papers)"},
      {.name = "mi-optimize",
       .version = 1,
       .summary = "as gptq, but the tail is kept and a window weighs its number of tokens",
       .keeps_tail = true,
       .weight = WindowWeight::kTokens},
      {.name = "llama.cpp",
       .version = 1,
       .summary =
           "windows of 512, BOS replaces each window's first token, the second half is scored",
       .default_window = 512,
       .strips_final_newline = true,
       .bos_in_every_window = true,
       .scores_second_half = true,
       .weight = WindowWeight::kTargets},
  };
  return kTable;
}

// Position in the window of the first token that is scored. The second half of llama.cpp begins
// after the token at position tokens/2, so 255 of 512 tokens are scored.
size_t FirstTarget(const PerplexityProtocol& protocol, size_t window) {
  return protocol.scores_second_half ? window / 2 + 1 : 1;
}

// What a window counts in the mean over windows.
double WeightOf(WindowWeight weight, size_t tokens, size_t targets) {
  switch (weight) {
    case WindowWeight::kEqual:
      return 1;
    case WindowWeight::kTokens:
      return static_cast<double>(tokens);
    case WindowWeight::kTargets:
      return static_cast<double>(targets);
  }
  QUALM_CHECK(false);
  return 0;
}

}  // namespace

std::span<const PerplexityProtocol> AllProtocols() { return Table(); }

std::vector<std::string> ProtocolNames() {
  std::vector<std::string> names;
  for (const PerplexityProtocol& protocol : Table()) names.push_back(protocol.name);
  return names;
}

const PerplexityProtocol& FindProtocol(std::string_view name) {
  for (const PerplexityProtocol& protocol : Table()) {
    if (protocol.name == name) return protocol;
  }
  ThrowUnknownName("--protocol", "protocol", name, ProtocolNames());
}

size_t ResolveSeqlen(const PerplexityProtocol& protocol, size_t requested, size_t context) {
  const size_t seqlen = requested != 0 ? requested : std::min(protocol.default_window, context);
  if (seqlen > context) {
    ThrowBadInput("--seqlen", StrCat("at most the model's context of ", context, " tokens"),
                  StrCat(seqlen));
  }

  if (FirstTarget(protocol, seqlen) >= seqlen) {
    ThrowBadInput("--seqlen",
                  StrCat("a window with a token to score (protocol ", protocol.name, ")"),
                  StrCat(seqlen));
  }
  return seqlen;
}

std::vector<Window> PlanWindows(const PerplexityProtocol& protocol, size_t tokens, size_t seqlen) {
  QUALM_CHECK(seqlen > 0);
  std::vector<Window> windows;
  for (size_t begin = 0; begin < tokens; begin += seqlen) {
    // A shorter last window counts only in some protocols, and only if it has a target.
    const size_t length = std::min(seqlen, tokens - begin);
    if (length < seqlen && !protocol.keeps_tail) break;
    const size_t first_target = FirstTarget(protocol, length);
    if (first_target >= length) break;

    windows.push_back({.begin = begin,
                       .tokens = length,
                       .first_target = first_target,
                       .weight = WeightOf(protocol.weight, length, length - first_target)});
  }
  return windows;
}

std::vector<TokenId> PerplexityText::WindowIds(const Window& window) const {
  const auto first = ids.begin() + static_cast<std::ptrdiff_t>(window.begin);
  std::vector<TokenId> result(first, first + static_cast<std::ptrdiff_t>(window.tokens));
  if (window_bos) result.front() = *window_bos;
  return result;
}

size_t PerplexityText::targets() const {
  size_t sum = 0;
  for (const Window& window : windows) sum += window.targets();
  return sum;
}

PerplexityText PrepareText(const PerplexityProtocol& protocol, std::string name,
                           std::string_view text, const Tokenizer& tokenizer, size_t seqlen,
                           size_t limit) {
  if (protocol.strips_final_newline && text.ends_with('\n')) text.remove_suffix(1);

  // One tokenisation for the whole text: windows must not change how words are split.
  PerplexityText result;
  result.name = std::move(name);
  result.ids = tokenizer.EncodeWithSpecial(text);
  result.windows = PlanWindows(protocol, result.ids.size(), seqlen);

  if (result.windows.empty()) {
    ThrowBadInput(
        result.name,
        StrCat("at least one window of ", seqlen, " tokens (protocol ", protocol.name, ")"),
        StrCat(result.ids.size(), " tokens"), "use a longer text or a smaller --seqlen");
  }

  // A limit keeps the first windows; BOS in every window needs a tokenizer that uses BOS.
  if (limit != 0 && result.windows.size() > limit) result.windows.resize(limit);
  if (protocol.bos_in_every_window && tokenizer.special().add_bos) {
    result.window_bos = tokenizer.special().bos;
  }
  return result;
}

}  // namespace qualm
