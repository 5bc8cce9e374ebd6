// Questions, answers and examples of rows, put together as build_qa_turn and fewshot_context of
// lm_eval 0.4.13 do it (lm_eval/api/task.py).
#include "tasks/lm_eval_items.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "tasks/prompt.h"
#include "tokenize/blanks.h"

namespace qualm {
namespace {

// A value as Python prints it where a text is expected.
std::string PrintedText(const Json& value, std::string_view place) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_number()) return value.dump();
  ThrowBadInput(place, "a target that is a text or a number", value.dump().substr(0, 80));
}

bool IsIndex(const Json& value) { return value.is_number_integer() || value.is_boolean(); }

size_t IndexOf(const Json& value, size_t choices, std::string_view place) {
  const int64_t index = value.is_boolean() ? (value.get<bool>() ? 1 : 0) : value.get<int64_t>();
  if (index < 0 || static_cast<uint64_t>(index) >= choices) {
    ThrowBadInput(place, StrCat("an answer among ", choices, " choices"), StrCat("number ", index));
  }
  return static_cast<size_t>(index);
}

// Between a question and an answer's prefix, the delimiter is written only where neither has a
// blank.
std::string DelimiterBefore(const std::string& question, const std::string& prefix,
                            const std::string& delimiter) {
  if (question.empty() || EndsInBlank(question) || BeginsWithBlank(prefix)) return "";
  return delimiter;
}

std::vector<std::string> ColumnsOf(const std::vector<SourcedRow>& rows) {
  std::vector<std::string> columns;
  if (rows.empty()) return columns;
  for (const auto& [name, value] : rows[0].row.items()) columns.push_back(name);
  std::ranges::sort(columns);
  return columns;
}

}  // namespace

LmEvalItemMaker::LmEvalItemMaker(const Task& task, const std::vector<SourcedRow>& rows,
                                 std::vector<SourcedRow> shot_rows, size_t shots, uint64_t seed)
    : task_(task),
      format_(*task.lm_eval),
      columns_(ColumnsOf(rows)),
      pool_(std::move(shot_rows)),
      count_(shots),
      seed_(seed),
      random_(seed) {
  if (!format_.shots.has_samples) return;
  pool_.clear();
  for (size_t i = 0; i < format_.shots.samples.size(); ++i) {
    pool_.push_back({format_.shots.samples[i], "", i});
  }
}

TaskItem LmEvalItemMaker::Make(const SourcedRow& row, const std::string& place) {
  TaskItem item;
  item.subset = item.cluster = row.subset;
  item.row = row.index;
  item.place = place;
  const TaskRow fields{row.row, columns_, item.place};

  // Examples are drawn before anything else can fail: their order is the order of the rows.
  item.shots = ShotsFor(row, place);
  item.answer_prefix = format_.prefix.TextOf(fields);
  AddTexts(fields, item);
  if (format_.counted.is_given()) item.counted = format_.counted.TextOf(fields);
  return item;
}

// The question, and the continuations that are scored.
void LmEvalItemMaker::AddTexts(const TaskRow& row, TaskItem& item) const {
  const bool has_choices = format_.choices.is_given();
  if (task_.kind == TaskKind::kMultipleChoice) {
    AddChoices(row, item);
    return;
  }

  const Json question = format_.text.QuestionOf(row, has_choices);
  if (!question.is_string())
    ThrowBadInput(row.place, "doc_to_text that gives a text", question.dump());
  item.contexts = {question.get<std::string>()};
  if (!item.answer_prefix.empty()) {
    item.answer_delimiter =
        DelimiterBefore(item.contexts[0], item.answer_prefix, format_.target_delimiter);
  }

  if (task_.kind == TaskKind::kGeneration) {
    AddReferences(row, item);
    Json scope = row.fields;
    item.scope = std::make_shared<const Json>(std::move(scope));
    return;
  }
  // The target of a likelihood has its own blank in front.
  item.continuations = {PrintedText(format_.target.TargetOf(row, has_choices), row.place)};
  item.chat_continuations = item.continuations;
  if (IsRolling(task_)) item.contexts = {""};
  item.counted = item.continuations[0];
}

// Several questions with one answer, where the question is a choice's number; else one question
// with several answers.
void LmEvalItemMaker::AddChoices(const TaskRow& row, TaskItem& item) const {
  item.choices = format_.choices.ChoicesOf(row);
  item.ids = item.choices;
  const Json question = format_.text.QuestionOf(row, /*has_choices=*/true);
  const Json target = format_.target.TargetOf(row, /*has_choices=*/true);
  const std::string chat_delimiter = format_.chat_keeps_delimiter ? format_.target_delimiter : "";

  if (IsIndex(question)) {
    item.contexts = item.choices;
    const std::string answer = PrintedText(target, row.place);
    item.continuations.assign(item.choices.size(), format_.target_delimiter + answer);
    item.chat_continuations.assign(item.choices.size(), chat_delimiter + answer);
    AddGold(question, item);
    return;
  }
  if (!question.is_string())
    ThrowBadInput(row.place, "doc_to_text that gives a text", question.dump());
  item.contexts = {question.get<std::string>()};
  if (!item.answer_prefix.empty()) {
    item.answer_delimiter =
        DelimiterBefore(item.contexts[0], item.answer_prefix, format_.target_delimiter);
  }
  for (const std::string& choice : item.choices) {
    item.continuations.push_back(format_.target_delimiter + choice);
    item.chat_continuations.push_back(chat_delimiter + choice);
  }
  AddGold(target, item);
}

// A number, a choice's text, or a list of numbers, any of which is right.
void LmEvalItemMaker::AddGold(const Json& target, TaskItem& item) const {
  const size_t count = item.choices.size();
  if (IsIndex(target)) {
    item.gold = IndexOf(target, count, item.place);
    return;
  }
  if (target.is_array() && !target.empty() && std::ranges::all_of(target, IsIndex)) {
    item.right.assign(count, 0);
    for (const Json& one : target) item.right[IndexOf(one, count, item.place)] = 1;
    item.gold = IndexOf(target[0], count, item.place);
    return;
  }
  const auto found = target.is_string() ? std::ranges::find(item.choices, target.get<std::string>())
                                        : item.choices.end();
  if (found == item.choices.end()) {
    ThrowBadInput(item.place, "doc_to_target that is a choice or its number",
                  target.dump().substr(0, 80), StrCat("choices are ", Join(item.choices, " | ")));
  }
  item.gold = static_cast<size_t>(found - item.choices.begin());
}

// What a generated text is compared with: with choices, the text of the right one.
void LmEvalItemMaker::AddReferences(const TaskRow& row, TaskItem& item) const {
  const bool has_choices = format_.choices.is_given();
  const Json target = format_.target.TargetOf(row, has_choices);
  if (has_choices && IsIndex(target)) {
    const std::vector<std::string> choices = format_.choices.ChoicesOf(row);
    item.choices = {choices[IndexOf(target, choices.size(), row.place)]};
  } else if (target.is_array()) {
    for (const Json& one : target) item.choices.push_back(PrintedText(one, row.place));
    if (item.choices.empty()) ThrowBadInput(row.place, "at least one target", "an empty list");
  } else {
    item.choices = {PrintedText(target, row.place)};
  }
  item.ids = item.choices;
  item.continuations = {format_.target_delimiter + item.choices[0]};
}

// Each subset is a separate task of the harness, with its own generator.
std::shared_ptr<const Shots> LmEvalItemMaker::ShotsFor(const SourcedRow& row,
                                                       const std::string& place) {
  auto shots = std::make_shared<Shots>();
  const TaskRow fields{row.row, columns_, place};
  shots->header = format_.description.TextOf(fields);
  shots->header_is_system = true;
  shots->separator = format_.separator;
  if (count_ == 0) return shots;

  if (!has_subset_ || subset_ != row.subset) {
    has_subset_ = true;
    subset_ = row.subset;
    random_ = PythonRandom(seed_);
    open_.clear();
    for (size_t i = 0; i < pool_.size(); ++i) {
      if (format_.shots.has_samples || pool_[i].subset == subset_) open_.push_back(i);
    }
  }
  bool is_own_example = false;
  for (size_t i : Chosen(row.row, place)) {
    is_own_example |= pool_[i].row == row.row;
    AddShot(pool_[i].row, StrCat(place, ", example ", pool_[i].index), *shots);
    shots->rows.push_back(pool_[i].index);
  }
  own_examples_ += is_own_example ? 1 : 0;
  return shots;
}

// ContextSampler.sample and FirstNSampler.sample, as places in the pool.
std::vector<size_t> LmEvalItemMaker::Chosen(const Json& scored, const std::string& place) {
  const bool leaves_out = format_.shots.leaves_out_scored;
  const auto is_example = [&](size_t i) { return !leaves_out || pool_[i].row != scored; };
  std::vector<size_t> chosen;
  const auto take = [&](size_t i) {
    if (chosen.size() < count_ && is_example(i)) chosen.push_back(i);
  };
  const auto require = [&](size_t available, size_t needed) {
    if (available >= needed) return;
    ThrowBadInput("--shots",
                  StrCat("at most ", count_ - (needed - available), ", the examples for ", place),
                  StrCat(count_));
  };

  if (format_.shots.takes_first) {
    for (size_t k = 0; k < open_.size() && chosen.size() < count_; ++k) take(open_[k]);
    require(chosen.size(), count_);
    return chosen;
  }

  // One more than needed is drawn, so that the scored row can be left out.
  const size_t drawn = count_ + (leaves_out ? 1 : 0);
  require(open_.size(), drawn);
  for (size_t i : random_.Sample(open_.size(), drawn)) take(open_[i]);
  if (chosen.size() == count_) return chosen;

  // Copies of the scored row were drawn, too: a second draw is made of the other rows.
  std::vector<size_t> others;
  std::ranges::copy_if(open_, std::back_inserter(others), is_example);
  require(others.size(), count_);
  chosen.clear();
  for (size_t i : random_.Sample(others.size(), count_)) chosen.push_back(others[i]);
  return chosen;
}

// The answer of an example: a choice by its number, the first of several targets, or the target.
// Empty where there is none, which an empty choice is not.
std::optional<std::string> LmEvalItemMaker::AnswerOf(const TaskRow& row) const {
  const bool has_choices = format_.choices.is_given();
  const Json target = format_.ShotTarget().TargetOf(row, has_choices);
  if (target.is_null() || target == "") return std::nullopt;
  if (target.is_string()) return target.get<std::string>();
  if (target.is_array() && !target.empty()) return PrintedText(target[0], row.place);

  const bool is_question = has_choices && IsIndex(format_.ShotText().QuestionOf(row, true));
  if (has_choices && !is_question && IsIndex(target)) {
    const std::vector<std::string> choices = format_.ShotChoices().ChoicesOf(row);
    return choices[IndexOf(target, choices.size(), row.place)];
  }
  ThrowBadInput(row.place, "doc_to_target of an example that is a text", target.dump());
}

// One example as text and as messages. Without an answer it ends after the question.
void LmEvalItemMaker::AddShot(const Json& fields, const std::string& place, Shots& shots) const {
  const TaskRow row{fields, columns_, place};
  const bool has_choices = format_.choices.is_given();
  const Json asked = format_.ShotText().QuestionOf(row, has_choices);
  std::string question;
  if (IsIndex(asked)) {
    const std::vector<std::string> choices = format_.ShotChoices().ChoicesOf(row);
    question = choices[IndexOf(asked, choices.size(), place)];
  } else if (asked.is_string()) {
    question = asked.get<std::string>();
  } else {
    ThrowBadInput(place, "doc_to_text that gives a text", asked.dump());
  }

  const std::optional<std::string> answer = AnswerOf(row);
  const std::string prefix = format_.ShotPrefix().TextOf(row);
  const std::string& delimiter = format_.shots.target_delimiter;
  std::string between = answer ? delimiter : "";
  if (!prefix.empty()) between = DelimiterBefore(question, prefix, delimiter);

  std::vector<ChatMessage> messages = {{"user", question}};
  std::string text = question + between;
  if (answer) {
    messages.push_back({"assistant", JoinWithDelimiter(prefix, *answer, " ")});
    text += messages.back().content + format_.shots.separator;
  } else if (!prefix.empty()) {
    messages.push_back({"assistant", prefix});
    text += prefix;
  }
  shots.texts.push_back(std::move(text));
  shots.turns.push_back(std::move(messages));
}

}  // namespace qualm
