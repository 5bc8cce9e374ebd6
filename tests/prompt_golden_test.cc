// The first three requests of every task whose data is at hand, as texts and as token ids of the
// bilingual model, against hashes of what was read by eye. The rows themselves are not ours to
// keep. A changed prompt is a new version of its task and a new line here: the test prints it.
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "evaluate/request.h"
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
    try {
      made = MakeItems(task, {}, data);
    } catch (const Error& error) {
      EXPECT_FALSE(kGolden.contains(name)) << name << ": its data was there before";
      EXPECT_NE(std::string_view(error.what()).find("expected the file"), std::string_view::npos)
          << error.what();
      continue;  // data that is not at hand; listed in docs/tasks.md
    }
    Hasher hasher;
    for (size_t i = 0; i < 3; ++i) {
      const TaskItem& item = made.items.at(i);
      for (size_t c = 0; c < item.continuations.size(); ++c) {
        const std::string context = item.shots->Prompt(made.shots) + item.ContextOf(c);
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
    const std::string line =
        StrCat("{\"", name, "\", {", task.version, ", \"", hasher.Hex(), "\"}},");
    EXPECT_NE(golden, kGolden.end()) << line;
    if (golden == kGolden.end()) continue;
    EXPECT_EQ(golden->second.first, task.version) << line;
    EXPECT_EQ(golden->second.second, hasher.Hex()) << line;
  }
  EXPECT_EQ(checked, kGolden.size());
}

}  // namespace
}  // namespace qualm
