// How scores were made, as JSON: the entries of "protocols" in what `qualm eval --json` writes, and
// what `qualm explain` compares (evaluate/explain.h). Their size is bounded: of a task or a text
// they hold hashes of everything and the beginning of its first items. Format:
// docs/formats/evaluation.md.
#pragma once

#include <string>
#include <string_view>

#include "data/sha256.h"
#include "evaluate/protocol.h"
#include "evaluate/task_run.h"
#include "io/json.h"

namespace qualm {

struct Model;

// How many items, windows and tokens of them are shown, and how much text.
inline constexpr size_t kRecordedItems = 3;
inline constexpr size_t kRecordedTokens = 512;         // of one item
inline constexpr size_t kRecordedContinuations = 8;    // of one item
inline constexpr size_t kRecordedTextBytes = 1 << 14;  // of one text

// The recipe, or what another tool's file says of itself and how it is read; "float".
std::string WeightsText(const Model& model);

// Of a task that was asked. `task` and `options` are those that RunTask was given.
Json TaskProtocolJson(const Task& task, const TaskOutcome& outcome, const Model& model,
                      const TaskRunOptions& options);

// Of a text whose perplexity was computed. `content` is the whole text.
Json TextProtocolJson(const PerplexityText& text, std::string_view content,
                      const PerplexityProtocol& protocol, size_t seqlen, size_t limit,
                      const Model& model);

// lm-evaluation-harness hashes the prompt of each item by SHA-256. A hash over several of them is
// that of their hex digits one after the other, as the harness does it for "task_hashes".
class HashOfHashes {
 public:
  void Add(std::string_view text) { AddHash(Sha256OfText(text)); }
  void AddHash(std::string_view hex) { hash_.Add(hex); }
  std::string Hex() { return hash_.Hex(); }  // once

 private:
  Sha256 hash_;
};

}  // namespace qualm
