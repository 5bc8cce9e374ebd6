// From a task and its rows to items: contexts, continuations, right choices and examples. Tasks in
// the format of lm-evaluation-harness are made in lm_eval_items.cc; which rows are asked is decided
// here for both.
#include "tasks/items.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "tasks/lm_eval_data.h"
#include "tasks/lm_eval_items.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

// Indexes of `count` of `total`, drawn without replacement, rising.
std::vector<size_t> Draw(size_t count, size_t total, Rng& rng) {
  std::vector<size_t> all(total);
  for (size_t i = 0; i < total; ++i) all[i] = i;
  for (size_t i = 0; i < count; ++i) std::swap(all[i], all[i + rng.Below(total - i)]);
  all.resize(count);
  std::ranges::sort(all);
  return all;
}

class ItemMaker {
 public:
  ItemMaker(const Task& task, const RowSet& set, const std::filesystem::path& data_folder)
      : task_(task), set_(set), data_folder_(data_folder) {}

  bool IsAsked(const SourcedRow& row) const {
    return !task_.has_where || !task_.where.Render(ScopeOf(row), Place(task_.split, row)).empty();
  }

  TaskItem Make(const SourcedRow& row, const std::string& split) const {
    TaskItem item;
    item.subset = row.subset;
    item.row = row.index;
    item.place = Place(split, row);
    Json scope = ScopeOf(row);
    item.cluster = task_.cluster.Render(scope, item.place);
    if (item.cluster.empty()) item.cluster = row.subset;
    if (task_.kind == TaskKind::kContinuation) {
      item.contexts.push_back(task_.context.Render(scope, item.place));
      item.continuations.push_back(task_.continuation.Render(scope, item.place));
      item.counted = item.continuations[0];
      return item;
    }
    AddChoices(scope, item);
    if (task_.kind == TaskKind::kGeneration) {
      scope["choice"] = item.choices[0];
      item.contexts.push_back(task_.context.Render(scope, item.place));
      item.continuations.push_back(task_.continuation.Render(scope, item.place));
      item.scope = std::make_shared<const Json>(std::move(scope));
      return item;
    }
    scope["choices"] = item.choices;
    const bool same_context = !UsesChoice(task_.context);
    for (size_t i = 0; i < item.choices.size(); ++i) {
      scope["choice"] = item.choices[i];
      scope["letter"] = std::string(1, static_cast<char>('A' + i % 26));
      scope["index"] = i;
      if (i == 0 || !same_context) {
        item.contexts.push_back(task_.context.Render(scope, item.place));
      }
      item.continuations.push_back(task_.continuation.Render(scope, item.place));
    }
    SetGold(scope, item);
    return item;
  }

  // The file of a header is added to `inputs`.
  std::string HeaderOf(const SourcedRow& row, InputSet& inputs) const {
    const std::string place = Place(task_.split, row);
    if (!task_.has_header_file) return task_.header.Render(ScopeOf(row), place);
    const std::string path = task_.header_file.Render(ScopeOf(row), place);
    std::error_code ignored;
    if (!std::filesystem::exists(PathOnDisk(data_folder_, path), ignored)) {
      ThrowBadInput(task_.name, StrCat("the file ", (data_folder_ / path).string()), "none",
                    StrCat("it comes from: ", set_.source));
    }
    AddDataFile(data_folder_, path, inputs);
    const std::string text = ReadDataFile(data_folder_, path);
    const size_t at = text.find(task_.header_after);
    if (at == std::string::npos) {
      ThrowBadInput((data_folder_ / path).string(), StrCat("'", task_.header_after, "'"), "none");
    }
    return text.substr(at + task_.header_after.size());
  }

  std::string Place(const std::string& split, const SourcedRow& row) const {
    return StrCat(set_.name, ":", split, row.subset.empty() ? "" : ":", row.subset, " row ",
                  row.index);
  }

 private:
  static bool UsesChoice(const Template& text) {
    return text.Uses("choice") || text.Uses("letter") || text.Uses("index");
  }

  Json ScopeOf(const SourcedRow& row) const {
    Json scope = row.row;
    scope["row_number"] = row.index + 1;
    if (row.subset.empty()) return scope;
    scope["subset"] = row.subset;
    scope["subset_name"] = row.subset;
    for (const auto& [subset, name] : task_.subset_names) {
      if (subset == row.subset) scope["subset_name"] = name;
    }
    return scope;
  }

  // Fills item.choices and their ids, which are their texts where the task gives none.
  void AddChoices(Json& scope, TaskItem& item) const {
    std::vector<std::string>& ids = item.ids;
    const auto add = [&](const ChoiceTemplate& choice) {
      item.choices.push_back(choice.text.Render(scope, item.place));
      ids.push_back(choice.id.Render(scope, item.place));
      if (ids.back().empty()) ids.back() = item.choices.back();
    };
    if (task_.each.empty()) {
      for (const ChoiceTemplate& choice : task_.choices) add(choice);
    } else {
      if (task_.has_first) {
        item.choices.push_back(task_.first.Render(scope, item.place));
        ids.push_back(item.choices.back());
      }
      for (const std::string& path : task_.each) {
        scope["list"] = path;
        for (const Json& element : ElementsOf(scope, path, item.place)) {
          scope["it"] = element;
          add(task_.choices[0]);
        }
      }
      const size_t least = task_.kind == TaskKind::kGeneration ? 1 : 2;
      if (ids.size() < least) {
        ThrowBadInput(item.place, StrCat("at least ", least, " in '", task_.each[0], "'"),
                      StrCat(ids.size()));
      }
    }
  }

  // Of a list of choices in the row.
  std::vector<Json> ElementsOf(const Json& scope, const std::string& path,
                               const std::string& place) const {
    const Json* list = FindPath(scope, path);
    std::vector<Json> elements;
    if (!task_.each_separator.empty() && list != nullptr && list->is_string()) {
      std::string_view rest = list->get_ref<const std::string&>();
      while (!rest.empty()) {
        const size_t end = std::min(rest.find(task_.each_separator), rest.size());
        if (!Trim(rest.substr(0, end)).empty()) {
          elements.emplace_back(std::string(Trim(rest.substr(0, end))));
        }
        rest.remove_prefix(std::min(end + task_.each_separator.size(), rest.size()));
      }
      return elements;
    }
    if (list == nullptr || !list->is_array()) {
      ThrowBadInput(place, StrCat("a list of choices in '", path, "'"),
                    list == nullptr ? "none" : DescribeValue(*list));
    }
    elements.assign(list->begin(), list->end());
    return elements;
  }

  // pandas stores whole numbers next to nulls as floats: "2.0" is 2.
  static std::string_view WithoutZeroFraction(std::string_view number) {
    const size_t point = number.find('.');
    const bool is_whole = point != std::string_view::npos && point > 0 &&
                          number.find_first_not_of('0', point + 1) == std::string_view::npos;
    return is_whole ? number.substr(0, point) : number;
  }

  void SetGold(const Json& scope, TaskItem& item) const {
    const std::vector<std::string>& ids = item.ids;
    const std::string answer(Trim(task_.answer.Render(scope, item.place)));
    size_t gold = ids.size();
    if (task_.answer_kind == AnswerKind::kLetter) {
      if (answer.size() == 1 && answer[0] >= 'A') gold = static_cast<size_t>(answer[0] - 'A');
    } else if (task_.answer_kind == AnswerKind::kId || task_.answer_kind == AnswerKind::kIds) {
      gold = static_cast<size_t>(std::ranges::find(ids, answer) - ids.begin());
    } else {
      const std::string_view number = WithoutZeroFraction(answer);
      const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), gold);
      if (task_.answer_kind == AnswerKind::kNumber) --gold;  // 0 becomes too large
      if (error != std::errc() || end != number.data() + number.size()) gold = ids.size();
    }
    if (gold >= ids.size()) {
      ThrowBadInput(item.place, StrCat("an answer among ", ids.size(), " choices"),
                    StrCat("'", answer, "'"));
    }
    item.gold = gold;
    if (task_.answer_kind != AnswerKind::kIds) return;
    for (const std::string& id : ids) item.right.push_back(id == answer ? 1 : 0);
  }

  const Task& task_;
  const RowSet& set_;
  const std::filesystem::path& data_folder_;
};

// The examples of each subset, made when its first row comes.
class ShotMaker {
 public:
  ShotMaker(const Task& task, const ItemMaker& maker, const NamedSplit& split, size_t count,
            uint64_t seed, std::vector<SourcedRow> rows, InputSet& inputs)
      : task_(task), maker_(maker), split_(split), count_(count), seed_(seed), inputs_(inputs) {
    for (SourcedRow& row : rows) {
      if (maker.IsAsked(row)) rows_[row.subset].push_back(std::move(row));
    }
  }

  std::shared_ptr<const Shots> For(const SourcedRow& row) {
    std::shared_ptr<const Shots>& shots = made_[row.subset];
    if (!shots) shots = Make(row);
    return shots;
  }

 private:
  std::shared_ptr<const Shots> Make(const SourcedRow& row) {
    auto shots = std::make_shared<Shots>();
    shots->header = maker_.HeaderOf(row, inputs_);
    shots->separator = task_.separator;
    if (count_ == 0) return shots;
    const auto found = rows_.find(row.subset);
    const size_t available = found == rows_.end() ? 0 : found->second.size();
    if (available < count_) {
      ThrowBadInput("--shots",
                    StrCat("at most ", available, ", the rows of ", task_.data_set, ":",
                           split_.name, row.subset.empty() ? "" : ":", row.subset),
                    StrCat(count_));
    }
    std::vector<size_t> chosen(count_);
    for (size_t i = 0; i < count_; ++i) chosen[i] = i;
    if (task_.shots_are_sampled) {
      Rng rng(seed_, StrCat("shots ", task_.name, " ", row.subset));
      chosen = Draw(count_, available, rng);
    }
    for (size_t i : chosen) {
      const TaskItem shot = maker_.Make(found->second[i], split_.name);
      const std::string& answer = shot.continuations[shot.gold];
      shots->texts.push_back(StrCat(shot.ContextOf(shot.gold), answer, task_.separator));
      shots->turns.push_back(
          {{"user", shot.ContextOf(shot.gold)},
           {"assistant", answer.substr(std::min(answer.find_first_not_of(" \t"), answer.size()))}});
      shots->rows.push_back(found->second[i].index);
    }
    return shots;
  }

  const Task& task_;
  const ItemMaker& maker_;
  const NamedSplit split_;
  size_t count_;
  uint64_t seed_;
  InputSet& inputs_;  // of the items that are being made
  std::map<std::string, std::vector<SourcedRow>> rows_;
  std::map<std::string, std::shared_ptr<const Shots>> made_;
};

// Empty where the task asks all of the set.
std::vector<std::string> SubsetsOf(const Task& task) {
  return task.subsets.empty() ? std::vector<std::string>{""} : task.subsets;
}

// The rows of a split, of the task's subsets, as its templates see them.
std::vector<SourcedRow> RowsOf(const Task& task, const RowSet& set, const NamedSplit& split,
                               const std::filesystem::path& data_folder, InputSet& inputs) {
  std::vector<SourcedRow> rows;
  for (const std::string& subset : SubsetsOf(task)) {
    for (SourcedRow& row : LoadRows(set, split.name, subset, data_folder, &inputs)) {
      rows.push_back(std::move(row));
    }
  }
  if (task.lm_eval) rows = LmEvalRows(task, std::move(rows));
  return rows;
}

// Leaves the first rows of a split that names a part; whether it left any out.
bool KeepPart(const NamedSplit& split, std::vector<SourcedRow>& rows) {
  if (split.rows == 0 || split.rows >= rows.size()) return false;
  rows.resize(split.rows);
  return true;
}

// The rows that are asked: those of the pool and of `where`, as many as the limit says.
std::vector<SourcedRow> AskedRows(const Task& task, const ItemOptions& options,
                                  const ItemMaker& maker, const std::string& pool_name,
                                  std::vector<SourcedRow> rows, TaskItems& made) {
  std::erase_if(rows, [&](const SourcedRow& row) {
    const bool is_in_pool =
        options.pool == RowPool::kAll ||
        PoolOf(row, pool_name, options.pool_seed, options.calibration_share) == options.pool;
    return !is_in_pool || !maker.IsAsked(row);
  });
  if (rows.empty()) {
    const bool is_pooled = options.pool != RowPool::kAll;
    ThrowBadInput(StrCat(task.data_set, ":", task.split), "a row that the task asks",
                  StrCat("none; 'where' ", is_pooled ? "or the pool of rows leaves" : "leaves",
                         " all of them out"));
  }

  made.rows_in_split = rows.size();
  if (options.limit == 0 || options.limit >= rows.size()) return rows;
  made.is_partial = true;
  if (task.lm_eval) {
    rows.resize(options.limit);
    return rows;
  }
  Rng rng(0, StrCat("limit ", task.name));
  std::vector<SourcedRow> drawn;
  for (size_t i : Draw(options.limit, rows.size(), rng)) drawn.push_back(std::move(rows[i]));
  return drawn;
}

// What a task needs in addition to rows: the pieces of BLEU, and headers that are files.
std::vector<std::string> OtherFilesOf(const Task& task, const RowSet& set) {
  std::vector<std::string> files;
  if (!task.generation.bleu_pieces.empty()) files.push_back(task.generation.bleu_pieces);
  if (!task.has_header_file) return files;
  const std::vector<std::string>& subsets = task.subsets.empty() ? set.subsets : task.subsets;
  for (const std::string& subset : subsets) {
    files.push_back(task.header_file.Render({{"subset", subset}}, task.name));
  }
  if (subsets.empty()) files.push_back(task.header_file.Render(Json::object(), task.name));
  return files;
}

}  // namespace

std::string Shots::Prompt(size_t count) const {
  std::string prompt = header;
  for (size_t i = 0; i < count; ++i) prompt += texts[i];
  return prompt;
}

std::string MissingTaskFile(const Task& task, const ItemOptions& options,
                            const std::filesystem::path& data_folder) {
  const RowSet& set = FindRowSet(task.data_set, task.name);
  for (const NamedSplit& split : SplitsOf(task, options)) {
    for (const std::string& subset : SubsetsOf(task)) {
      std::string missing =
          MissingFile(set, set.FindSplit(split.name, task.name), subset, data_folder);
      if (!missing.empty()) return missing;
    }
  }
  for (const std::string& path : OtherFilesOf(task, set)) {
    std::error_code ignored;
    if (!std::filesystem::exists(PathOnDisk(data_folder, path), ignored)) {
      return PathOnDisk(data_folder, path).string();
    }
  }
  return "";
}

InputSet TaskInputs(const Task& task, const ItemOptions& options,
                    const std::filesystem::path& data_folder) {
  const RowSet& set = FindRowSet(task.data_set, task.name);
  InputSet inputs = task.inputs;
  for (const NamedSplit& split : SplitsOf(task, options)) {
    for (const std::string& subset : SubsetsOf(task)) {
      AddRowFiles(set, set.FindSplit(split.name, task.name), subset, data_folder, inputs);
    }
  }
  for (const std::string& path : OtherFilesOf(task, set)) AddDataFile(data_folder, path, inputs);
  if (!task.generation.bleu_pieces.empty()) {
    AddPieceFiles(task, *LoadTokenizer(data_folder / task.generation.bleu_pieces), data_folder,
                  inputs);
  }
  return inputs;
}

// Pieces are opened like a model's tokenizer, with their side files.
void AddPieceFiles(const Task& task, const Tokenizer& pieces,
                   const std::filesystem::path& data_folder, InputSet& inputs) {
  const std::filesystem::path beside =
      std::filesystem::path(task.generation.bleu_pieces).parent_path();
  for (const InputFile& file : pieces.inputs().files()) {
    const std::filesystem::path name = std::filesystem::path(file.path).filename();
    AddDataFile(data_folder, (beside / name).string(), inputs);
  }
}

TaskItems MakeItems(const Task& task, const ItemOptions& options,
                    const std::filesystem::path& data_folder) {
  const RowSet& set = FindRowSet(task.data_set, task.name);
  const ItemMaker maker(task, set, data_folder);
  TaskItems made;
  made.inputs = task.inputs;
  made.shots = ShotsOf(task, options);
  made.fewshot_seed = options.fewshot_seed.value_or(task.default_fewshot_seed);

  // Examples have separate rows, which are read only if there are any.
  const NamedSplit split = ScoredSplit(task, options);
  std::vector<SourcedRow> rows = RowsOf(task, set, split, data_folder, made.inputs);
  made.is_partial = KeepPart(split, rows);
  std::vector<SourcedRow> shot_rows;
  NamedSplit shot_split;
  if (HasShotRows(task, options)) {
    shot_split = ShotSplit(task, options);
    shot_rows = RowsOf(task, set, shot_split, data_folder, made.inputs);
    (void)KeepPart(shot_split, shot_rows);
  }
  std::optional<LmEvalItemMaker> lm_eval;
  if (task.lm_eval) {
    lm_eval.emplace(task, rows, std::move(shot_rows), made.shots, made.fewshot_seed);
  }

  const std::string pool_name = options.pool == RowPool::kAll || options.pool_name
                                    ? options.pool_name.value_or("")
                                    : PoolNameOf(task, split.name, data_folder);
  rows = AskedRows(task, options, maker, pool_name, std::move(rows), made);
  if (lm_eval) {
    for (const SourcedRow& row : rows) {
      made.items.push_back(lm_eval->Make(row, maker.Place(split.name, row)));
    }
    made.own_examples = lm_eval->own_examples();
    return made;
  }
  ShotMaker shots(task, maker, shot_split, made.shots, made.fewshot_seed, std::move(shot_rows),
                  made.inputs);
  for (const SourcedRow& row : rows) {
    made.items.push_back(maker.Make(row, split.name));
    made.items.back().shots = shots.For(row);
  }
  return made;
}

}  // namespace qualm
