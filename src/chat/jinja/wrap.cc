// The filter wordwrap: textwrap.wrap of Python for each line of a text.
#include <algorithm>
#include <vector>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/tables.h"
#include "tokenize/regex.h"

namespace qualm::jinja {
namespace {

// TextWrapper's wordsep_re: white space, dashes between words, and words up to a hyphen after which
// a line may be broken. Its \w and [^\d\W] are spelled out.
const Regex& ChunkPattern() {
  static const Regex pattern(
      "[\\t\\n\\x0b\\x0c\\r ]+"
      "|(?<=[\\p{L}\\p{N}_!\"'&.,?])-{2,}(?=[\\p{L}\\p{N}_])"
      "|[^\\t\\n\\x0b\\x0c\\r ]+?(?:"
      "-(?:(?<=[\\p{L}\\p{Nl}\\p{No}_]{2}-)|(?<=[\\p{L}\\p{Nl}\\p{No}_]-[\\p{L}\\p{Nl}\\p{No}_]-))"
      "(?=[\\p{L}\\p{Nl}\\p{No}_]-?[\\p{L}\\p{Nl}\\p{No}_])"
      "|(?=[\\t\\n\\x0b\\x0c\\r ]|\\z)"
      "|(?<=[\\p{L}\\p{N}_!\"'&.,?])(?=-{2,}[\\p{L}\\p{N}_]))",
      "wordwrap");
  return pattern;
}

// Pieces of a line between which it may be broken, white space among them.
std::vector<std::u32string> ChunksOf(std::string_view line, bool at_hyphens) {
  std::vector<std::u32string> chunks;
  if (at_hyphens) {
    Regex::Scanner scanner(ChunkPattern());
    scanner.Start(line);
    size_t begin = 0, end = 0, done = 0;
    while (scanner.Next(&begin, &end)) {
      if (begin > done) chunks.push_back(PointsOf(line.substr(done, begin - done)));
      if (end > begin) chunks.push_back(PointsOf(line.substr(begin, end - begin)));
      done = end;
    }
    if (done < line.size()) chunks.push_back(PointsOf(line.substr(done)));
    return chunks;
  }

  constexpr std::string_view kSpaces = "\t\n\v\f\r ";
  for (size_t begin = 0; begin < line.size();) {
    const bool is_space = kSpaces.find(line[begin]) != std::string_view::npos;
    const size_t found =
        is_space ? line.find_first_not_of(kSpaces, begin) : line.find_first_of(kSpaces, begin);
    const size_t end = std::min(found, line.size());
    chunks.push_back(PointsOf(line.substr(begin, end - begin)));
    begin = end;
  }
  return chunks;
}

bool IsBlank(const std::u32string& chunk) {
  return std::ranges::all_of(chunk, [](char32_t code) { return Is(code, kSpace); });
}

struct WrapStyle {
  size_t width = 79;
  bool breaks_words = true, at_hyphens = true;
};

// Takes as much of a word that no line can hold as fits into the rest of this one.
void BreakWord(std::vector<std::u32string>& chunks, std::vector<std::u32string>& line, size_t used,
               const WrapStyle& style) {
  if (!style.breaks_words) {
    if (!line.empty()) return;
    line.push_back(std::move(chunks.back()));
    chunks.pop_back();
    return;
  }
  std::u32string& word = chunks.back();
  size_t end = style.width - used;
  if (style.at_hyphens && word.size() > end && end > 0) {
    const size_t hyphen = word.rfind(U'-', end - 1);
    const bool is_inside =
        hyphen != std::u32string::npos && hyphen > 0 && word.find_first_not_of(U'-') < hyphen;
    if (is_inside) end = hyphen + 1;
  }
  line.push_back(word.substr(0, end));
  word.erase(0, end);
}

// As TextWrapper._wrap_chunks: greedy lines, without blanks at their ends.
std::vector<std::string> WrapLine(Runtime& runtime, std::string_view text, const WrapStyle& style) {
  std::vector<std::u32string> chunks = ChunksOf(text, style.at_hyphens);
  std::ranges::reverse(chunks);
  std::vector<std::string> lines;
  while (!chunks.empty()) {
    runtime.Step();
    if (!lines.empty() && IsBlank(chunks.back())) chunks.pop_back();

    std::vector<std::u32string> line;
    size_t used = 0;
    while (!chunks.empty() && used + chunks.back().size() <= style.width) {
      used += chunks.back().size();
      line.push_back(std::move(chunks.back()));
      chunks.pop_back();
    }
    if (!chunks.empty() && chunks.back().size() > style.width) {
      BreakWord(chunks, line, used, style);
    }

    if (!line.empty() && IsBlank(line.back())) line.pop_back();
    if (line.empty()) continue;
    std::string joined;
    for (const std::u32string& chunk : line) joined += BytesOf(chunk);
    lines.push_back(std::move(joined));
  }
  return lines;
}

}  // namespace

Value WordWrap(Runtime& runtime, const Value& self, std::vector<Value>& a, Arguments&) {
  const int64_t width = IntArgument(runtime, Or(a[0], Value::Int(79)), "width");
  if (width < 1) runtime.Refuse("a width of at least 1", StrCat(width));
  WrapStyle style;
  style.width = static_cast<size_t>(width);
  style.breaks_words = a[1].IsAbsent() || IsTrue(runtime, a[1]);
  style.at_hyphens = a[3].IsAbsent() || IsTrue(runtime, a[3]);
  const bool has_end = !a[2].IsAbsent() && !a[2].IsNone();
  const std::string end = has_end ? TextArgument(runtime, a[2], "wrapstring") : "\n";

  std::vector<std::string> paragraphs;
  const std::string text = TextArgument(runtime, self, "the value of 'wordwrap'");
  for (const std::string& line : SplitLines(text, /*keeps_ends=*/false)) {
    const std::vector<std::string> lines = WrapLine(runtime, line, style);
    runtime.Charge(line.size() + lines.size() * end.size());
    paragraphs.push_back(Join(lines, end));
  }
  return runtime.Text(Join(paragraphs, end));
}

}  // namespace qualm::jinja
