#include "formats/peft_adapter.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/strings.h"
#include "io/safetensors.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

constexpr const char* kModule = "model.layers.0.self_attn.q_proj";

// An adapter of rank 2 for one module [3, 4], which a test damages before it is written.
struct Adapter {
  Json config = {{"peft_type", "LORA"},
                 {"r", 2},
                 {"lora_alpha", 3},
                 {"bias", "none"},
                 {"target_modules", {"q_proj"}}};
  std::map<std::string, std::vector<float>> values = {
      {StrCat("base_model.model.", kModule, ".lora_A.weight"), {1, 2, 3, 4, -1, 0.5f, 0, 2}},
      {StrCat("base_model.model.", kModule, ".lora_B.weight"), {1, 0, 2, 1, -1, 3}}};
  std::map<std::string, std::vector<size_t>> shapes = {
      {StrCat("base_model.model.", kModule, ".lora_A.weight"), {2, 4}},
      {StrCat("base_model.model.", kModule, ".lora_B.weight"), {3, 2}}};

  void Write(const std::filesystem::path& folder) const {
    std::filesystem::create_directories(folder);
    WriteJsonFile(folder / "adapter_config.json", config);
    std::vector<TensorToWrite> list;
    for (const auto& [name, numbers] : values) {
      list.push_back({name, DType::kF32, shapes.at(name), std::as_bytes(std::span(numbers))});
    }
    WriteSafetensors(folder / "adapter_model.safetensors", list);
  }
};

// The base: one float layer.
void WriteBase(const std::filesystem::path& folder, std::vector<size_t> shape = {3, 4}) {
  std::filesystem::create_directories(folder);
  WriteJsonFile(folder / "config.json", Json::object());
  const std::vector<float> numbers(shape[0] * shape[1], 0.25f);
  WriteSafetensors(folder / "model.safetensors",
                   std::vector<TensorToWrite>{{StrCat(kModule, ".weight"), DType::kF32, shape,
                                               std::as_bytes(std::span(numbers))}});
}

Matrix MergedOf(const Adapter& adapter) {
  const testing::TemporaryFolder folder;
  adapter.Write(folder / "adapter");
  WriteBase(folder / "base");
  const TensorFile tensors = TensorFile::Open(folder / "base");
  const auto layers =
      MergeAdapter(std::make_shared<const PeftAdapter>(PeftAdapter::Open(folder / "adapter")),
                   nullptr, tensors, {});
  return Dequantize(layers->Read(*layers->Find(kModule)));
}

// W + s·(B·A) in double; all numbers here are small multiples of powers of two but s.
void ExpectMerged(const Adapter& adapter, double scale) {
  const Matrix merged = MergedOf(adapter);
  const std::vector<float>&a = adapter.values.begin()->second, &b = adapter.values.rbegin()->second;
  const size_t rank = b.size() / 3;
  for (size_t r = 0; r < 3; ++r) {
    for (size_t c = 0; c < 4; ++c) {
      double sum = 0;
      for (size_t k = 0; k < rank; ++k) {
        sum += static_cast<double>(b[r * rank + k]) * static_cast<double>(a[k * 4 + c]);
      }
      const double wanted = 0.25 + scale * sum;
      // The scale, the product and the sum are rounded once each.
      EXPECT_NEAR(merged(r, c), wanted, 3 * std::ldexp(std::abs(scale * sum) + 1, -24));
    }
  }
}

TEST(PeftAdapter, AddsScaledProducts) { ExpectMerged({}, 3.0 / 2); }

TEST(PeftAdapter, RankStabilisedScalesDivideByTheRoot) {
  Adapter adapter;
  adapter.config["use_rslora"] = true;
  ExpectMerged(adapter, 3 / std::sqrt(2.0));
}

// A pattern is the end of a name, or, with ^, a front.
TEST(PeftAdapter, PatternsGiveRanksAndAlphas) {
  Adapter adapter;
  adapter.config["r"] = 8;
  adapter.config["rank_pattern"] = {{"k_proj", 4}, {"self_attn.q_proj", 2}};
  adapter.config["alpha_pattern"] = {{"^model\\.layers\\.0", 5}};
  ExpectMerged(adapter, 5.0 / 2);
  adapter.config["rank_pattern"] = {{"roj", 2}};  // not a whole part of the name
  EXPECT_THAT(ErrorOf([&] { (void)MergedOf(adapter); }), HasSubstr("with r = 8"));
}

TEST(PeftAdapter, WhatItCannotDoIsRefusedByName) {
  const auto error = [](const std::function<void(Adapter&)>& damage) {
    Adapter adapter;
    damage(adapter);
    return ErrorOf([&] { (void)MergedOf(adapter); });
  };
  const std::string a = StrCat("base_model.model.", kModule, ".lora_A.weight");
  EXPECT_EQ(error([](Adapter&) {}), "no error");
  const std::vector<std::pair<std::string, Json>> settings = {
      {"use_dora", true},
      {"modules_to_save", Json::array({"lm_head"})},
      {"lora_bias", true},
      {"layer_replication", Json::array({Json::array({0, 1})})},
      {"target_parameters", Json::array({"x"})},
      {"fan_in_fan_out", true},
      {"init_lora_weights", "pissa_niter_4"},
      {"key_of_tomorrow", 3}};
  for (const auto& pair : settings) {
    const std::string& name = pair.first;
    const Json& setting = pair.second;
    EXPECT_THAT(error([&](Adapter& adapter) { adapter.config[name] = setting; }), HasSubstr(name));
  }
  EXPECT_EQ(error([](Adapter& adapter) { adapter.config["key_of_tomorrow"] = nullptr; }),
            "no error");
  for (const Json& way : {Json(true), Json(false), Json("gaussian")}) {
    EXPECT_EQ(error([&](Adapter& adapter) { adapter.config["init_lora_weights"] = way; }),
              "no error");
  }
  EXPECT_THAT(error([](Adapter& adapter) { adapter.config["peft_type"] = "IA3"; }),
              HasSubstr("peft_type] expected LORA; got 'IA3'"));
  EXPECT_THAT(error([](Adapter& adapter) { adapter.config["bias"] = "all"; }),
              HasSubstr("bias] expected none; got 'all'"));
  EXPECT_THAT(error([](Adapter& adapter) {
                adapter.config["rank_pattern"] = {{"q(", 2}};
              }),
              HasSubstr("rank_pattern"));
  EXPECT_THAT(error([&](Adapter& adapter) { adapter.values[a][3] = NAN; }),
              HasSubstr("finite numbers"));
  EXPECT_THAT(error([&](Adapter& adapter) { adapter.values.erase(a); }), HasSubstr("no lora_A"));
  EXPECT_THAT(error([&](Adapter& adapter) {
                adapter.shapes[a] = {4, 2};
              }),
              HasSubstr("lora_A [r, in]"));
  EXPECT_THAT(error([&](Adapter& adapter) { adapter.config["r"] = 3; }), HasSubstr("r = 3"));
  EXPECT_THAT(error([](Adapter& adapter) {
                adapter.values["base_model.model.x.lora_magnitude_vector"] = {1};
                adapter.shapes["base_model.model.x.lora_magnitude_vector"] = {1};
              }),
              HasSubstr("lora_magnitude_vector"));
}

TEST(PeftAdapter, AnotherModelsAdapterIsRefused) {
  const testing::TemporaryFolder folder;
  Adapter().Write(folder / "adapter");
  WriteBase(folder / "base", {3, 8});
  const TensorFile tensors = TensorFile::Open(folder / "base");
  EXPECT_THAT(ErrorOf([&] {
                (void)MergeAdapter(
                    std::make_shared<const PeftAdapter>(PeftAdapter::Open(folder / "adapter")),
                    nullptr, tensors, {});
              }),
              HasSubstr("an addition to [3, 8]; got [3, 4]"));
}

TEST(PeftAdapter, FindsItsBase) {
  const testing::TemporaryFolder folder;
  Adapter adapter;
  adapter.config["base_model_name_or_path"] = "org/base";
  adapter.Write(folder / "adapter");
  const PeftAdapter opened = PeftAdapter::Open(folder / "adapter");
  const auto base = [&](const std::filesystem::path& given) {
    return BaseOfAdapter(opened, folder / "adapter", given);
  };
  EXPECT_THAT(ErrorOf([&] { (void)base(""); }), HasSubstr("org/base"));
  WriteBase(folder / "one");
  EXPECT_EQ(base("").filename(), "one");
  WriteBase(folder / "two");
  EXPECT_THAT(ErrorOf([&] { (void)base(""); }), HasSubstr("got 2 models next to it"));
  EXPECT_EQ(base("given"), "given");
  WriteBase(folder / "org/base");
  EXPECT_EQ(base("").filename(), "base");
}

}  // namespace
}  // namespace qualm
