// Regular expressions of tokenizer.json: written for Oniguruma, run by PCRE2 over UTF-8.
// What the two read differently is rewritten; what cannot be is refused with an error.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace qualm {

// The inside of a character class for \w as Rust's regex crate reads it, which runs the patterns
// that the tokenizers library has of its own (Unicode TS 18, Annex C): letters, marks, decimal
// digits, connectors and the two joiners, but no superscripts.
inline constexpr std::string_view kRustWord =
    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}";

// A compiled pattern; immutable and shared by threads.
class Regex {
 public:
  // Throws bad input naming the position of the first mistake.
  Regex(std::string_view pattern, std::string_view place);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // Finds the matches in texts, one text after the other. The regex and the text must outlive it.
  class Scanner {
   public:
    explicit Scanner(const Regex& regex);
    ~Scanner();
    Scanner(Scanner&&) noexcept;
    Scanner& operator=(Scanner&&) = delete;
    // Begins at the front of `text`, which is well-formed UTF-8.
    void Start(std::string_view text);
    // The next match as [*begin, *end), false if there is none. An empty match right behind the
    // match before it is left out. Throws bad input if the pattern needs too many steps.
    bool Next(size_t* begin, size_t* end);

   private:
    int Match(size_t start);
    struct State;
    const Regex& regex_;
    std::string_view text_;
    size_t position_ = 0;
    size_t last_end_ = static_cast<size_t>(-1);
    std::unique_ptr<State> state_;
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace qualm
