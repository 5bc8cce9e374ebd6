// Makes the token sequences of a study's calibration set, whatever they come from, and keeps them.
#pragma once

#include <filesystem>
#include <functional>

#include "calibrate/sampler.h"
#include "io/json.h"
#include "study/spec.h"

namespace qualm {

struct Context;
struct Model;
class ResultStore;

// `count` rows over the subjects as evenly as their sizes allow, in the subjects' order: every
// subject gets the same number, those that have fewer all of theirs; what is left goes to subjects
// in an order drawn by the seed. Fewer in all where there are not so many rows.
std::vector<size_t> Stratify(const std::vector<size_t>& sizes, size_t count, uint64_t seed);

// Sequences of `length` random ids, uniform over the vocabulary without control tokens (a control:
// the second moments of such inputs are those of no text).
CalibrationSet RandomTokenSet(const Tokenizer& tokenizer, const SamplerOptions& options);

// Equal parts of other sets, one sequence of each in turn; held-out ones likewise. Requires: equal
// lengths, two sets or more. Throws bad input where they have too few.
CalibrationSet MixedSet(const std::vector<CalibrationSet>& members, const SamplerOptions& options);

// Texts that the model writes behind its first token, sampled at a temperature; joined and cut.
// Texts are kept in the store as they come. Throws kFailed for a model that writes nothing.
CalibrationSet SelfGeneratedSet(const Model& model, const std::string& model_hash,
                                double temperature, const SamplerOptions& options,
                                ResultStore& store, const Context& context);

// `documents` by subject; the drawn ones in random order, tokenised one by one, joined and cut. The
// rest of a window is dropped, and so there are fewer sequences than documents. Held-out sequences
// come from documents that were not drawn.
struct SubjectDocuments {
  std::string subject;
  std::vector<std::string> documents;
};
CalibrationSet PerSubjectSet(const std::vector<SubjectDocuments>& subjects, std::string_view name,
                             const std::string& hash, const Tokenizer& tokenizer,
                             const SamplerOptions& options, std::vector<size_t>* drawn);

Json ToJson(const CalibrationSet& set);
// Throws bad input for a file that is not what ToJson makes: other lengths, another hash.
CalibrationSet CalibrationSetFromJson(const Json& json, std::string_view place);

}  // namespace qualm
