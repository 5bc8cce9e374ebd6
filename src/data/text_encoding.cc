// Converts a file's text to UTF-8 by iconv, or checks that it is UTF-8 already. A text in another
// encoding must not pass: its characters would be scored as replacement characters.
#include "data/text_encoding.h"

#include <iconv.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

constexpr std::string_view kUtf8Mark = "\xef\xbb\xbf";

std::string PlaceOf(std::string_view text, size_t offset, std::string_view place) {
  const std::string_view before = text.substr(0, offset);
  return StrCat(place, ":", std::ranges::count(before, '\n') + 1);
}

// "0xe9", so that the message itself stays readable.
std::string HexByte(char byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const auto value = static_cast<uint8_t>(byte);
  return StrCat("0x", kDigits[value >> 4], kDigits[value & 15]);
}

// What the first bytes say about a text that is not UTF-8.
std::string_view HintFor(std::string_view text) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    return "it begins like UTF-16; name it by `encoding: utf-16` in a data set's YAML "
           "(docs/data.md)";
  }
  if (text.starts_with("\x1f\x8b")) return "it begins like gzip; its name should end in .gz";
  if (text.starts_with("\x28\xb5\x2f\xfd"))
    return "it begins like zstd; its name should end in .zst";
  return "name the encoding by `encoding:` in a data set's YAML (docs/data.md), such as gbk, "
         "cp1252 "
         "or latin-1";
}

void RequireUtf8(std::string_view text, std::string_view place) {
  if (IsValidUtf8(text)) return;
  size_t at = 0;
  while (const size_t length = ValidCharacterLength(text.substr(at))) at += length;
  ThrowBadInput(PlaceOf(text, at, place), "text in UTF-8", StrCat("the byte ", HexByte(text[at])),
                HintFor(text));
}

// Names that iconv may know the encoding by; Python writes "latin-1" and "iso8859_1".
std::vector<std::string> SpellingsOf(std::string_view encoding) {
  std::string bare, dashed(encoding);
  for (char c : encoding) {
    if (c != '-' && c != '_') bare += c;
  }
  std::ranges::replace(dashed, '_', '-');
  std::vector<std::string> spellings = {std::string(encoding), dashed, bare};
  if (bare.starts_with("iso8859")) spellings.push_back("ISO-8859-" + bare.substr(7));
  if (bare.starts_with("windows")) spellings.push_back("CP" + bare.substr(7));
  return spellings;
}

// Closes the converter that it holds.
class Converter {
 public:
  Converter(std::string_view encoding, std::string_view place) {
    // A slash would be an option of iconv's, not a name.
    const bool is_name = encoding.find('/') == std::string_view::npos;
    for (const std::string& name : SpellingsOf(encoding)) {
      if (is_open() || !is_name) break;
      handle_ = iconv_open("UTF-8", name.c_str());
    }
    if (is_open()) return;
    ThrowBadInput(place, "an encoding that iconv knows, such as gbk, cp1252, latin-1 or utf-16",
                  StrCat("'", encoding, "'"));
  }
  ~Converter() {
    if (is_open()) iconv_close(handle_);
  }
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;

  // Returns what could be converted; `text` is moved past it. It is empty if that was all.
  std::string Convert(std::string_view& text) {
    std::string out;
    std::vector<char> piece(size_t{1} << 16);
    char* in = const_cast<char*>(text.data());
    size_t left = text.size();

    // A full piece is not a failure: another one continues where it stopped.
    while (true) {
      char* to = piece.data();
      size_t room = piece.size();
      const size_t result = iconv(handle_, &in, &left, &to, &room);
      const int error = errno;
      out.append(piece.data(), piece.size() - room);
      if (result != static_cast<size_t>(-1) || error != E2BIG) break;
    }

    text.remove_prefix(text.size() - left);
    return out;
  }

 private:
  bool is_open() const { return handle_ != reinterpret_cast<iconv_t>(-1); }

  iconv_t handle_ = reinterpret_cast<iconv_t>(-1);
};

bool IsUtf8Name(std::string_view encoding) {
  const std::string lower = ToLower(encoding);
  return lower.empty() || lower == "utf-8" || lower == "utf8" || lower == "utf-8-sig" ||
         lower == "utf_8";
}

}  // namespace

std::string_view DecodedText(std::string_view text, std::string_view encoding,
                             std::string_view place, std::string& storage) {
  if (!IsUtf8Name(encoding)) {
    std::string_view rest = text;
    storage = Converter(encoding, place).Convert(rest);

    // What is left could not be converted.
    if (!rest.empty()) {
      ThrowBadInput(PlaceOf(storage, storage.size(), place), StrCat("text in ", encoding),
                    StrCat("the byte ", HexByte(rest[0])));
    }
    text = storage;
  }

  RequireUtf8(text, place);
  if (text.starts_with(kUtf8Mark)) text.remove_prefix(kUtf8Mark.size());
  return text;
}

std::string_view DeclaredXmlEncoding(std::string_view text) {
  if (text.starts_with(kUtf8Mark)) text.remove_prefix(kUtf8Mark.size());
  if (!text.starts_with("<?xml")) return "";
  const std::string_view declaration = text.substr(0, text.find("?>"));

  // The value is in quotes of either kind.
  constexpr std::string_view kKey = "encoding=";
  const size_t at = declaration.find(kKey);
  if (at == std::string_view::npos || at + kKey.size() >= declaration.size()) return "";
  const std::string_view value = declaration.substr(at + kKey.size());
  const size_t end = value.find(value[0], 1);
  return end == std::string_view::npos ? "" : value.substr(1, end - 1);
}

}  // namespace qualm
