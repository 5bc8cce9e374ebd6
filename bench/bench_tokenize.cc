// Measures tokenizing speed on one core, and compares it with Google's SentencePiece library and
// with the goal of 2 MB/s.
// bench_tokenize [--rounds R]      reads tokenizers and texts from the folder named by QUALM_SHARED
#include <sentencepiece_processor.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "measure.h"
#include "tokenize/tokenizer.h"

namespace qualm::bench {
namespace {

constexpr double kBar = 2e6;  // bytes per second

// A text as a whole and by lines.
struct Text {
  std::string name, whole;
  std::vector<std::string> lines;
};

Text ReadText(const std::filesystem::path& path) {
  Text text;
  text.name = path.filename().string();
  text.whole = ReadFile(path);
  text.lines = Split(text.whole, '\n');
  return text;
}

double ThreadSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The median of the processor's seconds of each body, with the bodies in turn. Processor time is
// what "per core" means, and other programs disturb it less than wall time.
std::vector<double> MedianSeconds(const std::vector<std::function<void()>>& bodies, int rounds) {
  std::vector<std::vector<double>> seconds(bodies.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < bodies.size(); ++i) {
      double start = ThreadSeconds();
      bodies[i]();
      seconds[i].push_back(ThreadSeconds() - start);
    }
  }

  // The median ignores rounds that something else disturbed.
  std::vector<double> medians;
  for (std::vector<double>& all : seconds) {
    std::sort(all.begin(), all.end());
    medians.push_back(all[all.size() / 2]);
  }
  return medians;
}

void Print(const std::string& tokenizer, const Text& text, const char* how, double seconds,
           double library_s) {
  double rate = static_cast<double>(text.whole.size()) / seconds;
  std::printf("%-38s %-18.18s %-6s %8.2f MB/s  %5.1fx bar", tokenizer.c_str(), text.name.c_str(),
              how, rate / 1e6, rate / kBar);
  if (library_s > 0) std::printf("  %6.2fx library", library_s / seconds);
  std::printf("\n");
}

// Our tokenizer over the whole text and line by line; the library line by line, if the file is one
// of its models.
void Run(const std::filesystem::path& path, const Text& text, int rounds) {
  auto tokenizer = LoadTokenizer(path);
  sentencepiece::SentencePieceProcessor library;
  bool has_library = path.extension() == ".model" && library.Load(path.string()).ok();
  // The sum keeps the compiler from dropping the work.
  size_t sink = 0;
  std::vector<std::function<void()>> bodies = {
      [&] { sink += tokenizer->Encode(text.whole).size(); },
      [&] {
        for (const std::string& line : text.lines) sink += tokenizer->Encode(line).size();
      }};

  if (has_library) {
    bodies.push_back([&] {
      std::vector<int> ids;
      for (const std::string& line : text.lines) {
        if (library.Encode(line, &ids).ok()) sink += ids.size();
      }
    });
  }

  std::vector<double> seconds = MedianSeconds(bodies, rounds);
  std::string name = StrCat(path.parent_path().filename().string(), "/", path.filename().string());
  double library_s = has_library ? seconds[2] : 0;
  Print(name, text, "whole", seconds[0], library_s);
  Print(name, text, "lines", seconds[1], library_s);
  if (has_library) Print(name + " library", text, "lines", seconds[2], 0);
  if (sink == 0) std::printf("no ids\n");
}

int Main(int argc, char** argv) {
  const char* shared = std::getenv("QUALM_SHARED");
  if (shared == nullptr) {
    std::fprintf(stderr, "set QUALM_SHARED to the folder of tokenizers and datasets\n");
    return 2;
  }

  std::filesystem::path root(shared);
  int rounds = IntFlag(argc, argv, "--rounds", 5);
  std::printf("median processor time of %d rounds, one thread; the bar is 2 MB/s\n", rounds);

  // Every text with every tokenizer.
  for (const char* text_name :
       {"datasets/wikitext-2-raw-v1/wiki.test.raw", "datasets/calib-exllamav2/code.utf8",
        "datasets/text-domains/COVID-Dialogue-Dataset-Chinese.txt"}) {
    Text text = ReadText(root / text_name);
    for (const char* name :
         {"tokenizers/gpt2/tokenizer.json", "tokenizers/gpt2/vocab.json",
          "tokenizers/gpt-neox-20b/tokenizer.json", "tokenizers/llama-hf/tokenizer.json",
          "tokenizers/llama2-spm/tokenizer.model", "tokenizers/baichuan1-spm/tokenizer.model",
          "models/qualm-bilingual/tokenizer.model", "models/stories260K/tokenizer.model",
          "models/tinystories-656K/tokenizer.json"}) {
      Run(root / name, text, rounds);
    }
  }
  return 0;
}

}  // namespace
}  // namespace qualm::bench

int main(int argc, char** argv) { return qualm::bench::Main(argc, argv); }
