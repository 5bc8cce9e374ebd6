// Asks ICU, apart from questions whose answer depends on an older version of Unicode.
#include "tokenize/unicode.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

UChar32 CharacterOf(uint32_t code) { return static_cast<UChar32>(code); }

const icu::Normalizer2& NormalizerOf(NormalForm form) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = nullptr;
  switch (form) {
    case NormalForm::kNfc:
      normalizer = icu::Normalizer2::getNFCInstance(error);
      break;
    case NormalForm::kNfd:
      normalizer = icu::Normalizer2::getNFDInstance(error);
      break;
    case NormalForm::kNfkc:
      normalizer = icu::Normalizer2::getNFKCInstance(error);
      break;
    case NormalForm::kNfkd:
      normalizer = icu::Normalizer2::getNFKDInstance(error);
      break;
  }

  // The tables are part of the library; they are always there.
  QUALM_CHECK(U_SUCCESS(error) && normalizer != nullptr);
  return *normalizer;
}

// Whether version `major`.0 of Unicode has the character.
bool IsOfVersion(uint32_t code, uint8_t major) {
  UVersionInfo since{};
  u_charAge(CharacterOf(code), since);
  return since[0] < major || (since[0] == major && since[1] == 0);
}

icu::StringPiece PieceOf(std::string_view text) {
  if (text.size() > INT32_MAX) {
    ThrowBadInput("tokenizer", "a text below 2 GiB to normalize", StrCat(text.size(), " bytes"));
  }
  return {text.data(), static_cast<int32_t>(text.size())};
}

}  // namespace

bool IsWhiteSpace(uint32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 0x09 && code <= 0x0d);
  return u_isUWhiteSpace(CharacterOf(code)) != 0;
}

bool IsMark(uint32_t code) {
  return (U_GET_GC_MASK(CharacterOf(code)) & U_GC_M_MASK) != 0 && IsOfVersion(code, 9);
}

bool IsNonspacingMark(uint32_t code) {
  return u_charType(CharacterOf(code)) == U_NON_SPACING_MARK && IsOfVersion(code, 8);
}

bool IsControlOrFormat(uint32_t code) {
  constexpr uint32_t kMask = U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK;
  return (U_GET_GC_MASK(CharacterOf(code)) & kMask) != 0 && IsOfVersion(code, 8);
}

int ScriptOf(uint32_t code) {
  constexpr uint32_t kProlongedSoundMark = 0x30fc;  // common to Hiragana and Katakana
  if (code == ' ') return -1;
  if (code == kProlongedSoundMark) return USCRIPT_HAN;

  UErrorCode error = U_ZERO_ERROR;
  const UScriptCode script = uscript_getScript(CharacterOf(code), &error);
  if (U_FAILURE(error) || script == USCRIPT_UNKNOWN || !IsOfVersion(code, 9)) return -1;
  if (script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA) return USCRIPT_HAN;
  return script;
}

bool IsScriptName(std::string_view name) {
  return u_getPropertyValueEnum(UCHAR_SCRIPT, std::string(name).c_str()) != UCHAR_INVALID_CODE;
}

void AppendLowerCase(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out.push_back(static_cast<char>(code >= 'A' && code <= 'Z' ? code + 0x20 : code));
  } else if (code == 0x130) {
    out += "i\xcc\x87";  // the only character whose lower case is two: an i with a dot above
  } else {
    AppendUtf8(static_cast<uint32_t>(u_tolower(CharacterOf(code))), out);
  }
}

std::string ToNormalForm(std::string_view text, NormalForm form) {
  std::string out;
  icu::StringByteSink<std::string> sink(&out, PieceOf(text).length());
  UErrorCode error = U_ZERO_ERROR;
  NormalizerOf(form).normalizeUTF8(0, PieceOf(text), sink, nullptr, error);
  QUALM_CHECK(U_SUCCESS(error));
  return out;
}

bool IsInNormalForm(std::string_view text, NormalForm form) {
  UErrorCode error = U_ZERO_ERROR;
  const UBool is_normal = NormalizerOf(form).isNormalizedUTF8(PieceOf(text), error);
  return U_SUCCESS(error) && is_normal != 0;
}

}  // namespace qualm
