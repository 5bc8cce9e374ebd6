// qualm bench: prefill and decode speed of a model as it would run, on random token ids.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "cli.h"
#include "model/model.h"
#include "tensor/isa.h"

namespace qualm::cli {
namespace {

struct Flags {
  std::string model;
  size_t prompt = 128, gen = 32, repetitions = 5;
};

// Times of one repetition, in seconds.
struct Sample {
  double prefill, decode;
};

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

Sample RunOnce(const Decoder& decoder, const Flags& flags, uint64_t seed, ThreadPool& pool) {
  Rng rng(seed, "bench");
  std::vector<TokenId> ids(flags.prompt + flags.gen);
  for (TokenId& id : ids) id = static_cast<TokenId>(rng.Below(decoder.config.vocab_size));
  KvCache cache = decoder.MakeCache(ids.size());
  Matrix logits(1, decoder.config.vocab_size);
  auto run = [&](std::span<const TokenId> tokens) {
    Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, tokens}}, pool);
    decoder.Logits(hidden.view().Rows(hidden.rows() - 1, 1), logits, pool);
  };
  std::span<const TokenId> all(ids);
  auto start = std::chrono::steady_clock::now();
  run(all.subspan(0, flags.prompt));
  Sample sample{Seconds(start), 0};
  start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < flags.gen; ++i) run(all.subspan(flags.prompt + i, 1));
  sample.decode = Seconds(start);
  return sample;
}

struct Summary {
  double median, lowest, highest;
};

Summary Summarize(std::vector<double> values) {
  std::ranges::sort(values);
  return {values[values.size() / 2], values.front(), values.back()};
}

// How the block's linear layers are kept, and how many are kept so.
struct FormatUse {
  std::string format;
  size_t layers = 0;
  uint64_t bytes = 0;
};

std::vector<FormatUse> FormatsOf(const Decoder& decoder) {
  std::vector<FormatUse> uses;
  for (const auto& block : decoder.blocks) {
    for (const LinearGroup& group : decoder.family->groups) {
      for (const LinearSpec& linear : group.linears) {
        const LinearWeight& weight = *block->Linear(linear.name).weight;
        auto use = std::ranges::find(uses, weight.format(), &FormatUse::format);
        if (use == uses.end()) {
          use = uses.insert(use, FormatUse{.format = std::string(weight.format())});
        }
        ++use->layers;
        use->bytes += weight.weight_bytes();
      }
    }
  }
  return uses;
}

bool IsDequantized(const FormatUse& use) {
  return use.format.find("dequantized") != std::string::npos;
}

Json JsonOf(const std::vector<FormatUse>& uses) {
  Json list = Json::array();
  for (const FormatUse& use : uses) {
    list.push_back({{"format", use.format},
                    {"layers", use.layers},
                    {"weight_bytes", use.bytes},
                    {"is_dequantized", IsDequantized(use)}});
  }
  return list;
}

uint64_t PeakMemoryBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

void PrintRate(const Summary& rate, const char* what, size_t tokens, size_t repetitions) {
  Print(StrCat(what, " ", Fixed(rate.median, 2), " tokens/s (median; ", Fixed(rate.lowest, 2),
               " .. ", Fixed(rate.highest, 2), "; ", tokens, " tokens, n = ", repetitions, ")\n"));
}

int Run(const Flags& flags, const Globals& globals) {
  ThreadPool pool(globals.threads);
  Model model = LoadModel(flags.model, {}, pool);
  const Decoder& decoder = *model.decoder;
  size_t context = decoder.config.context;
  if (flags.prompt > context || flags.gen > context - flags.prompt) {
    ThrowBadInput("bench", StrCat("--prompt and --gen of at most ", context, " tokens together"),
                  StrCat(flags.prompt, " and ", flags.gen));
  }
  RunOnce(decoder, flags, 0, pool);  // warms caches and pages
  std::vector<double> prefill, decode;
  for (size_t r = 0; r < flags.repetitions; ++r) {
    Sample sample = RunOnce(decoder, flags, r + 1, pool);
    prefill.push_back(static_cast<double>(flags.prompt) / sample.prefill);
    decode.push_back(static_cast<double>(flags.gen) / sample.decode);
  }
  Summary prefill_rate = Summarize(prefill), decode_rate = Summarize(decode);
  const std::vector<FormatUse> formats = FormatsOf(decoder);
  if (globals.json) {
    auto rate = [](const Summary& s) {
      return Json{{"median", s.median}, {"lowest", s.lowest}, {"highest", s.highest}};
    };
    PrintJson(Json{{"model", flags.model},
                   {"formats", JsonOf(formats)},
                   {"threads", pool.threads()},
                   {"instruction_set", InstructionSet()},
                   {"prompt_tokens", flags.prompt},
                   {"generated_tokens", flags.gen},
                   {"n", flags.repetitions},
                   {"prefill_tokens_per_s", rate(prefill_rate)},
                   {"decode_tokens_per_s", rate(decode_rate)},
                   {"weight_bytes", decoder.weight_bytes()},
                   {"peak_memory_bytes", PeakMemoryBytes()}});
    return kOk;
  }
  Print(StrCat(flags.model, ": ", pool.threads(), " threads, ", InstructionSet(), "\n"));
  for (const FormatUse& use : formats) {
    Print(StrCat("layers   ", use.layers, " ", use.format, ", ", HumanBytes(use.bytes),
                 IsDequantized(use) ? ": no kernel takes its codes, runs as dense float32" : "",
                 "\n"));
  }
  PrintRate(prefill_rate, "prefill", flags.prompt, flags.repetitions);
  PrintRate(decode_rate, "decode ", flags.gen, flags.repetitions);
  Print(StrCat("weights  ", HumanBytes(decoder.weight_bytes()), " read per token; peak memory ",
               HumanBytes(PeakMemoryBytes()), "\n"));
  return kOk;
}

}  // namespace

Command AddBench(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  arguments.Add("model", flags->model, "Model folder, float or quantized").Required();
  arguments.Add("--prompt", flags->prompt, "Prompt tokens").ShowDefault().Positive();
  arguments.Add("--gen", flags->gen, "Decoded tokens").ShowDefault().Positive();
  arguments.Add("--repetitions", flags->repetitions, "Repetitions; the median is printed")
      .ShowDefault()
      .Positive();
  AddJsonFlag(arguments, globals);
  arguments.Examples("  qualm bench MODEL --prompt 512 --gen 64 --threads 2");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
