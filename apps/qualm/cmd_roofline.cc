// qualm roofline: what bounds a model on a device, and how far from it this machine is.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "efficiency/hardware.h"
#include "efficiency/measure.h"
#include "efficiency/roofline.h"
#include "study/machine.h"

namespace qualm::cli {
namespace {

struct Flags {
  std::string model, hardware = "this", kv;
  std::vector<std::string> recipes;
  Work work;
  size_t gen = 16, repetitions = 5;
  double activation_bytes = 4;
  bool measure = false;
};

// Bandwidth and the float peak, measured now.
Hardware ThisMachine(ThreadPool& pool) {
  Hardware hardware;
  hardware.name = "this";
  hardware.title = StrCat(ProcessorName(), ", ", pool.threads(), " threads");
  const Spread bandwidth = ReadBandwidths(pool);
  hardware.bytes_per_second = bandwidth.highest;
  hardware.ops.fp32 = PeakFlops(pool);
  hardware.memory_bytes = static_cast<double>(AvailableMemoryBytes());
  hardware.source = StrCat("measured: the best of ", bandwidth.n,
                           " reads of 512 MiB, multiply-adds in registers");
  // Where there is no such measurement, the dense product is the best that was seen.
  if (hardware.ops.fp32 == 0) hardware.ops.fp32 = ProductFlops(pool).highest;
  return hardware;
}

Json ToJson(const Roofline& roofline) {
  Json operations = Json::array();
  for (const OperationCost& one : roofline.operations) {
    operations.push_back({{"kind", one.kind},
                          {"ops", one.ops},
                          {"weight_bytes", one.weight_bytes},
                          {"activation_bytes", one.activation_bytes},
                          {"kv_bytes", one.kv_bytes},
                          {"intensity", one.intensity()},
                          {"peak_ops_per_s", one.peak_ops},
                          {"bound", one.is_memory_bound ? "memory" : "compute"},
                          {"seconds", one.seconds}});
  }
  return {{"seconds", roofline.seconds},
          {"tokens_per_s", roofline.tokens_per_second},
          {"operations", std::move(operations)}};
}

std::string Scaled(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T", "P"};
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) value /= 1000, ++unit;
  return StrCat(Fixed(value, value < 10 && unit > 0    ? 2
                             : value < 100 && unit > 0 ? 1
                                                       : 0),
                kUnits[unit]);
}

std::string Microseconds(double seconds) { return StrCat(Fixed(1e6 * seconds, 1)); }

void PrintOperations(const Roofline& roofline, const std::string& title) {
  std::vector<std::vector<std::string>> rows = {{"operation", "ops", "weights B", "activations B",
                                                 "cache B", "ops/B", "bound", "µs", "share"}};
  for (const OperationCost& one : roofline.operations) {
    rows.push_back({one.kind, Scaled(one.ops), Scaled(one.weight_bytes),
                    Scaled(one.activation_bytes), Scaled(one.kv_bytes), Fixed(one.intensity(), 1),
                    one.is_memory_bound ? "memory" : "compute", Microseconds(one.seconds),
                    StrCat(Fixed(100 * one.seconds / roofline.seconds, 1), " %")});
  }
  Print(StrCat("\n", title, ": ", Microseconds(roofline.seconds), " µs at least, ",
               Scaled(roofline.tokens_per_second), " tokens/s at most\n",
               FormatTable(rows, {false, true, true, true, true, true, false, true, true})));
}

struct Row {
  ModelStorage storage;
  Roofline prefill, decode;
};

void PrintComparison(const std::vector<Row>& rows, const Work& work) {
  std::vector<std::vector<std::string>> table = {{"weights", "bits/weight", "weights", "cache",
                                                  "prefill tokens/s", "decode tokens/s",
                                                  "prefill ×", "decode ×"}};
  for (const Row& row : rows) {
    const double cache = row.storage.kv_bytes_per_position *
                         static_cast<double>(row.storage.config.layers * work.batch * work.context);
    table.push_back({row.storage.label, Fixed(row.storage.bits_per_weight, 2),
                     HumanBytes(static_cast<uint64_t>(row.storage.weight_bytes())),
                     HumanBytes(static_cast<uint64_t>(cache)),
                     Scaled(row.prefill.tokens_per_second), Scaled(row.decode.tokens_per_second),
                     Fixed(row.prefill.tokens_per_second / rows[0].prefill.tokens_per_second, 2),
                     Fixed(row.decode.tokens_per_second / rows[0].decode.tokens_per_second, 2)});
  }
  Print(StrCat("\nat most; ×: of the first line\n",
               FormatTable(table, {false, true, true, true, true, true, true, true})));
}

SpeedPoint MeasureFolder(const Flags& flags, ThreadPool& pool, Progress& progress) {
  SpeedOptions options;
  options.contexts = {flags.work.prompt};
  options.batches = {flags.work.batch};
  options.gen = flags.gen;
  options.repetitions = flags.repetitions;
  return MeasureSpeed(flags.model, options, pool, progress).points[0];
}

std::vector<Row> Predict(const Flags& flags, const Hardware& hardware) {
  const bool is_quantized = HasManifest(flags.model);
  const Checkpoint checkpoint = Checkpoint::Open(flags.model, is_quantized);
  std::vector<ModelStorage> storages;
  if (is_quantized) {
    if (!flags.recipes.empty()) {
      ThrowBadInput("--recipe", "a float model", StrCat(flags.model, ", which is quantized"));
    }
    const Manifest manifest = ReadManifest(flags.model);
    storages.push_back(StorageOf(checkpoint, &manifest));
  } else {
    storages.push_back(StorageOf(checkpoint, nullptr));
  }
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

void PrintMeasured(const SpeedPoint& point, const Row& row) {
  const auto line = [](const char* phase, const Spread& measured, double predicted) {
    return StrCat(phase, " measured ", Fixed(measured.median, 1), " tokens/s (",
                  Fixed(measured.lowest, 1), " .. ", Fixed(measured.highest, 1),
                  ", n = ", measured.n, "): ", Fixed(100 * measured.median / predicted, 1),
                  " % of the bound\n");
  };
  Print(StrCat("\n", line("prefill", point.prefill, row.prefill.tokens_per_second),
               line("decode ", point.decode, row.decode.tokens_per_second)));
}

Json RowsJson(const std::vector<Row>& rows) {
  Json list = Json::array();
  for (const Row& row : rows) {
    list.push_back({{"weights", row.storage.label},
                    {"bits_per_weight", row.storage.bits_per_weight},
                    {"weight_bytes", row.storage.weight_bytes()},
                    {"kv_bytes_per_position_and_block", row.storage.kv_bytes_per_position},
                    {"prefill", ToJson(row.prefill)},
                    {"decode", ToJson(row.decode)}});
  }
  return list;
}

int Run(const Flags& flags, const Globals& globals) {
  if (flags.measure && flags.hardware != "this") {
    ThrowBadInput("--measure", "--hardware this", flags.hardware,
                  "only this machine can be measured");
  }
  ThreadPool pool(globals.threads);
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Hardware hardware =
      flags.hardware == "this" ? ThisMachine(pool) : FindHardware(flags.hardware);
  const std::vector<Row> rows = Predict(flags, hardware);
  std::optional<SpeedPoint> measured;
  if (flags.measure) measured = MeasureFolder(flags, pool, *progress);
  if (globals.json) {
    Json json = {{"model", flags.model},          {"hardware", hardware.title},
                 {"source", hardware.source},     {"bytes_per_s", hardware.bytes_per_second},
                 {"batch", flags.work.batch},     {"prompt", flags.work.prompt},
                 {"context", flags.work.context}, {"rows", RowsJson(rows)}};
    if (measured) {
      json["measured"] = {{"prefill_tokens_per_s", measured->prefill.median},
                          {"decode_tokens_per_s", measured->decode.median},
                          {"n", measured->decode.n}};
    }
    PrintJson(json);
    return kOk;
  }
  Print(StrCat(flags.model, " on ", hardware.title, " (", hardware.source, ")\n",
               Scaled(hardware.bytes_per_second), "B/s; operations per second: fp32 ",
               Scaled(hardware.ops.fp32), hardware.ops.fp16 > 0 ? ", fp16 " : "",
               hardware.ops.fp16 > 0 ? Scaled(hardware.ops.fp16) : "",
               hardware.ops.int8 > 0 ? ", int8 " : "",
               hardware.ops.int8 > 0 ? Scaled(hardware.ops.int8) : "",
               hardware.ops.int4 > 0 ? ", int4 " : "",
               hardware.ops.int4 > 0 ? Scaled(hardware.ops.int4) : "", "\nbatch ", flags.work.batch,
               ", prompt ", flags.work.prompt, ", context ", flags.work.context, "\n"));
  if (rows.size() == 1) {
    PrintOperations(rows[0].prefill, "prefill");
    PrintOperations(rows[0].decode, "decode, one token of each sequence");
  }
  PrintComparison(rows, flags.work);
  if (measured) PrintMeasured(*measured, rows[0]);
  const double needed = rows[0].storage.weight_bytes();
  if (needed > hardware.memory_bytes) {
    progress->Warn(StrCat("the weights take ", HumanBytes(static_cast<uint64_t>(needed)),
                          "; the device has ",
                          HumanBytes(static_cast<uint64_t>(hardware.memory_bytes))));
  }
  return kOk;
}

}  // namespace

Command AddRoofline(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  arguments.Add("model", flags->model, "Model folder, float or quantized").Required();
  arguments
      .Add("--hardware", flags->hardware,
           "A device ('qualm list hardware'), a YAML file, or 'this': measured now")
      .ShowDefault();
  arguments
      .Add("--recipe", flags->recipes,
           "What a recipe would make of a float model; may be given several times")
      .OnePerFlag();
  arguments.Add("--kv", flags->kv, "Cache: fp32, fp16, int8, int4; default: the model's or fp32");
  arguments.Add("--batch", flags->work.batch, "Sequences").ShowDefault().Positive();
  arguments.Add("--prompt", flags->work.prompt, "Tokens of a prompt").ShowDefault().Positive();
  arguments.Add("--context", flags->work.context, "Tokens before the decoded one")
      .ShowDefault()
      .Positive();
  arguments
      .Add("--activation-bytes", flags->activation_bytes,
           "Of a number between operations: 4 as in our kernels, 2 on most accelerators")
      .ShowDefault();
  arguments.Flag("--measure", flags->measure, "Also measure, and say how far from the bound it is");
  arguments.Add("--repetitions", flags->repetitions, "Of the measurement").ShowDefault().Positive();
  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm roofline MODEL --hardware this --measure\n"
      "  qualm roofline MODEL --hardware a100-80g --recipe rtn-w4-g128 --recipe smoothquant-w8a8 "
      "\\\n"
      "      --batch 16 --prompt 2048 --context 2048 --kv fp16 --activation-bytes 2");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
