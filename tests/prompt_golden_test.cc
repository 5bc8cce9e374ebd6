// The first three requests of every task, as texts and as token ids of the bilingual model, against
// hashes of what was read by eye: of the real data where it is at hand (the rows are not ours to
// keep), else of made-up rows. A changed prompt is a new version of its task and a new line here:
// the test prints it.
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "evaluate/request.h"
#include "generate/generation_request.h"
#include "io/hash.h"
#include "support/shared_data.h"
#include "tasks/items.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

// task -> version, hash
const std::map<std::string, std::pair<int, std::string>> kGolden = {
#include "prompt_goldens.inc"
};

TEST(PromptGolden, FirstThreeRequestsOfEveryTask) {
  QUALM_SHARED_OR_SKIP(data, "datasets");
  QUALM_SHARED_OR_SKIP(model, "models/qualm-bilingual");
  const auto tokenizer = LoadTokenizer(model);
  size_t checked = 0;
  for (const std::string& name : TaskNames()) {
    const Task task = FindTask(name);
    TaskItems made;
    ItemOptions options;
    bool is_real = true;
    try {
      made = MakeItems(task, options, data);
    } catch (const Error& error) {
      EXPECT_NE(std::string_view(error.what()).find("expected the file"), std::string_view::npos)
          << error.what();
      is_real = false;  // the set is listed in docs/tasks.md
      made = MakeItems(task, options, testing::SourceRoot() / "tests/data/rows");
    }
    Hasher hasher;
    for (size_t i = 0; i < 3; ++i) {
      const TaskItem& item = made.items.at(i);
      for (size_t c = 0; c < item.continuations.size(); ++c) {
        const std::string context = item.shots->Prompt(made.shots) + item.ContextOf(c);
        if (task.kind == TaskKind::kGeneration) {
          hasher.Add(context);
          hasher.Add(Join(item.choices, "\n"));
          for (TokenId id : EncodeGenerationPrompt(*tokenizer, context)) hasher.Add(StrCat(id));
          continue;
        }
        hasher.Add(context);
        hasher.Add(item.continuations[c]);
        hasher.Add(MakeLikelihoodRequest(*tokenizer, EncodeContext(*tokenizer, context),
                                         item.continuations[c])
                       .Hash());
      }
      hasher.Add(StrCat(item.gold));
    }
    ++checked;
    const auto golden = kGolden.find(name);
    const std::string line = StrCat("{\"", name, "\", {", task.version, ", \"", hasher.Hex(),
                                    "\"}},", is_real ? "" : "  // made-up rows");
    EXPECT_NE(golden, kGolden.end()) << line;
    if (golden == kGolden.end()) continue;
    EXPECT_EQ(golden->second.first, task.version) << line;
    EXPECT_EQ(golden->second.second, hasher.Hex()) << line;
  }
  EXPECT_EQ(checked, kGolden.size());
}

}  // namespace
}  // namespace qualm
