// The table of facts that are compared, and the comparison of the first items.
#include "evaluate/explain.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"

namespace qualm {
namespace {

struct FactRule {
  Aspect aspect;
  const char* fact;
  const char* what;  // in messages
};

// ADD A FACT: its line here, in the order of Aspect, and who says it (protocol_record.cc,
// evaluation_record.cc, lm_eval_results.cc).
constexpr FactRule kFactRules[] = {
    {Aspect::kTask, "task", "name of the task"},
    {Aspect::kTask, "corpus", "name of the text"},
    {Aspect::kTask, "version", "version of the task"},
    {Aspect::kTask, "kind", "kind of the task"},
    {Aspect::kRows, "split", "split"},
    {Aspect::kRows, "text_sha256", "SHA-256 of the text"},
    {Aspect::kRows, "files_hash", "hash of the task's file and its data files"},
    {Aspect::kRows, "rows_in_split", "rows in the split"},
    {Aspect::kRows, "n", "n"},
    {Aspect::kRows, "limit", "limit"},
    {Aspect::kRows, "first_rows", "first rows"},
    {Aspect::kRows, "rows_hash", "hash of the rows that were asked"},
    {Aspect::kPrompts, "prompts_sha256", "SHA-256 over all prompts"},
    {Aspect::kPrompts, "continuations_sha256", "SHA-256 over all continuations"},
    {Aspect::kBos, "bos_token", "BOS token"},
    {Aspect::kBos, "leading_bos", "BOS tokens in front"},
    {Aspect::kBos, "bos_in_every_window", "BOS in every window"},
    {Aspect::kChatTemplate, "chat_template", "SHA-256 of the chat template"},
    {Aspect::kChatTemplate, "chat_date", "date that the chat template is told"},
    {Aspect::kChatTemplate, "options", "options of the chat template"},
    {Aspect::kChatTemplate, "multiturn", "examples as turns"},
    {Aspect::kSystem, "system", "SHA-256 of the system text"},
    {Aspect::kShots, "shots", "number of examples"},
    {Aspect::kShots, "fewshot_seed", "seed of the examples"},
    {Aspect::kNormalization, "main_metric", "main metric"},
    {Aspect::kFilters, "filters", "filters of the answers"},
    {Aspect::kFilters, "until", "stop strings"},
    {Aspect::kFilters, "max_tokens", "most tokens of a text"},
    {Aspect::kFilters, "samples", "texts for each row"},
    {Aspect::kFilters, "temperature", "temperature"},
    {Aspect::kFilters, "top_p", "top p"},
    {Aspect::kWindows, "protocol", "perplexity protocol"},
    {Aspect::kWindows, "protocol_version", "version of the protocol"},
    {Aspect::kWindows, "seqlen", "tokens of a window"},
    {Aspect::kWindows, "stride", "stride of the windows"},
    {Aspect::kWindows, "context", "model's context"},
    {Aspect::kWindows, "prompts_with_fewer_shots", "prompts that lost examples"},
    {Aspect::kWindows, "prompts_truncated", "prompts that lost tokens"},
    {Aspect::kWindows, "texts_shortened", "texts that had to be shorter"},
    {Aspect::kTokens, "token_hash", "hash of the text's tokens"},
    {Aspect::kModel, "model_hash", "hash of the model"},
    {Aspect::kModel, "weights", "weights"},
    {Aspect::kModel, "compute_type", "type of the arithmetic"},
    {Aspect::kMetric, "metrics", "metrics"},
};

// Null if it is not known.
const Json* FactOf(const EvaluationRecord& record, const char* fact) {
  const auto found = record.facts.find(fact);
  return found == record.facts.end() ? nullptr : &found->second;
}

uint64_t CountOf(const EvaluationRecord& record, const char* fact, uint64_t when_unknown) {
  const Json* value = FactOf(record, fact);
  return value != nullptr && value->is_number_unsigned() ? value->get<uint64_t>() : when_unknown;
}

bool AreKnownAndEqual(const EvaluationRecord& a, const EvaluationRecord& b, const char* fact) {
  const Json *first = FactOf(a, fact), *second = FactOf(b, fact);
  return first != nullptr && second != nullptr && *first == *second;
}

bool AreKnownAndDiffer(const EvaluationRecord& a, const EvaluationRecord& b, const char* fact) {
  const Json *first = FactOf(a, fact), *second = FactOf(b, fact);
  return first != nullptr && second != nullptr && *first != *second;
}

bool IsNone(const EvaluationRecord& record, const char* fact) {
  const Json* value = FactOf(record, fact);
  return value != nullptr && *value == kNoSuchThing;
}

class Comparer {
 public:
  Comparer(const EvaluationRecord& first, const EvaluationRecord& second)
      : first_(first), second_(second) {}

  Explanation Run() {
    explanation_.first = first_.name;
    explanation_.second = second_.name;
    PairScores();
    have_same_rows_ = !AreKnownAndDiffer(first_, second_, "rows_hash") &&
                      !AreKnownAndDiffer(first_, second_, "first_rows") &&
                      !AreKnownAndDiffer(first_, second_, "n");

    // Facts in their order; what only the first items show follows the facts of its aspect.
    Aspect aspect = Aspect::kTask;
    for (const FactRule& rule : kFactRules) {
      if (rule.aspect != aspect) CompareItems(aspect);
      aspect = rule.aspect;
      if (rule.aspect == Aspect::kPrompts) continue;  // items first: they say more
      if (CanMatter(rule)) CompareFact(rule);
    }
    if (explanation_.scores.empty()) {
      Add(Aspect::kMetric, "a metric in common", MetricsOf(first_), MetricsOf(second_));
    }
    return std::move(explanation_);
  }

 private:
  void Add(Aspect aspect, std::string what, Json first, Json second,
           std::optional<TextDifference> text = {}) {
    explanation_.differences.push_back(
        {aspect, std::move(what), std::move(first), std::move(second), std::move(text)});
  }

  // Facts that are only about other facts' values, or that cannot change a score.
  bool CanMatter(const FactRule& rule) const {
    const std::string_view fact = rule.fact;
    // Names of the harness's files and ours have separate versions.
    const bool are_alike = first_.is_lm_eval == second_.is_lm_eval;
    if (fact == "version") return are_alike;
    // Within the same rows, it does not matter what left others out.
    if (fact == "limit") return !have_same_rows_;
    if (fact == "rows_hash") {
      return !AreKnownAndDiffer(first_, second_, "n") &&
             !AreKnownAndDiffer(first_, second_, "first_rows");
    }
    // One text may have several names.
    if (fact == "corpus") return !AreKnownAndEqual(first_, second_, "text_sha256");
    // What a template is told, and turns of a conversation, need a template; seeds need examples.
    const bool have_templates =
        !IsNone(first_, "chat_template") && !IsNone(second_, "chat_template");
    if (fact == "chat_date" || fact == "options") return have_templates;
    if (fact == "multiturn") return have_templates && HaveShots();
    if (fact == "fewshot_seed") return HaveShots();
    // A longer context changes nothing where all requests fit into both. Texts that are scored by
    // themselves are cut into pieces of its size.
    if (fact == "context") {
      const uint64_t longest =
          std::max(CountOf(first_, "longest_request", 0), CountOf(second_, "longest_request", 0));
      const uint64_t context =
          std::min(CountOf(first_, "context", 0), CountOf(second_, "context", 0));
      return longest == 0 || longest > context || AreKnownAndEqual(first_, second_, "context") ||
             (FactOf(first_, "kind") != nullptr && *FactOf(first_, "kind") == "rolling");
    }
    // The harness has a separate list for each version.
    if (fact == "metrics") return FactOf(first_, "metrics") && FactOf(second_, "metrics");
    return true;
  }

  bool HaveShots() const {
    return CountOf(first_, "shots", 1) > 0 && CountOf(second_, "shots", 1) > 0;
  }

  // Facts that neither side says do not belong to this kind of evaluation.
  void CompareFact(const FactRule& rule) {
    const Json *first = FactOf(first_, rule.fact), *second = FactOf(second_, rule.fact);
    if (first == nullptr && second == nullptr) return;
    if (first == nullptr || second == nullptr) {
      explanation_.unknown.push_back({rule.aspect, rule.what, first != nullptr, second != nullptr});
    } else if (*first != *second) {
      Add(rule.aspect, rule.what, *first, *second);
    }
  }

  // --- the first items

  // Items of the same row.
  template <class Visit>
  void ForEachPair(const Visit& visit) const {
    for (const RecordedItem& first : first_.items) {
      const auto second = std::ranges::find(second_.items, first.row, &RecordedItem::row);
      if (second == second_.items.end()) continue;
      if (!visit(first, *second)) return;
    }
  }

  bool HavePairs() const {
    bool have = false;
    ForEachPair([&](const RecordedItem&, const RecordedItem&) {
      have = true;
      return false;
    });
    return have;
  }

  void CompareItems(Aspect aspect) {
    if (aspect == Aspect::kRows) CompareTargets();
    if (aspect == Aspect::kPrompts && !first_.is_text) ComparePrompts();
    if (aspect == Aspect::kShots) CompareShotRows();
    if (aspect == Aspect::kTokens) CompareTokens();
  }

  // Only numbers of choices mean the same everywhere; a reference may be written in several ways.
  void CompareTargets() {
    const Json* kind = FactOf(first_, "kind");
    if (kind == nullptr || *kind != "multiple_choice") return;
    ForEachPair([&](const RecordedItem& a, const RecordedItem& b) {
      const auto is_number = [](const std::string& text) {
        return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
      };
      if (a.targets.empty() || a.targets == b.targets) return true;
      if (!std::ranges::all_of(a.targets, is_number) || b.targets.empty() ||
          !std::ranges::all_of(b.targets, is_number)) {
        return true;
      }
      Add(Aspect::kRows, StrCat("right choice of row ", a.row), a.targets, b.targets);
      return false;
    });
  }

  void ComparePrompts() {
    const size_t before = explanation_.differences.size();
    if (HavePairs()) {
      CompareFirstTexts();
    } else {
      explanation_.unknown.push_back({Aspect::kPrompts, "prompts of the first items",
                                      !first_.items.empty(), !second_.items.empty()});
    }
    // The hashes over all items say something more only if the first items are equal, and only of
    // the same rows.
    if (explanation_.differences.size() > before || !have_same_rows_) return;
    for (const FactRule& rule : kFactRules) {
      if (rule.aspect == Aspect::kPrompts) CompareFact(rule);
    }
  }

  // The first item whose prompt differs, and the first whose continuations do.
  void CompareFirstTexts() {
    ForEachPair([&](const RecordedItem& a, const RecordedItem& b) {
      if (a.prompt_sha256.empty() || a.prompt_sha256 == b.prompt_sha256) return true;
      if (b.prompt_sha256.empty()) return true;
      std::optional<TextDifference> text;
      if (a.prompt && b.prompt && *a.prompt != *b.prompt) text = DifferenceOf(*a.prompt, *b.prompt);
      Add(Aspect::kPrompts, StrCat("prompt of row ", a.row), a.prompt_sha256, b.prompt_sha256,
          std::move(text));
      return false;
    });
    ForEachPair([&](const RecordedItem& a, const RecordedItem& b) {
      if (a.continuations_sha256.empty() || b.continuations_sha256.empty()) return true;
      if (a.continuations_sha256 == b.continuations_sha256) return true;
      AddContinuations(a, b);
      return false;
    });
  }

  void AddContinuations(const RecordedItem& a, const RecordedItem& b) {
    for (size_t i = 0; i < std::min(a.continuations.size(), b.continuations.size()); ++i) {
      if (a.continuations[i] == b.continuations[i]) continue;
      Add(Aspect::kPrompts, StrCat("continuation ", i, " of row ", a.row), a.continuations_sha256,
          b.continuations_sha256, DifferenceOf(a.continuations[i], b.continuations[i]));
      return;
    }
    Add(Aspect::kPrompts, StrCat("continuations of row ", a.row), a.continuations_sha256,
        b.continuations_sha256);
  }

  // Only our own files say which rows the examples are.
  void CompareShotRows() {
    if (!AreKnownAndEqual(first_, second_, "shots")) return;
    ForEachPair([&](const RecordedItem& a, const RecordedItem& b) {
      if (!a.token_ids || !b.token_ids || a.shot_rows == b.shot_rows) return true;
      Add(Aspect::kShots, StrCat("rows of the examples of row ", a.row), a.shot_rows, b.shot_rows);
      return false;
    });
  }

  // Other texts have other tokens: only those of equal texts say something of the tokenizers.
  void CompareTokens() {
    bool were_compared = false;
    ForEachPair([&](const RecordedItem& a, const RecordedItem& b) {
      if (a.prompt_sha256 != b.prompt_sha256 || !a.token_ids || !b.token_ids) return true;
      if (a.continuations_sha256 != b.continuations_sha256) return true;
      were_compared = true;
      if (a.token_hash == b.token_hash) return true;
      AddTokens(a, b);
      return false;
    });
    if (were_compared) return;
    const auto has_tokens = [](const EvaluationRecord& record) {
      return std::ranges::any_of(
          record.items, [](const RecordedItem& item) { return item.token_ids.has_value(); });
    };
    explanation_.unknown.push_back(
        {Aspect::kTokens, "tokens of the first items", has_tokens(first_), has_tokens(second_)});
  }

  // A few ids from the first that differs.
  void AddTokens(const RecordedItem& a, const RecordedItem& b) {
    constexpr size_t kShown = 8;
    const std::vector<int64_t>&ids = *a.token_ids, &others = *b.token_ids;
    const size_t common = std::min(ids.size(), others.size());
    size_t at = 0;
    while (at < common && ids[at] == others[at]) ++at;
    const auto shown = [&](const std::vector<int64_t>& list) {
      const size_t end = std::min(at + kShown, list.size());
      return Json(std::vector<int64_t>(list.begin() + static_cast<ptrdiff_t>(std::min(at, end)),
                                       list.begin() + static_cast<ptrdiff_t>(end)));
    };
    Add(Aspect::kTokens,
        StrCat("tokens of ", first_.is_text ? "window " : "row ", a.row, ", from token ", at + 1,
               " on"),
        shown(ids), shown(others));
  }

  // --- scores

  // Where only one of the two names its filter, or they name it differently, a metric that each has
  // only once is the same.
  void PairScores() {
    const auto count = [](const EvaluationRecord& record, const std::string& metric) {
      return std::ranges::count(record.scores, metric, &RecordedScore::metric);
    };
    for (const RecordedScore& score : first_.scores) {
      const bool is_only = count(first_, score.metric) == 1 && count(second_, score.metric) == 1;
      const auto other = std::ranges::find_if(second_.scores, [&](const RecordedScore& one) {
        return one.metric == score.metric && (is_only || one.filter == score.filter);
      });
      if (other == second_.scores.end()) continue;
      explanation_.scores.push_back({score.metric, score.filter, score, *other});
    }
  }

  static Json MetricsOf(const EvaluationRecord& record) {
    Json metrics = Json::array();
    for (const RecordedScore& score : record.scores) metrics.push_back(score.metric);
    return metrics;
  }

  const EvaluationRecord &first_, &second_;
  bool have_same_rows_ = true;
  Explanation explanation_;
};

// Moves what `are_pair` finds from the lists to the pairs.
template <class ArePair>
void TakePairs(std::vector<const EvaluationRecord*>& first,
               std::vector<const EvaluationRecord*>& second, const ArePair& are_pair,
               RecordPairs& result) {
  std::erase_if(first, [&](const EvaluationRecord* one) {
    const auto other = std::ranges::find_if(
        second, [&](const EvaluationRecord* candidate) { return are_pair(*one, *candidate); });
    if (other == second.end()) return false;
    result.pairs.emplace_back(one, *other);
    second.erase(other);
    return true;
  });
}

}  // namespace

const char* AspectName(Aspect aspect) {
  switch (aspect) {
    case Aspect::kTask:
      return "task";
    case Aspect::kRows:
      return "rows";
    case Aspect::kPrompts:
      return "prompts";
    case Aspect::kBos:
      return "bos";
    case Aspect::kChatTemplate:
      return "chat template";
    case Aspect::kSystem:
      return "system text";
    case Aspect::kShots:
      return "examples";
    case Aspect::kNormalization:
      return "normalization";
    case Aspect::kFilters:
      return "filters";
    case Aspect::kWindows:
      return "windows";
    case Aspect::kTokens:
      return "tokens";
    case Aspect::kModel:
      return "model";
    case Aspect::kMetric:
      return "metric";
  }
  return "";
}

Explanation Explain(const EvaluationRecord& first, const EvaluationRecord& second) {
  return Comparer(first, second).Run();
}

RecordPairs PairRecords(const std::vector<EvaluationRecord>& first,
                        const std::vector<EvaluationRecord>& second) {
  std::vector<const EvaluationRecord*> open_first, open_second;
  for (const EvaluationRecord& record : first) open_first.push_back(&record);
  for (const EvaluationRecord& record : second) open_second.push_back(&record);

  // From the closest names to the loosest; tasks and texts never belong together.
  RecordPairs result;
  const auto is_same_kind = [](const EvaluationRecord& a, const EvaluationRecord& b) {
    return a.is_text == b.is_text;
  };
  TakePairs(
      open_first, open_second,
      [&](const auto& a, const auto& b) { return is_same_kind(a, b) && a.name == b.name; }, result);
  TakePairs(
      open_first, open_second,
      [&](const auto& a, const auto& b) {
        return is_same_kind(a, b) && !a.is_text && PlainTaskName(a.name) == PlainTaskName(b.name);
      },
      result);
  if (open_first.size() == 1 && open_second.size() == 1) {
    TakePairs(open_first, open_second, is_same_kind, result);
  }

  for (const EvaluationRecord* record : open_first) result.only_in_first.push_back(record->name);
  for (const EvaluationRecord* record : open_second) result.only_in_second.push_back(record->name);
  return result;
}

}  // namespace qualm
