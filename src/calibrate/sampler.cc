// Draws calibration sequences from a corpus, in the ways that published methods do, and held-out
// sequences from text that was not drawn. The same options give the same tokens; the set's hash
// says which they were.
#include "calibrate/sampler.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "data/corpus.h"
#include "io/hash.h"

namespace qualm {
namespace {

using Tokens = std::vector<TokenId>;

// What a sampler reads, and the random streams that it may use.
struct Draw {
  const Corpus& corpus;
  const Tokenizer& tokenizer;
  const SamplerOptions& options;
  Rng rng;           // for the calibration sequences
  Rng held_out_rng;  // separate: how many are held out does not change the sequences
};

// tokens[start, start + length).
Tokens Window(const Tokens& tokens, size_t start, size_t length) {
  const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(start);
  return Tokens(first, first + static_cast<std::ptrdiff_t>(length));
}

// Each start is equally likely.
Tokens RandomWindow(const Tokens& tokens, size_t length, Rng& rng) {
  return Window(tokens, static_cast<size_t>(rng.Below(tokens.size() - length + 1)), length);
}

// Starts of windows of `length` tokens, next to each other, in those parts of [0, total) that no
// window in `taken` covers.
std::vector<size_t> FreeWindows(std::vector<size_t> taken, size_t total, size_t length) {
  std::ranges::sort(taken);
  taken.push_back(total);
  std::vector<size_t> free;
  // The gap before each taken window, then the one after the last.
  size_t at = 0;
  for (size_t next : taken) {
    for (; at + length <= next; at += length) free.push_back(at);
    at = std::max(at, next + length);
  }
  return free;
}

// Windows may overlap, as in GPTQ's code; held-out windows overlap none of them.
void RandomCrop(Draw& draw, CalibrationSet& set) {
  const size_t length = draw.options.length;
  const Tokens tokens = draw.tokenizer.EncodeWithSpecial(draw.corpus.Joined());
  if (tokens.size() < length) {
    ThrowBadInput(draw.corpus.name, StrCat("at least ", length, " tokens for one sample"),
                  StrCat(tokens.size(), " tokens"), "use a longer text or shorter samples");
  }
  std::vector<size_t> starts;
  for (size_t i = 0; i < draw.options.samples; ++i) {
    starts.push_back(static_cast<size_t>(draw.rng.Below(tokens.size() - length + 1)));
    set.sequences.push_back(Window(tokens, starts.back(), length));
  }
  set.documents = draw.corpus.documents.size();

  // Held-out windows are drawn from what is left.
  std::vector<size_t> free = FreeWindows(std::move(starts), tokens.size(), length);
  Shuffle(free, draw.held_out_rng);
  free.resize(std::min(free.size(), draw.options.held_out));
  for (size_t start : free) set.held_out.push_back(Window(tokens, start, length));
}

// 0 to count - 1, shuffled.
std::vector<size_t> RandomOrder(size_t count, Rng& rng) {
  std::vector<size_t> order(count);
  for (size_t i = 0; i < count; ++i) order[i] = i;
  Shuffle(order, rng);
  return order;
}

// Takes documents in random order until enough of them are longer than a sample.
void DocumentCrop(Draw& draw, CalibrationSet& set) {
  const SamplerOptions& options = draw.options;
  const std::vector<std::string>& documents = draw.corpus.documents;
  const std::vector<size_t> order = RandomOrder(documents.size(), draw.rng);
  std::vector<Tokens> used;  // the documents longer than `length`, in the order of their turn
  size_t turn = 0, longest = 0;
  for (; turn < order.size() && used.size() < options.samples; ++turn) {
    Tokens tokens = draw.tokenizer.EncodeWithSpecial(documents[order[turn]]);
    longest = std::max(longest, tokens.size());
    if (tokens.size() > options.length) used.push_back(std::move(tokens));
  }
  if (used.empty()) {
    ThrowBadInput(draw.corpus.name, StrCat("a document of more than ", options.length, " tokens"),
                  StrCat(longest, " tokens in the longest of ", order.size()),
                  "use shorter samples or the sampler random-crop, which joins documents");
  }

  // With fewer documents than samples, documents are used again with other windows.
  for (size_t i = 0; i < options.samples; ++i) {
    set.sequences.push_back(RandomWindow(used[i % used.size()], options.length, draw.rng));
  }

  // Documents whose turn did not come are held out.
  set.documents = used.size();
  for (; turn < order.size() && set.held_out.size() < options.held_out; ++turn) {
    const Tokens tokens = draw.tokenizer.EncodeWithSpecial(documents[order[turn]]);
    if (tokens.size() <= options.length) continue;
    set.held_out.push_back(RandomWindow(tokens, options.length, draw.held_out_rng));
  }
}

// Appends the tokens of a document that has 1 to `length` of them.
bool AppendIfShort(const Draw& draw, size_t document, Tokens& joined) {
  const std::string_view text = Trim(draw.corpus.documents[document]);
  if (text.empty()) return false;
  const Tokens tokens = draw.tokenizer.EncodeWithSpecial(text);
  if (tokens.size() > draw.options.length) return false;
  joined.insert(joined.end(), tokens.begin(), tokens.end());
  return true;
}

// Whole windows, next to each other; the rest at the end is dropped.
std::vector<Tokens> CutIntoWindows(const Tokens& tokens, size_t length) {
  std::vector<Tokens> windows;
  for (size_t at = 0; at + length <= tokens.size(); at += length) {
    windows.push_back(Window(tokens, at, length));
  }
  return windows;
}

// As many short documents as there are samples, joined; the number of sequences follows from their
// lengths.
void Concat(Draw& draw, CalibrationSet& set) {
  const SamplerOptions& options = draw.options;
  const std::vector<size_t> order = RandomOrder(draw.corpus.documents.size(), draw.rng);
  Tokens joined, held_out;
  size_t turn = 0;
  for (; turn < order.size() && set.documents < options.samples; ++turn) {
    if (AppendIfShort(draw, order[turn], joined)) ++set.documents;
  }

  if (joined.size() < options.length) {
    ThrowBadInput(draw.corpus.name, StrCat("at least ", options.length, " tokens for one sample"),
                  StrCat(joined.size(), " tokens in ", set.documents,
                         " documents of at most that length, of ", order.size()),
                  "use more documents, shorter samples or the sampler random-crop");
  }

  // Later documents of the order make the held-out windows.
  set.sequences = CutIntoWindows(joined, options.length);
  for (; turn < order.size() && held_out.size() / options.length < options.held_out; ++turn) {
    AppendIfShort(draw, order[turn], held_out);
  }
  set.held_out = CutIntoWindows(held_out, options.length);
}

// A row of the table: the name that recipes use, a line for `qualm list`, and the function.
struct SamplerEntry {
  std::string_view name, description;
  void (*draw)(Draw&, CalibrationSet&);
};

constexpr std::array<SamplerEntry, 3> kSamplers = {{
    {"concat", "random documents no longer than a sample, joined and cut (AWQ)", Concat},
    {"document-crop", "a random window of a random document longer than it (GPTQ on C4)",
     DocumentCrop},
    {"random-crop", "random windows of all documents joined (GPTQ)", RandomCrop},
}};

const SamplerEntry& SamplerNamed(std::string_view name) {
  for (const SamplerEntry& entry : kSamplers) {
    if (entry.name == name) return entry;
  }
  ThrowUnknownName("calibration", "sampler", name, SamplerNames());
}

void AddNumber(Hasher& hasher, uint64_t value) { hasher.Add(StrCat(value)); }

void AddSequences(Hasher& hasher, std::span<const Tokens> sequences) {
  AddNumber(hasher, sequences.size());
  for (const Tokens& sequence : sequences) {
    AddNumber(hasher, sequence.size());
    for (TokenId token : sequence) AddNumber(hasher, static_cast<uint64_t>(token));
  }
}

// Covers how the set was drawn and every token.
std::string HashOf(const CalibrationSet& set) {
  Hasher hasher;
  hasher.Add(set.sampler);
  hasher.Add(set.corpus_hash);
  for (uint64_t value : {uint64_t{set.samples}, uint64_t{set.length}, set.seed}) {
    AddNumber(hasher, value);
  }
  AddSequences(hasher, set.sequences);
  return hasher.Hex();
}

// The bound keeps samples·length far from overflow.
void CheckOptions(const SamplerOptions& options) {
  constexpr uint64_t kMostTokens = uint64_t{1} << 32;
  if (options.samples == 0 || options.length == 0 ||
      options.samples > kMostTokens / options.length) {
    ThrowBadInput("calibration", StrCat("samples and length of 1 to ", kMostTokens, " tokens"),
                  StrCat(options.samples, " samples of ", options.length, " tokens"));
  }
}

}  // namespace

CalibrationSet SampleCalibration(const Corpus& corpus, const Tokenizer& tokenizer,
                                 const SamplerOptions& options) {
  const SamplerEntry& sampler = SamplerNamed(options.sampler);
  CheckOptions(options);
  CalibrationSet set;
  set.sampler = options.sampler;
  set.corpus = corpus.name;
  set.corpus_hash = corpus.hash;
  set.samples = options.samples;
  set.length = options.length;
  set.seed = options.seed;

  // Separate streams: the number of held-out sequences does not change the others.
  Draw draw{corpus, tokenizer, options, Rng(options.seed, "calibration"),
            Rng(options.seed, "held-out")};
  sampler.draw(draw, set);
  HashCalibration(set);
  return set;
}

void HashCalibration(CalibrationSet& set) {
  set.hash = HashOf(set);
  Hasher held_out_hasher;
  AddSequences(held_out_hasher, set.held_out);
  set.held_out_hash = held_out_hasher.Hex();
}

std::vector<std::string> SamplerNames() {
  std::vector<std::string> names;
  names.reserve(kSamplers.size());
  for (const SamplerEntry& entry : kSamplers) names.emplace_back(entry.name);
  return names;
}

std::string_view SamplerDescription(std::string_view name) {
  return SamplerNamed(name).description;
}

}  // namespace qualm
