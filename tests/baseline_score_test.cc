// What models compute and what that is worth: the bits of logits of every family and of the
// embedded demo model, and the scores of each kind of task, of generated texts and of the
// perplexity protocols on the demo model and the made-up rows of tests/data/rows, against the
// tables in tests/baseline/. How a table is rewritten, and what its values depend on, is said in
// support/pinned_table.h.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "base/strings.h"
#include "chat/chat_template.h"
#include "evaluate/perplexity.h"
#include "evaluate/request.h"
#include "evaluate/task_distance.h"
#include "evaluate/task_run.h"
#include "generate/generate.h"
#include "io/hash.h"
#include "io/json.h"
#include "model/model.h"
#include "results/store.h"
#include "support/logits_hash.h"
#include "support/pinned_table.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::CachedHash;
using testing::ExactText;
using testing::PinnedTable;
using testing::PrefillHash;

std::filesystem::path DemoModel() { return testing::SourceRoot() / "demo/model"; }

std::string ExactText(const Estimate& estimate) {
  return StrCat(ExactText(estimate.value), " +- ", ExactText(estimate.standard_error));
}

TEST(BaselineScore, LogitsOfEveryFamily) {
  QUALM_PIN_OR_SKIP();
  QUALM_SHARED_OR_SKIP(families, "golden/families");
  std::set<std::filesystem::path> models;
  for (const auto& entry : std::filesystem::directory_iterator(families)) {
    if (entry.is_directory()) models.insert(entry.path());
  }

  testing::TestContext context(2);
  PinnedTable table("logits.txt");
  for (const std::filesystem::path& folder : models) {
    const Json golden = ReadJsonFile(folder / "golden.json");
    for (const bool in_bf16 : {false, true}) {
      const Model model = LoadModel(folder, {.compute_in_bf16 = in_bf16}, context);
      for (size_t i = 0; i < golden["sequences"].size(); ++i) {
        const auto ids = golden["sequences"][i]["ids"].get<std::vector<TokenId>>();
        const std::string name =
            StrCat(folder.filename().string(), in_bf16 ? "/bfloat16/" : "/", i);
        table.Check(name, PrefillHash(*model.decoder, ids, context));
        table.Check(name, CachedHash(*model.decoder, ids, context));
      }
    }
  }
  table.Finish();
}

TEST(BaselineScore, LogitsOfTheDemoModel) {
  QUALM_PIN_OR_SKIP();
  testing::TestContext context(2);
  PinnedTable table("demo_logits.txt");
  for (const bool in_bf16 : {false, true}) {
    const Model model = LoadModel(DemoModel(), {.compute_in_bf16 = in_bf16}, context);
    for (const size_t length : {1u, 7u, 70u}) {
      const std::vector<TokenId> ids =
          testing::RandomTokens(length, model.decoder->plan.vocab_size(), length);
      const std::string name = StrCat(in_bf16 ? "bfloat16/" : "float32/", length, "-tokens");
      table.Check(name, PrefillHash(*model.decoder, ids, context));
      table.Check(name, CachedHash(*model.decoder, ids, context));
    }
  }
  table.Finish();
}

// A built-in task, or the YAML of one.
struct Case {
  const char* name;
  const char* task;
  const char* chat;  // the name of a template; empty: none
  size_t limit;      // rows
};

constexpr const char* kContinuation = R"(
name: continuation
title: t
kind: continuation
data: {set: swag, split: val}
shots: {split: train, default: 1, separator: "\n"}
context: "{startphrase}"
continuation: " {ending0}"
metrics: [acc, ppl]
)";

constexpr const char* kSampled = R"(
name: sampled
title: t
kind: generation
data: {set: asdiv, split: all}
context: "{Body|strip}\nQuestion: {Question|strip}\nAnswer:"
generate: {max_tokens: 10, stop: ["\n"], samples: 3, temperature: 0.8, top_p: 0.9}
prediction: "{generated}"
references: ["{Body}", "{Question}"]
metrics: [squad_f1, rougeL, bleu, chrf]
)";

constexpr Case kCases[] = {
    {"letters", "agieval", "", 6},
    {"letters-chat", "agieval", "llama2", 2},
    {"endings", "hellaswag", "", 0},
    {"contexts", "winogrande", "", 0},
    {"yes-or-no", "boolq", "", 0},
    {"several-right", "multirc", "", 0},
    {"labels", "boss-advcivil", "", 0},
    {"continuation", kContinuation, "", 0},
    {"one-line", "bbh", "", 4},
    {"chain-of-thought", "bbh-cot", "", 1},
    {"number", "asdiv", "", 0},
    {"spans", "boss-newsqa", "", 0},
    {"spans-chat", "boss-newsqa", "chatml", 1},
    {"entities", "boss-ener", "", 2},
    {"sampled", kSampled, "", 0},
};

// One request as it is stored: what was asked, and a likelihood or a text.
void AddRequest(const StoredRequest& request, const std::string& model, const ResultStore& store,
                Hasher& hasher) {
  hasher.Add(StrCat(request.request, " ", request.tokens, " ",
                    ExactText(request.answer.log_likelihood), " ", request.answer.is_greedy));
  hasher.Add(request.context);
  hasher.Add(request.continuation);
  const auto text = store.FindText(model, request.request, kGenerationProtocol);
  if (text) hasher.Add(StrCat(text->tokens, " ", text->reason, " ", text->text));
}

// Every answer that the run put into its store, and what came of each row.
std::string AnswersHash(const ResultStore& store, const std::string& model, int protocol) {
  Hasher hasher;
  for (const StoredEvaluation& evaluation : store.Evaluations()) {
    hasher.Add(evaluation.key.prompt_hash);
    for (const StoredItem& item : store.Items(evaluation.id)) {
      hasher.Add(StrCat(item.subset, " ", item.row, " ", item.gold, " ", item.picked, " ",
                        item.is_correct, " ", item.is_near_tie, " ", ExactText(item.value)));
      hasher.Add(item.prediction);
      for (const StoredRequest& request :
           store.Requests(evaluation.id, item.item, model, protocol)) {
        AddRequest(request, model, store, hasher);
      }
    }
  }
  return hasher.Hex();
}

TEST(BaselineScore, EachKindOfTask) {
  QUALM_PIN_OR_SKIP();
  const testing::TemporaryFolder folder;
  testing::TestContext context(2);
  const Model model = LoadModel(DemoModel(), {}, context);
  const std::string hash = model.Hash();
  PinnedTable table("tasks.txt");
  for (const Case& one : kCases) {
    const bool is_yaml = std::string_view(one.task).find('\n') != std::string_view::npos;
    Task task = is_yaml ? ParseTask(one.task, one.name) : FindTask(one.task);
    ResultStore store(folder / StrCat(one.name, ".db"));
    TaskRunOptions options;
    options.data_folder = testing::SourceRoot() / "tests/data/rows";
    options.items.limit = one.limit;
    options.store = &store;
    std::optional<ChatTemplate> chat;
    if (*one.chat != '\0') {
      chat.emplace(FindChatTemplate(one.chat, DemoModel()));
      options.style.chat = &*chat;
      task.variant = StrCat("@", chat->name());
    }

    const TaskOutcome result = RunTask(task, model, hash, options, context);
    for (const TaskScore& score : result.scores) {
      std::string name = StrCat(one.name, "/", score.part, "/", score.metric);
      std::ranges::replace(name, ' ', '-');
      table.Check(name, StrCat(ExactText(score.estimate), " n ", score.n, " chance ",
                               ExactText(score.baseline)));
    }
    const int protocol =
        task.kind == TaskKind::kGeneration ? kGenerationProtocol : kLikelihoodProtocol;
    table.Check(StrCat(one.name, "/answers"), AnswersHash(store, hash, protocol));
    table.Check(StrCat(one.name, "/first-request"), HashBytes(result.first_request));
  }
  table.Finish();
}

// The same task asked of the model and of its weights in bfloat16.
TEST(BaselineScore, DistanceOnATask) {
  QUALM_PIN_OR_SKIP();
  testing::TestContext context(2);
  const Model reference = LoadModel(DemoModel(), {}, context);
  const Model model = LoadModel(DemoModel(), {.compute_in_bf16 = true}, context);
  TaskRunOptions options;
  options.data_folder = testing::SourceRoot() / "tests/data/rows";
  const Task& task = FindTask("hellaswag");
  const TaskOutcome of_reference = RunTask(task, reference, reference.Hash(), options, context);
  const TaskOutcome outcome = RunTask(task, model, model.Hash(), options, context);
  const ScoredDistances distances =
      DistancesOnTask(of_reference, reference, outcome, model, options.scorer, context);
  PinnedTable table("distance.txt");
  table.Check("kl", ExactText(distances.kl));
  table.Check("same_top1", ExactText(distances.same_top1));
  table.Finish();
}

void CheckComparison(const std::string& name, const Comparison& comparison, PinnedTable& table) {
  table.Check(StrCat(name, "/kl_mean"), ExactText(comparison.kl_mean));
  table.Check(StrCat(name, "/kl_median"), ExactText(comparison.kl_median));
  table.Check(StrCat(name, "/kl_p99"), ExactText(comparison.kl_p99));
  table.Check(StrCat(name, "/kl_max"), ExactText(comparison.kl_max));
  table.Check(StrCat(name, "/top1_agreement"), ExactText(comparison.top1_agreement));
  table.Check(StrCat(name, "/rms_delta_p"), ExactText(comparison.rms_delta_p));
  table.Check(StrCat(name, "/delta_log_ppl"), ExactText(comparison.delta_log_ppl));
}

TEST(BaselineScore, EveryPerplexityProtocol) {
  QUALM_PIN_OR_SKIP();
  testing::TestContext context(2);
  const Model reference = LoadModel(DemoModel(), {}, context);
  const Model model = LoadModel(DemoModel(), {.compute_in_bf16 = true}, context);
  const DecoderScoringModel scoring_reference(*reference.decoder), scoring(*model.decoder);
  PinnedTable table("perplexity.txt");
  for (const PerplexityProtocol& protocol : AllProtocols()) {
    for (const char* text : {"stories", "chinese"}) {
      // A short text, so that the last window is a shorter one.
      const std::string bytes =
          ReadFile(testing::SourceRoot() / "demo/text" / StrCat(text, ".test.txt"));
      const PerplexityText prepared =
          PrepareText(protocol, text, std::string_view(bytes).substr(0, 1500),
                      reference.RequireTokenizer(), 64);
      const TextScores scores = ScorePerplexity(
          {.model = &scoring, .reference = &scoring_reference}, {&prepared, 1}, {}, context)[0];

      const std::string name = StrCat(protocol.name, "/", text);
      table.Check(StrCat(name, "/ppl"), ExactText(scores.ppl));
      table.Check(StrCat(name, "/reference_ppl"), ExactText(*scores.reference_ppl));
      for (size_t w = 0; w < scores.window_nll.size(); ++w) {
        table.Check(StrCat(name, "/window-", w), ExactText(scores.window_nll[w]));
      }
      CheckComparison(name, *scores.comparison, table);
    }
  }
  table.Finish();
}

TEST(BaselineScore, GeneratedTexts) {
  QUALM_PIN_OR_SKIP();
  testing::TestContext context(2);
  const Model model = LoadModel(DemoModel(), {}, context);
  const std::vector<TokenId> prompt = testing::RandomTokens(9, model.decoder->plan.vocab_size(), 1);
  PinnedTable table("texts.txt");
  for (const double temperature : {0.0, 0.7, 1.5}) {
    GenerateOptions options;
    options.max_tokens = 24;
    options.sampling.temperature = temperature;
    options.sampling.top_p = 0.95;
    options.seed = 4;
    std::vector<std::string> tokens;
    for (TokenId id : Generate(*model.decoder, prompt, options, context))
      tokens.push_back(StrCat(id));
    table.Check(StrCat("temperature-", temperature), Join(tokens, " "));
  }
  table.Finish();
}

TEST(BaselineScore, EveryChatTemplate) {
  const std::vector<ChatMessage> messages = {
      {"system", "Be brief."}, {"user", " Hello \n"}, {"assistant", "Hi."}, {"user", "你好"}};
  PinnedTable table("chat_templates.txt");
  for (const NamedChatTemplate& one : NamedChatTemplates()) {
    const ChatTemplate chat = FindChatTemplate(one.name, DemoModel());
    table.Check(one.name, HashBytes(chat.Render(messages)));
  }
  table.Finish();
}

}  // namespace
}  // namespace qualm
