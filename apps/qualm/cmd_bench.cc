// qualm bench: measures speed and memory of a model as it would run, on random token ids. Flags
// come in; a table or one JSON object goes out.
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "efficiency/measure.h"
#include "model_flags.h"
#include "tensor/isa.h"

namespace qualm::cli {
namespace {

// `contexts` and `batches` are lists as the user wrote them; empty: the single value applies.
struct Flags {
  ModelFlags model;
  std::string contexts, batches;
  SpeedOptions speed;
};

// The numbers in "1,4,16".
std::vector<size_t> NumbersOf(const std::string& flag, const std::string& text) {
  std::vector<size_t> numbers;
  for (const std::string& word : Split(text, ',')) {
    size_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value == 0) {
      ThrowBadInput(flag, "whole numbers of at least 1, separated by commas",
                    StrCat("'", text, "'"));
    }
    numbers.push_back(value);
  }
  return numbers;
}

Json ToJson(const Spread& spread) {
  return {{"median", spread.median}, {"lowest", spread.lowest}, {"highest", spread.highest}};
}

// `points` has every combination; the keys on the top level repeat the first of them.
Json JsonOf(const Flags& flags, const SpeedResult& result, int threads) {
  Json formats = Json::array(), points = Json::array();
  // How the layers are stored and run, which explains the speed.
  for (const FormatUse& use : result.formats) {
    formats.push_back({{"format", use.format},
                       {"layers", use.layers},
                       {"weight_bytes", use.bytes},
                       {"is_dequantized", use.is_dequantized}});
  }

  for (const SpeedPoint& point : result.points) {
    points.push_back(
        {{"context", point.context},
         {"batch", point.batch},
         {"prefill_tokens_per_s", ToJson(point.prefill)},
         {"decode_tokens_per_s", ToJson(point.decode)},
         {"joules_per_token", point.joules_per_token ? Json(*point.joules_per_token) : Json()}});
  }

  // Scripts that measure one combination need not look into the list.
  const SpeedPoint& first = result.points.front();
  return {{"model", flags.model.name},
          {"formats", std::move(formats)},
          {"threads", threads},
          {"instruction_set", InstructionSet()},
          {"prompt_tokens", first.context},
          {"generated_tokens", flags.speed.gen},
          {"n", flags.speed.repetitions},
          {"load_seconds", ToJson(result.load_seconds)},
          {"prefill_tokens_per_s", ToJson(first.prefill)},
          {"decode_tokens_per_s", ToJson(first.decode)},
          {"points", std::move(points)},
          {"weight_bytes", result.weight_bytes},
          {"steady_memory_bytes", result.steady_memory_bytes},
          {"peak_memory_bytes", result.peak_memory_bytes}};
}

// "median (lowest .. highest)", tokens per second.
std::string RateText(const Spread& rate) {
  return StrCat(Fixed(rate.median, 2), " (", Fixed(rate.lowest, 2), " .. ", Fixed(rate.highest, 2),
                ")");
}

int Run(const Flags& flags, const Globals& globals) {
  // Lists of contexts and batches replace the single values.
  ThreadPool pool(globals.threads);
  SpeedOptions options = flags.speed;
  if (!flags.contexts.empty()) options.contexts = NumbersOf("--contexts", flags.contexts);
  if (!flags.batches.empty()) options.batches = NumbersOf("--batches", flags.batches);

  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};
  const SpeedResult result = MeasureSpeed(SourceOf(flags.model), options, context);

  if (globals.json) {
    PrintJson(JsonOf(flags, result, pool.threads()));
    return kOk;
  }

  // How the layers run, as a model without kernels for its codes is slow for that reason.
  Print(StrCat(flags.model.name, ": ", pool.threads(), " threads, ", InstructionSet(), "\n"));
  for (const FormatUse& use : result.formats) {
    Print(StrCat("layers   ", use.layers, " ", use.format, ", ", HumanBytes(use.bytes),
                 use.is_dequantized ? ": no kernel takes its codes, runs as dense float32" : "",
                 "\n"));
  }

  // A row for each combination, with the spread of the repetitions.
  std::vector<std::vector<std::string>> rows = {
      {"context", "batch", "prefill tokens/s", "decode tokens/s", "J/token"}};
  bool has_energy = false;
  for (const SpeedPoint& point : result.points) {
    has_energy |= point.joules_per_token.has_value();
    rows.push_back({StrCat(point.context), StrCat(point.batch), RateText(point.prefill),
                    RateText(point.decode),
                    point.joules_per_token ? Fixed(*point.joules_per_token, 4) : "-"});
  }

  Print(StrCat(FormatTable(rows, {true, true, true, true, true}),
               "medians (lowest .. highest), n = ", options.repetitions, ", ", options.gen,
               " tokens decoded behind each context",
               has_energy ? "" : "; this machine tells no energy", "\nload     ",
               Fixed(1e3 * result.load_seconds.median, 1), " ms (median of ", result.load_seconds.n,
               ")\nweights  ", HumanBytes(result.weight_bytes), " read per token; memory ",
               HumanBytes(result.steady_memory_bytes), " steady, ",
               HumanBytes(result.peak_memory_bytes), " at most\n"));
  return kOk;
}

}  // namespace

Command AddBench(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // The model, and what is measured.
  AddModelFlags(arguments, flags->model, "model", "Model, float or quantized");
  arguments.Add("--prompt", flags->speed.prompt, "Prompt tokens").ShowDefault().Positive();
  arguments.Add("--contexts", flags->contexts, "Several prompt lengths in place of one: 128,1024")
      .Checked([](const std::string& text) { (void)NumbersOf("--contexts", text); });
  arguments.Add("--batches", flags->batches, "Sequences at once: 1,4,16; default: 1")
      .Checked([](const std::string& text) { (void)NumbersOf("--batches", text); });
  arguments.Add("--gen", flags->speed.gen, "Decoded tokens").ShowDefault().Positive();
  arguments.Add("--repetitions", flags->speed.repetitions, "Repetitions; the median is printed")
      .ShowDefault()
      .Positive();

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm bench MODEL --prompt 512 --gen 64 --threads 2\n"
      "  qualm bench MODEL --contexts 128,512,1024 --batches 1,4 --json");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
