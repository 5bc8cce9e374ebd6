// Perplexity protocols: how a text becomes windows, which tokens of a window are scored and how the
// windows are weighted. A score without its protocol means nothing, so names and versions are
// stored in every result. Each rule has a test in protocol_test.cc.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

// ppl = exp(sum of weight·(mean NLL of the window's targets) / sum of weights).
enum class WindowWeight { kEqual, kTokens, kTargets };

// A row of the table: the rules in which protocols differ.
struct PerplexityProtocol {
  std::string name;
  int version = 1;  // raised whenever a rule changes
  std::string summary;
  size_t default_window = 2048;       // tokens; limited by the model's context
  bool strips_final_newline = false;  // one "\n" at the end of the text
  bool keeps_tail = false;            // the last, shorter window, if it has a target
  bool bos_in_every_window = false;   // BOS takes the place of each window's first token
  bool scores_second_half = false;    // else every token but the first of a window
  WindowWeight weight = WindowWeight::kEqual;
};

// The table (protocol.cc).
std::span<const PerplexityProtocol> AllProtocols();
std::vector<std::string> ProtocolNames();
// Unknown names: bad input with the nearest one and the list.
const PerplexityProtocol& FindProtocol(std::string_view name);

// The window length: `requested`, or min(protocol's default, context) if that is 0. Throws bad
// input if it exceeds the context or leaves nothing to score.
size_t ResolveSeqlen(const PerplexityProtocol& protocol, size_t requested, size_t context);

// Consecutive tokens that are fed to the model together. The tokens [first_target, tokens) are
// scored, each given all tokens of the window before it.
struct Window {
  size_t begin = 0;  // index of its first token in PerplexityText::ids
  size_t tokens = 0;
  size_t first_target = 1;
  double weight = 1;

  size_t targets() const { return tokens - first_target; }
};

// The windows of `tokens` token ids, in order; empty if the text is too short for one window.
std::vector<Window> PlanWindows(const PerplexityProtocol& protocol, size_t tokens, size_t seqlen);

// A text ready to be scored.
struct PerplexityText {
  std::string name;
  std::vector<TokenId> ids;
  std::vector<Window> windows;
  std::optional<TokenId> window_bos;  // takes the place of each window's first token

  std::vector<TokenId> WindowIds(const Window& window) const;
  size_t targets() const;
};

// Tokenizes `text` once as a whole (BOS in front if the tokenizer's configuration asks for it) and
// plans the windows; `limit` keeps the first ones (0: all). Throws bad input naming the text if it
// is shorter than one window.
PerplexityText PrepareText(const PerplexityProtocol& protocol, std::string name,
                           std::string_view text, const Tokenizer& tokenizer, size_t seqlen,
                           size_t limit = 0);

}  // namespace qualm
