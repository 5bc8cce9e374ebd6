// Each kind of processor is read into what it puts around a text; a sequence applies its processors
// one after the other.
#include "tokenize/post_processor.h"

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/vocabulary.h"

namespace qualm {
namespace {

const Json& Member(const Json& object, std::string_view key) {
  static const Json null;
  if (!object.is_object()) return null;
  auto found = object.find(std::string(key));
  return found == object.end() ? null : *found;
}

TokenId IdOf(const Json& json, std::string_view name, std::string_view place) {
  if (json.is_number_integer()) {
    const auto id = json.get<int64_t>();
    if (id >= 0 && id <= Vocabulary::kMaxId) return static_cast<TokenId>(id);
  }
  ThrowBadInput(place, StrCat("an id of the vocabulary for '", name, "'"), json.dump());
}

// What one processor puts around a text.
struct Around {
  std::vector<TokenId> before, after;
};

// ["[CLS]", 101], as BertProcessing and RobertaProcessing name their tokens.
TokenId NamedId(const Json& json, const char* key, std::string_view place) {
  const Json& pair = Member(json, key);
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string()) {
    ThrowBadInput(place, StrCat("a pair of token and id as '", key, "'"), pair.dump());
  }
  return IdOf(pair[1], pair[0].get<std::string>(), place);
}

// The ids of a special token of a template.
void AppendTemplateToken(const Json& json, const std::string& name, std::string_view place,
                         std::vector<TokenId>& out) {
  const Json& ids = Member(Member(Member(json, "special_tokens"), name), "ids");
  if (!ids.is_array()) {
    ThrowBadInput(place, StrCat("a list of ids for '", name, "' in special_tokens"), ids.dump());
  }
  for (const Json& id : ids) out.push_back(IdOf(id, name, place));
}

Around ReadTemplate(const Json& json, std::string_view place) {
  const Json& single = Member(json, "single");
  if (!single.is_array()) ThrowBadInput(place, "a list 'single'", single.type_name());
  Around around;
  bool after_text = false;
  for (const Json& item : single) {
    const bool is_part = item.is_object() && item.size() == 1;
    if (is_part && item.contains("Sequence") && !after_text) {
      after_text = true;
    } else if (is_part && item.contains("SpecialToken")) {
      AppendTemplateToken(json, GetString(item["SpecialToken"], "id", place), place,
                          after_text ? around.after : around.before);
    } else {
      ThrowBadInput(place, "a template of special tokens around one text",
                    StrCat(item.dump().substr(0, 100), ", which is not supported"));
    }
  }
  if (!after_text) {
    ThrowBadInput(place, "a template of special tokens around one text",
                  StrCat("a template without the text: ", single.dump().substr(0, 100)));
  }
  return around;
}

void Apply(const Json& json, std::string_view place, SpecialTokens& special) {
  const std::string type = GetString(json, "type", place);
  const std::string here = StrCat(place, ".", type);
  Around around;
  if (type == "Sequence") {
    const Json& parts = Member(json, "processors");
    if (!parts.is_array()) ThrowBadInput(here, "a list 'processors'", parts.type_name());
    for (const Json& part : parts) Apply(part, here, special);
  } else if (type == "TemplateProcessing") {
    around = ReadTemplate(json, here);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    around = {{NamedId(json, "cls", here)}, {NamedId(json, "sep", here)}};
  } else if (type != "ByteLevel") {
    ThrowBadInput(place,
                  "a post-processor among BertProcessing, ByteLevel, RobertaProcessing, Sequence, "
                  "TemplateProcessing",
                  StrCat("'", type, "', which is not supported"));
  }
  // A later processor goes around what an earlier one made.
  special.before.insert(special.before.begin(), around.before.begin(), around.before.end());
  special.after.insert(special.after.end(), around.after.begin(), around.after.end());
}

void NameOuterTokens(SpecialTokens& special) {
  special.add_bos = !special.before.empty();
  special.add_eos = !special.after.empty();
  if (special.add_bos) special.bos = special.before.front();
  if (special.add_eos) special.eos = special.after.back();
}

}  // namespace

void ReadPostProcessor(const Json& json, std::string_view place, SpecialTokens& special) {
  if (json.is_null()) return;
  Apply(json, place, special);
  NameOuterTokens(special);
}

void SetTemplate(std::optional<TokenId> before, std::optional<TokenId> after,
                 SpecialTokens& special) {
  special.before.clear();
  special.after.clear();
  if (before) special.before.push_back(*before);
  if (after) special.after.push_back(*after);
  NameOuterTokens(special);
}

}  // namespace qualm
