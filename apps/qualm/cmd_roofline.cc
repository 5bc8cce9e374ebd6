// qualm roofline: predicts from operations and bytes what bounds a model on a device; with
// --measure it compares this machine's speed with the prediction (efficiency/roofline.h).
#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "efficiency/hardware.h"
#include "efficiency/measure.h"
#include "efficiency/roofline.h"
#include "model_flags.h"
#include "study/machine.h"

namespace qualm::cli {
namespace {

// An empty `kv` means the cache that the model has.
struct Flags {
  ModelFlags model;
  std::string hardware = "this", kv;
  std::vector<std::string> recipes;
  Work work;
  size_t gen = 16, repetitions = 5;
  double activation_bytes = 4;
  bool measure = false;
};

// The device that the prediction is for; `peaks` only for "this".
struct Device {
  Hardware hardware;
  std::optional<MachinePeaks> peaks;
};

// "this" is measured now, other devices come from a table or a file.
Device FindDevice(const std::string& name, const Context& context) {
  if (name != "this") return {FindHardware(name), std::nullopt};
  const MachinePeaks peaks = MeasurePeaks(context);
  return {HardwareOf(peaks, StrCat(ProcessorName(), ", ", context.pool.threads(), " threads"),
                     static_cast<double>(AvailableMemoryBytes())),
          peaks};
}

Json ToJson(const Spread& spread) {
  return {{"median", spread.median},
          {"lowest", spread.lowest},
          {"highest", spread.highest},
          {"n", spread.n}};
}

Json ToJson(const MachinePeaks& peaks) {
  return {{"read_bytes_per_s", ToJson(peaks.read_bytes)},
          {"register_ops_per_s", peaks.register_flops},
          {"float_product_ops_per_s", ToJson(peaks.float_product)},
          {"int8_product_ops_per_s", ToJson(peaks.integer_product)},
          {"int4_one_token_bytes_per_s", ToJson(peaks.packed_read)}};
}

// The whole time, and each kind of operation with what bounds it.
Json ToJson(const Roofline& roofline) {
  // Operations of one kind are summed over all blocks.
  Json operations = Json::array();
  for (const OperationCost& one : roofline.operations) {
    operations.push_back({{"kind", one.kind},
                          {"ops", one.ops},
                          {"weight_bytes", one.weight_bytes},
                          {"activation_bytes", one.activation_bytes},
                          {"kv_bytes", one.kv_bytes},
                          {"intensity", one.intensity()},
                          {"bound", one.is_memory_bound() ? "memory" : "compute"},
                          {"compute_seconds", one.compute_seconds},
                          {"memory_seconds", one.memory_seconds},
                          {"seconds", one.seconds}});
  }

  return {{"seconds", roofline.seconds},
          {"tokens_per_s", roofline.tokens_per_second},
          {"operations", std::move(operations)}};
}

// Three significant digits and a unit of thousands.
std::string Scaled(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T", "P"};
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return StrCat(Fixed(value, value < 10 && unit > 0    ? 2
                             : value < 100 && unit > 0 ? 1
                                                       : 0),
                kUnits[unit]);
}

std::string Microseconds(double seconds) { return Fixed(1e6 * seconds, 1); }

// One line per kind of operation, with its share of the time.
void PrintOperations(const Roofline& roofline, const std::string& title) {
  std::vector<std::vector<std::string>> rows = {{"operation", "ops", "weights B", "activations B",
                                                 "cache B", "ops/B", "bound", "µs", "share"}};
  for (const OperationCost& one : roofline.operations) {
    rows.push_back({one.kind, Scaled(one.ops), Scaled(one.weight_bytes),
                    Scaled(one.activation_bytes), Scaled(one.kv_bytes), Fixed(one.intensity(), 1),
                    one.is_memory_bound() ? "memory" : "compute", Microseconds(one.seconds),
                    StrCat(Fixed(100 * one.seconds / roofline.seconds, 1), " %")});
  }
  Print(StrCat("\n", title, ": ", Microseconds(roofline.seconds), " µs at least, ",
               Scaled(roofline.tokens_per_second), " tokens/s at most\n",
               FormatTable(rows, {false, true, true, true, true, true, false, true, true})));
}

// One line of the comparison: how the weights are stored, and the predicted times.
struct Row {
  ModelStorage storage;
  Roofline prefill, decode;

  // The cache of all sequences after their contexts.
  double cache_bytes(const Work& work) const {
    return storage.kv_bytes_of_position() * static_cast<double>(work.batch * work.context);
  }
};

// All rows relative to the first one.
void PrintComparison(const std::vector<Row>& rows, const Work& work) {
  std::vector<std::vector<std::string>> table = {{"model", "bits/weight", "weights", "cache",
                                                  "prefill tokens/s", "decode tokens/s",
                                                  "prefill ×", "decode ×"}};
  // Speedups are relative to the first line, the model as it is stored.
  for (const Row& row : rows) {
    table.push_back({row.storage.label, Fixed(row.storage.bits_per_weight, 2),
                     HumanBytes(static_cast<uint64_t>(row.storage.weight_bytes())),
                     HumanBytes(static_cast<uint64_t>(row.cache_bytes(work))),
                     Scaled(row.prefill.tokens_per_second), Scaled(row.decode.tokens_per_second),
                     Fixed(row.prefill.tokens_per_second / rows[0].prefill.tokens_per_second, 2),
                     Fixed(row.decode.tokens_per_second / rows[0].decode.tokens_per_second, 2)});
  }
  Print(StrCat("\nat most; ×: of the first line\n",
               FormatTable(table, {false, true, true, true, true, true, true, true})));
}

// The measured speed of a phase, and the predicted one.
struct Comparison {
  Spread tokens_per_second;
  double predicted = 0;  // tokens per second

  double time_ratio() const { return predicted / tokens_per_second.median; }
};

// Both phases of one model.
struct Measurement {
  Comparison prefill, decode;
};

// Runs the model, and predicts once more for the contexts that decoding really had.
Measurement Measure(const Flags& flags, const Row& row, const Hardware& hardware,
                    const Context& context) {
  // The speeds of the same work that was predicted.
  SpeedOptions options;
  options.contexts = {flags.work.prompt};
  if (flags.work.context != flags.work.prompt) options.contexts.push_back(flags.work.context);
  options.batches = {flags.work.batch};
  options.gen = flags.gen;
  options.repetitions = flags.repetitions;

  const SpeedResult result = MeasureSpeed(SourceOf(flags.model), options, context);
  // The decoded tokens follow contexts that grow by one; the middle context has the mean cost.
  Work work = flags.work;
  work.context += flags.gen / 2;
  const Roofline decode =
      PredictTime(row.storage, hardware, Phase::kDecode, work, flags.activation_bytes);
  return {{result.points.front().prefill, row.prefill.tokens_per_second},
          {result.points.back().decode, decode.tokens_per_second}};
}

std::vector<Row> Predict(const Flags& flags, const Hardware& hardware) {
  // The model as it is stored, then as each recipe would store it.
  const ModelSource source = SourceOf(flags.model);
  const bool is_quantized = HasManifest(source.folder);
  const Checkpoint checkpoint = Checkpoint::Open(source, is_quantized);
  std::vector<ModelStorage> storages;
  if (is_quantized) {
    if (!flags.recipes.empty()) {
      ThrowBadInput("--recipe", "a float model", StrCat(source.name, ", which is quantized"));
    }
    const Manifest manifest = ReadManifest(source.folder);
    storages.push_back(StorageOf(checkpoint, &manifest));
  } else {
    storages.push_back(StorageOf(checkpoint, nullptr));
  }

  // Recipes are predicted from shapes; nothing is quantized.
  for (const std::string& name : flags.recipes) {
    storages.push_back(StorageOf(checkpoint, FindRecipe(name)));
  }

  std::vector<Row> rows;
  for (ModelStorage& storage : storages) {
    if (!flags.kv.empty()) SetKvBytes(storage, flags.kv);
    Row row{std::move(storage), {}, {}};
    row.prefill =
        PredictTime(row.storage, hardware, Phase::kPrefill, flags.work, flags.activation_bytes);
    row.decode =
        PredictTime(row.storage, hardware, Phase::kDecode, flags.work, flags.activation_bytes);
    rows.push_back(std::move(row));
  }
  return rows;
}

// Both phases in the same words.
void PrintMeasured(const Measurement& measurement) {
  const auto line = [](const char* phase, const Comparison& comparison) {
    const Spread& measured = comparison.tokens_per_second;
    return StrCat(phase, " measured ", Fixed(measured.median, 1), " tokens/s (",
                  Fixed(measured.lowest, 1), " .. ", Fixed(measured.highest, 1),
                  ", n = ", measured.n, "), predicted at most ", Fixed(comparison.predicted, 1),
                  ": ", Fixed(comparison.time_ratio(), 2), " times the predicted time\n");
  };
  Print(StrCat("\n", line("prefill", measurement.prefill), line("decode ", measurement.decode)));
}

Json ToJson(const Measurement& measurement) {
  return {{"prefill_tokens_per_s", measurement.prefill.tokens_per_second.median},
          {"decode_tokens_per_s", measurement.decode.tokens_per_second.median},
          {"prefill", ToJson(measurement.prefill.tokens_per_second)},
          {"decode", ToJson(measurement.decode.tokens_per_second)},
          {"prefill_time_to_predicted", measurement.prefill.time_ratio()},
          {"decode_time_to_predicted", measurement.decode.time_ratio()},
          {"n", measurement.decode.tokens_per_second.n}};
}

Json RowsJson(const std::vector<Row>& rows, const Work& work) {
  // Speedups are relative to the first row.
  Json list = Json::array();
  for (const Row& row : rows) {
    const double blocks = static_cast<double>(row.storage.plan.blocks.size());
    list.push_back(
        {{"weights", row.storage.label},
         {"bits_per_weight", row.storage.bits_per_weight},
         {"weight_bytes", row.storage.weight_bytes()},
         {"kv_bytes_per_position_and_block", row.storage.kv_bytes_of_position() / blocks},
         {"kv_bytes", row.cache_bytes(work)},
         {"prefill_speedup", row.prefill.tokens_per_second / rows[0].prefill.tokens_per_second},
         {"decode_speedup", row.decode.tokens_per_second / rows[0].decode.tokens_per_second},
         {"prefill", ToJson(row.prefill)},
         {"decode", ToJson(row.decode)}});
  }
  return list;
}

// "median (lowest .. highest, n = ...)" with a unit.
std::string RateText(const Spread& rate, const char* unit) {
  return StrCat(Scaled(rate.median), unit, " (", Scaled(rate.lowest), " .. ", Scaled(rate.highest),
                ", n = ", rate.n, ")");
}

// What the prediction is based on.
void PrintDevice(const Flags& flags, const Device& device) {
  const Hardware& hardware = device.hardware;
  // Only types that the device has.
  std::string peaks = StrCat("fp32 ", Scaled(hardware.ops.fp32));
  for (const auto& [name, ops] :
       {std::pair("fp16", hardware.ops.fp16), std::pair("fp8", hardware.ops.fp8),
        std::pair("int8", hardware.ops.int8), std::pair("int4", hardware.ops.int4)}) {
    if (ops > 0) peaks += StrCat(", ", name, " ", Scaled(ops));
  }

  Print(StrCat(flags.model.name, " on ", hardware.title, " (", hardware.source, ")\n",
               Scaled(hardware.bytes_per_second), "B/s; operations per second: ", peaks, "\n"));

  // Measured peaks come with their spread.
  if (device.peaks) {
    Print(StrCat("medians: memory ", RateText(device.peaks->read_bytes, "B/s"),
                 "; our float32 product ", RateText(device.peaks->float_product, " ops/s"),
                 ",\nint8 product ", RateText(device.peaks->integer_product, " ops/s"),
                 ", int4 with one token ", RateText(device.peaks->packed_read, "B/s"), "\n"));
  }

  Print(StrCat("batch ", flags.work.batch, ", prompt ", flags.work.prompt, ", context ",
               flags.work.context, "\n"));
}

// A model that does not fit is predicted all the same, so that one sees how far it is from fitting.
void WarnOfLimits(const std::vector<Row>& rows, const Work& work, const Hardware& hardware,
                  Progress& progress) {
  // Memory first, then positions.
  for (const Row& row : rows) {
    const double needed = row.storage.weight_bytes() + row.cache_bytes(work);
    if (needed <= hardware.memory_bytes) continue;
    progress.Warn(StrCat(row.storage.label, ": weights and cache take ",
                         HumanBytes(static_cast<uint64_t>(needed)), "; the device has ",
                         HumanBytes(static_cast<uint64_t>(hardware.memory_bytes))));
  }

  // A model can be timed beyond its context, although it was not made for that.
  const size_t longest = std::max(work.prompt, work.context);
  const size_t limit = rows[0].storage.plan.context;
  if (longest > limit) {
    progress.Warn(StrCat("the model is made for ", limit, " positions, not for ", longest));
  }
}

// What is wrong with the flags together; empty: nothing.
std::string ComplaintAbout(const Flags& flags) {
  if (!flags.measure) return "";
  if (flags.hardware != "this") {
    return StrCat("[--measure] expected --hardware this; got ", flags.hardware,
                  "; only this machine can be measured");
  }
  // In memory our caches are float32, whatever they are rounded to.
  if (flags.kv.empty() || flags.kv == "fp32") return "";
  return StrCat("[--measure] expected the model's own cache, or --kv fp32; got --kv ", flags.kv,
                "; what runs cannot be chosen here");
}

int Run(const Flags& flags, const Globals& globals) {
  ThreadPool pool(globals.threads);
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};
  const Device device = FindDevice(flags.hardware, context);
  const std::vector<Row> rows = Predict(flags, device.hardware);
  WarnOfLimits(rows, flags.work, device.hardware, *progress);

  // Only the model as it is stored can be measured.
  std::optional<Measurement> measurement;
  if (flags.measure) measurement = Measure(flags, rows[0], device.hardware, context);

  if (globals.json) {
    Json json = {
        {"model", flags.model.name},        {"hardware", device.hardware.title},
        {"source", device.hardware.source}, {"bytes_per_s", device.hardware.bytes_per_second},
        {"batch", flags.work.batch},        {"prompt", flags.work.prompt},
        {"context", flags.work.context},    {"rows", RowsJson(rows, flags.work)}};
    if (device.peaks) json["peaks"] = ToJson(*device.peaks);
    if (measurement) json["measured"] = ToJson(*measurement);
    PrintJson(json);
    return kOk;
  }

  // The operations are shown for a single model, where they fit on the screen.
  PrintDevice(flags, device);
  if (rows.size() == 1) {
    PrintOperations(rows[0].prefill, "prefill");
    PrintOperations(rows[0].decode, "decode, one token of each sequence");
  }
  PrintComparison(rows, flags.work);
  if (measurement) PrintMeasured(*measurement);
  return kOk;
}

}  // namespace

Command AddRoofline(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // What runs where.
  AddModelFlags(arguments, flags->model, "model", "Model, float or quantized");
  arguments
      .Add("--hardware", flags->hardware,
           "A device ('qualm list hardware'), a YAML file, or 'this': measured now")
      .ShowDefault();
  arguments
      .Add("--recipe", flags->recipes,
           "What a recipe would make of a float model; may be given several times")
      .OnePerFlag();

  // How much of it.
  arguments.Add("--kv", flags->kv, "The cache's numbers; default: the model's or fp32")
      .OneOf({"fp32", "fp16", "int8", "int4"});
  arguments.Add("--batch", flags->work.batch, "Sequences").ShowDefault().Positive();
  arguments.Add("--prompt", flags->work.prompt, "Tokens of a prompt").ShowDefault().Positive();
  arguments.Add("--context", flags->work.context, "Tokens before the decoded one")
      .ShowDefault()
      .Positive();
  arguments
      .Add("--activation-bytes", flags->activation_bytes,
           "Of a number between operations: 4 as in our kernels, 2 on most accelerators")
      .ShowDefault()
      .Within("a number above 0", [](double value) { return value > 0; });

  // Measuring.
  arguments.Flag("--measure", flags->measure,
                 "Also measure the model, and how many times the predicted time it takes");
  arguments.Add("--gen", flags->gen, "Tokens decoded by --measure").ShowDefault().Positive();
  arguments.Add("--repetitions", flags->repetitions, "Of the measurement").ShowDefault().Positive();

  AddJsonFlag(arguments, globals);
  arguments.Check([flags] { return ComplaintAbout(*flags); });
  arguments.Examples(
      "  qualm roofline MODEL --hardware this --measure\n"
      "  qualm roofline MODEL --hardware a100-80g --recipe rtn-w4-g128 --recipe smoothquant-w8a8 "
      "\\\n"
      "      --batch 16 --prompt 2048 --context 2048 --kv fp16 --activation-bytes 2");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
