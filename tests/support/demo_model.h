// The demo model, and texts by their definition: one token after the other, alone, without an
// engine.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "generate/generation_request.h"
#include "model/model.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm::testing {

class DemoModelTest : public ::testing::Test {
 protected:
  DemoModelTest() : context_(2), model_(LoadModel(SourceRoot() / "demo/model", {}, context_)) {}

  Decoder& decoder() { return *model_.decoder; }
  const Tokenizer& tokenizer() const { return model_.RequireTokenizer(); }
  std::vector<TokenId> Prompt(std::string_view text) const {
    return EncodeGenerationPrompt(tokenizer(), text);
  }

  // The greedy continuation of a prompt, without `eos`, which ends it.
  std::vector<TokenId> Continuation(const std::vector<TokenId>& prompt, size_t max_tokens,
                                    std::optional<TokenId> eos = {}) {
    KvCache cache = decoder().MakeCache(prompt.size() + max_tokens);
    Matrix logits(1, decoder().plan.vocab_size());
    std::vector<TokenId> next = prompt, made;
    while (made.size() < max_tokens) {
      const Matrix hidden = decoder().Forward(std::vector<SequenceSlice>{{&cache, next}}, context_);
      decoder().Logits(hidden.view().Rows(next.size() - 1, 1), logits, context_);
      const auto largest = std::ranges::max_element(logits.row(0));
      next = {static_cast<TokenId>(largest - logits.row(0).begin())};
      if (eos && next[0] == *eos) break;
      made.push_back(next[0]);
    }
    return made;
  }

  TestContext context_;
  Model model_;
};

}  // namespace qualm::testing
