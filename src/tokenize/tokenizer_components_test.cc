// Single normalizers, pre-tokenizers and decoders against the tokenizers library.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "support/shared_data.h"
#include "tokenize/normalizer.h"
#include "tokenize/piece_decoder.h"
#include "tokenize/pre_tokenizer.h"

namespace qualm {
namespace {

std::string Shown(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
}

// Calls run(component)(input) for every case of `file` and compares what comes back. Cases in which
// the library stops have null as their result and are only run.
template <typename Prepare>
void CheckComponents(const std::filesystem::path& file, Prepare prepare) {
  const Json components = ReadJsonFile(file);
  size_t cases = 0;
  for (const Json& entry : components) {
    const std::string shown = Shown(entry["component"]).substr(0, 200);
    EXPECT_NO_THROW({
      const auto run = prepare(entry["component"]);
      for (const Json& item : entry["cases"]) {
        ++cases;
        const Json got = run(item[0]);
        if (item[1].is_null()) continue;
        EXPECT_EQ(Shown(got), Shown(item[1])) << shown << Shown(item[0]);
      }
    }) << shown;
  }
  EXPECT_GT(cases, 0u);
}

TEST(TokenizerComponents, NormalizersEqualTheLibrary) {
  QUALM_SHARED_OR_SKIP(root, "golden/tokenizer-components");
  CheckComponents(root / "normalizers.json", [](const Json& json) {
    return [normalizer = Normalizer::Parse(json, "normalizer")](const Json& text) -> Json {
      return normalizer.Apply(text.get<std::string>());
    };
  });
}

TEST(TokenizerComponents, PreTokenizersEqualTheLibrary) {
  QUALM_SHARED_OR_SKIP(root, "golden/tokenizer-components");
  CheckComponents(root / "pre_tokenizers.json", [](const Json& json) {
    PreTokenizer pre_tokenizer = PreTokenizer::Parse(json, "pre_tokenizer");
    pre_tokenizer.SpellBytes();
    return [pre_tokenizer = std::move(pre_tokenizer)](const Json& input) -> Json {
      const auto text = input.get<std::string>();
      std::deque<std::string> storage;
      std::vector<Word> words = {{text, /*starts_text=*/true}};
      pre_tokenizer.Apply(words, storage);
      Json out = Json::array();
      for (const Word& word : words) out.push_back(std::string(word.text));
      return out;
    };
  });
}

TEST(TokenizerComponents, DecodersEqualTheLibrary) {
  QUALM_SHARED_OR_SKIP(root, "golden/tokenizer-components");
  CheckComponents(root / "decoders.json", [](const Json& json) {
    return [decoder = PieceDecoder::Parse(json, "decoder")](const Json& pieces) -> Json {
      return decoder.Decode(pieces.get<std::vector<std::string>>());
    };
  });
}

}  // namespace
}  // namespace qualm
