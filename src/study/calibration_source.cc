// Calibration sets that are not simply sampled from a corpus: rows of a task, random tokens, text
// that the model generates itself, and mixtures of other sets. Also the JSON form in which a stage
// keeps its set for other stages.
#include "study/calibration_source.h"

#include <algorithm>

#include "base/context.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "generate/generate.h"
#include "io/hash.h"
#include "io/json_fields.h"
#include "model/model.h"
#include "results/store.h"

namespace qualm {
namespace {

using Tokens = std::vector<TokenId>;

// Cuts whole windows off the front of `tokens`, at most `most`.
std::vector<Tokens> CutWindows(const Tokens& tokens, size_t length, size_t most) {
  std::vector<Tokens> windows;
  for (size_t at = 0; at + length <= tokens.size() && windows.size() < most; at += length) {
    const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(at);
    windows.emplace_back(first, first + static_cast<std::ptrdiff_t>(length));
  }
  return windows;
}

// A set that knows how it was made but has no sequences yet. HashCalibration must follow when it
// has.
CalibrationSet NewSet(const SamplerOptions& options, std::string sampler, std::string corpus,
                      std::string corpus_hash) {
  CalibrationSet set;
  set.sampler = std::move(sampler);
  set.corpus = std::move(corpus);
  set.corpus_hash = std::move(corpus_hash);
  set.samples = options.samples;
  set.length = options.length;
  set.seed = options.seed;
  return set;
}

// For sets from files: a kernel would read past its tables with ids that do not exist.
void CheckSequences(const std::vector<Tokens>& sequences, size_t length, std::string_view place) {
  for (const Tokens& sequence : sequences) {
    if (sequence.size() != length) {
      ThrowBadInput(place, StrCat("sequences of ", length, " token ids"),
                    StrCat("one of ", sequence.size()));
    }
    const TokenId least = sequence.empty() ? 0 : *std::ranges::min_element(sequence);
    if (least < 0) ThrowBadInput(place, "token ids of 0 or more", StrCat(least));
  }
}

}  // namespace

// How many of `count` rows to draw from each subject: as evenly as the subjects' sizes allow.
std::vector<size_t> Stratify(const std::vector<size_t>& sizes, size_t count, uint64_t seed) {
  std::vector<size_t> quota(sizes.size(), 0), order(sizes.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  Rng rng(seed, "stratify");
  Shuffle(order, rng);

  // One row for each subject that still has one, round after round. In the last round the shuffled
  // order decides which subjects get one.
  for (size_t left = count; left > 0;) {
    const size_t before = left;
    for (size_t i : order) {
      if (left == 0 || quota[i] == sizes[i]) continue;
      ++quota[i];
      --left;
    }
    if (left == before) break;  // all subjects are exhausted
  }
  return quota;
}

// Uniform over the vocabulary without control tokens. It shows what a recipe gets from statistics
// that know nothing about text.
CalibrationSet RandomTokenSet(const Tokenizer& tokenizer, const SamplerOptions& options) {
  const SpecialTokens& special = tokenizer.special();
  const auto is_control = [&](TokenId id) {
    return id == special.bos || id == special.eos || id == special.unk || id == special.pad;
  };

  CalibrationSet set =
      NewSet(options, "random-tokens", "random tokens", HashBytes("random tokens"));

  // Two separate random streams: asking for more of one part leaves the other as it was.
  const auto draw = [&](size_t count, std::string_view stream, std::vector<Tokens>& sequences) {
    Rng rng(options.seed, stream);
    for (size_t i = 0; i < count; ++i) {
      Tokens tokens;
      while (tokens.size() < options.length) {
        const auto id = static_cast<TokenId>(rng.Below(tokenizer.vocab_size()));
        if (!is_control(id)) tokens.push_back(id);
      }
      sequences.push_back(std::move(tokens));
    }
  };

  draw(options.samples, "random tokens", set.sequences);
  draw(options.held_out, "random tokens held out", set.held_out);
  HashCalibration(set);
  return set;
}

CalibrationSet MixedSet(const std::vector<CalibrationSet>& members, const SamplerOptions& options) {
  QUALM_CHECK(members.size() >= 2);

  // Sequences of different lengths would weigh the members unequally.
  std::vector<std::string> names, hashes;
  for (const CalibrationSet& member : members) {
    names.push_back(member.corpus);
    hashes.push_back(member.hash);
    if (member.length != options.length) {
      ThrowBadInput("mixed", StrCat("members with sequences of ", options.length, " tokens"),
                    StrCat(member.length, " in ", member.corpus));
    }
  }

  // One sequence of each member in turn, so that every prefix of the set is mixed in equal parts.
  CalibrationSet set = NewSet(options, "mixed", Join(names, " + "), HashBytes(Join(hashes, "\n")));
  for (size_t i = 0; set.sequences.size() < options.samples; ++i) {
    const CalibrationSet& member = members[i % members.size()];
    if (i / members.size() >= member.sequences.size()) {
      ThrowBadInput("mixed", StrCat(options.samples, " sequences in equal parts"),
                    StrCat(member.sequences.size(), " in ", member.corpus));
    }
    set.sequences.push_back(member.sequences[i / members.size()]);
  }

  // Held-out sequences are only measured on: fewer of them than asked for are accepted.
  for (size_t i = 0; set.held_out.size() < options.held_out; ++i) {
    const CalibrationSet& member = members[i % members.size()];
    if (i / members.size() >= member.held_out.size()) break;
    set.held_out.push_back(member.held_out[i / members.size()]);
  }
  set.documents = set.sequences.size();
  HashCalibration(set);
  return set;
}

// Generates texts from an empty prompt until there are enough tokens for all windows. Answers are
// kept in the store, so a killed run continues with the texts that it has.
CalibrationSet SelfGeneratedSet(const Model& model, const std::string& model_hash,
                                double temperature, const SamplerOptions& options,
                                ResultStore& store, const Context& context) {
  const Tokenizer& tokenizer = model.RequireTokenizer();
  const size_t wanted = (options.samples + options.held_out) * options.length;
  const size_t context_length = model.decoder->plan.context;
  const Tokens prompt = EncodeGenerationPrompt(tokenizer, "");
  const std::vector<TokenId> other_ends = model.OtherEnds();

  Tokens tokens;
  size_t texts = 0;
  context.progress.Begin("generate texts", wanted);
  while (tokens.size() < wanted) {
    if (texts > 64 * (options.samples + options.held_out)) {
      ThrowFailed("self_generated", StrCat("the model's texts are too short: ", tokens.size(),
                                           " tokens in ", texts, " texts"));
    }

    // A round asks for one text per sample; texts that an earlier run generated are in the store.
    std::vector<GenerationRequest> requests;
    std::vector<std::string> found(options.samples);
    std::vector<size_t> open;
    for (size_t i = 0; i < options.samples; ++i) {
      GenerationRequest request;
      request.tokens = prompt;
      request.max_tokens = std::min(options.length, context_length - prompt.size());
      request.temperature = temperature;
      request.other_ends = other_ends;
      // Seed and number of the text select the random stream: the same set comes out in every run.
      request.sample = options.seed * 1'000'000 + texts + i;
      const auto stored = store.FindText(model_hash, request.Hash(), kGenerationProtocol);
      if (stored) {
        found[i] = stored->text;
        continue;
      }
      open.push_back(i);
      requests.push_back(std::move(request));
    }

    // Each answer is stored as soon as it is complete, once for all requests that are equal.
    GenerateTexts(*model.decoder, tokenizer, requests, {}, context,
                  [&](std::span<const size_t> equal, const GenerationAnswer& answer) {
                    for (size_t i : equal) found[open[i]] = answer.text;
                    store.Begin();
                    store.PutText(
                        model_hash, requests[equal[0]].Hash(), kGenerationProtocol,
                        {answer.text, answer.tokens, std::string(FinishReasonName(answer.reason))});
                    store.Commit();
                  });

    // The texts in the order of the requests, whichever finished first.
    for (const std::string& text : found) {
      const Tokens more = tokenizer.EncodeWithSpecial(text);
      tokens.insert(tokens.end(), more.begin(), more.end());
    }
    texts += options.samples;
    context.progress.Advance(std::min(tokens.size(), wanted), StrCat(texts, " texts"));
  }
  context.progress.End();

  // The first windows calibrate, the others are held out.
  CalibrationSet set = NewSet(options, "self-generated",
                              StrCat("self-generated at temperature ", temperature), model_hash);
  std::vector<Tokens> windows =
      CutWindows(tokens, options.length, options.samples + options.held_out);
  set.held_out.assign(windows.begin() + static_cast<std::ptrdiff_t>(options.samples),
                      windows.end());
  windows.resize(options.samples);
  set.sequences = std::move(windows);
  set.documents = texts;
  HashCalibration(set);
  return set;
}

// Draws rows so that each subject has its share, and cuts their text into windows. `drawn` returns
// the number of rows by subject, for the report.
CalibrationSet PerSubjectSet(const std::vector<SubjectDocuments>& subjects, std::string_view name,
                             const std::string& hash, const Tokenizer& tokenizer,
                             const SamplerOptions& options, std::vector<size_t>* drawn) {
  std::vector<size_t> sizes;
  size_t available = 0;
  for (const SubjectDocuments& subject : subjects) {
    sizes.push_back(subject.documents.size());
    available += sizes.back();
  }
  if (available < options.samples) {
    ThrowBadInput(name, StrCat(options.samples, " rows to calibrate on"), StrCat(available));
  }

  // Rows of every subject are drawn at random; those that are not drawn can be held out.
  const std::vector<size_t> quota = Stratify(sizes, options.samples, options.seed);
  std::vector<std::string> taken, rest;
  Rng rng(options.seed, "per-subject");
  for (size_t s = 0; s < subjects.size(); ++s) {
    std::vector<std::string> documents = subjects[s].documents;
    Shuffle(documents, rng);
    const auto middle = documents.begin() + static_cast<std::ptrdiff_t>(quota[s]);
    taken.insert(taken.end(), documents.begin(), middle);
    rest.insert(rest.end(), middle, documents.end());
  }
  Shuffle(taken, rng);
  Shuffle(rest, rng);

  // The tokens of documents, one after the other, until there are `most`.
  const auto joined = [&](const std::vector<std::string>& documents, size_t most) {
    Tokens tokens;
    for (const std::string& document : documents) {
      if (tokens.size() >= most) break;
      const Tokens more = tokenizer.EncodeWithSpecial(document);
      tokens.insert(tokens.end(), more.begin(), more.end());
    }
    return tokens;
  };

  CalibrationSet set = NewSet(options, "per-subject", std::string(name), hash);
  const Tokens tokens = joined(taken, SIZE_MAX);
  set.sequences = CutWindows(tokens, options.length, SIZE_MAX);
  if (set.sequences.empty()) {
    ThrowBadInput(name, StrCat("at least ", options.length, " tokens for one sample"),
                  StrCat(tokens.size(), " in ", taken.size(), " rows"), "use shorter samples");
  }
  set.held_out =
      CutWindows(joined(rest, options.held_out * options.length), options.length, options.held_out);
  set.documents = taken.size();
  HashCalibration(set);
  if (drawn != nullptr) *drawn = quota;
  return set;
}

Json ToJson(const CalibrationSet& set) { return FieldsJson(set); }

// The hashes in the file must be those of its tokens: a set that was edited is refused.
CalibrationSet CalibrationSetFromJson(const Json& json, std::string_view place) {
  auto set = FieldsFrom<CalibrationSet>(json, place);
  CheckSequences(set.sequences, set.length, place);
  CheckSequences(set.held_out, set.length, place);

  const std::string hash = set.hash, held_out_hash = set.held_out_hash;
  HashCalibration(set);
  if (set.hash != hash || set.held_out_hash != held_out_hash) {
    ThrowBadInput(place, "the tokens that its hashes say", "others",
                  "remove the file to make it again");
  }
  return set;
}

}  // namespace qualm
