// Settings of generation_config.json as the sampling that transformers would use.
#include "generate/model_sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

Sampling SamplingOf(const std::string& json) {
  const testing::TemporaryFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("generation_config.json", json);
  return ModelSampling(ReadGenerationConfig(folder.path(), 100));
}

TEST(ModelSampling, WithoutDoSampleItIsGreedy) {
  EXPECT_EQ(SamplingOf("{}"), Sampling{});
  EXPECT_EQ(SamplingOf(R"({"do_sample": false, "temperature": 0.6, "top_p": 0.9})"), Sampling{});
  EXPECT_EQ(SamplingOf(R"({"temperature": 0.6, "repetition_penalty": 1.1})"),
            (Sampling{.repetition_penalty = 1.1}));
}

TEST(ModelSampling, WhatTheFileDoesNotSayIsTransformersDefault) {
  EXPECT_EQ(SamplingOf(R"({"do_sample": true})"), (Sampling{.temperature = 1, .top_k = 50}));
  EXPECT_EQ(SamplingOf(R"({"do_sample": true, "top_k": null, "temperature": null})"),
            (Sampling{.temperature = 1, .top_k = 50}));
  EXPECT_EQ(SamplingOf(R"({"do_sample": true, "top_k": 0})"), (Sampling{.temperature = 1}));
}

TEST(ModelSampling, EverySupportedKeyIsFollowed) {
  EXPECT_EQ(SamplingOf(R"({"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.8,
                           "min_p": 0.05, "repetition_penalty": 1.05, "max_new_tokens": 9,
                           "pad_token_id": 3, "transformers_version": "4.37.0"})"),
            (Sampling{.repetition_penalty = 1.05,
                      .temperature = 0.7,
                      .top_k = 20,
                      .top_p = 0.8,
                      .min_p = 0.05}));
}

TEST(ModelSampling, WhatCannotBeFollowedIsNamed) {
  const auto refusal = [](const std::string& json) {
    return ErrorOf([&] { (void)SamplingOf(json); });
  };
  EXPECT_THAT(refusal(R"({"num_beams": 4})"),
              HasSubstr("/generation_config.json: num_beams] expected a setting that qualm can "
                        "follow; got 4"));
  EXPECT_THAT(refusal(R"({"do_sample": true, "typical_p": 0.9})"), HasSubstr("typical_p"));
  EXPECT_THAT(refusal(R"({"suppress_tokens": [7]})"), HasSubstr("suppress_tokens"));
  EXPECT_THAT(refusal(R"({"min_new_tokens": 2})"), HasSubstr("min_new_tokens"));

  // At these values they change nothing.
  EXPECT_EQ(SamplingOf(R"({"num_beams": 1, "typical_p": 1.0, "suppress_tokens": [],
                           "no_repeat_ngram_size": 0, "guidance_scale": null})"),
            Sampling{});
}

TEST(ModelSampling, ValuesOutOfRangeAreNamed) {
  const auto refusal = [](const std::string& setting) {
    return ErrorOf([&] { (void)SamplingOf("{\"do_sample\": true, " + setting + "}"); });
  };
  EXPECT_THAT(refusal(R"("temperature": 0)"),
              HasSubstr("/generation_config.json: temperature] expected a number above 0; got 0"));
  EXPECT_THAT(refusal(R"("temperature": "hot")"), HasSubstr("temperature"));
  EXPECT_THAT(refusal(R"("top_k": -1)"), HasSubstr("top_k] expected a whole number, 0 or more"));
  EXPECT_THAT(refusal(R"("top_p": 1.5)"), HasSubstr("top_p] expected a number from 0 to 1"));
  EXPECT_THAT(refusal(R"("min_p": -0.5)"), HasSubstr("min_p] expected a number from 0 to 1"));
  EXPECT_THAT(refusal(R"("repetition_penalty": 0)"), HasSubstr("repetition_penalty"));
}

}  // namespace
}  // namespace qualm
