// Readers of formats that single benchmarks are distributed in; all are named in rows.cc.
#pragma once

#include <string_view>
#include <vector>

#include "data/rows.h"

namespace qualm {

// Stanford Sentiment Treebank, "(3 (2 It) (4 good))" a line: {"text": tokens joined by blanks,
// "label": of the root}.
std::vector<Row> ReadTrees(std::string_view text, const RowFormat&, std::string_view place);
// HellaSwag as llama.cpp has it: {"context", "label", "endings"} of six lines.
std::vector<Row> ReadSixLines(std::string_view text, const RowFormat&, std::string_view place);
// {"premise", "hypothesis", "label"} for every document and hypothesis.
std::vector<Row> ReadContractNli(std::string_view text, const RowFormat&, std::string_view place);
// SQuAD's nested json: {"id", "title", "context", "question", "answers": texts} for every question
// that has an answer.
std::vector<Row> ReadSquad(std::string_view text, const RowFormat&, std::string_view place);
// BBQ's json lines with "role0", "role1", "role2": "unknown", "biased" for the answer that the
// stereotype gives (the stereotyped group's, or where the question is not negative the other
// one's), "other"; all but "unknown" are "other" where the row does not tell.
std::vector<Row> ReadBbq(std::string_view text, const RowFormat&, std::string_view place);
// SuperGLUE's MultiRC: {"passage", "question", "answer", "label"} for every answer.
std::vector<Row> ReadMultiRc(std::string_view text, const RowFormat&, std::string_view place);
// Tokens with B-, I-, O tags in the last column, sentences apart by an empty line: {"text"} and for
// each type of format.columns "Ann, Bo Li" or "None". Types are matched by their beginning: PER
// takes "person" and "PER".
std::vector<Row> ReadConll(std::string_view text, const RowFormat& format, std::string_view place);

}  // namespace qualm
