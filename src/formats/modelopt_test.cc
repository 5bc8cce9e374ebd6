// Files of TensorRT Model Optimizer against a slow twin in double, and damaged ones.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "support/quantized_folder.h"

namespace qualm {
namespace {

using testing::ExpectRefusals;
using ::testing::HasSubstr;
using Folder = testing::QuantizedFolder;

Folder With(const char* algorithm, const char* dtype) {
  Folder folder;
  folder.config["dtype"] = dtype;
  folder.config["quantization_config"] = {
      {"quant_method", "modelopt"},
      {"quant_algo", algorithm},
      {"producer", {{"name", "modelopt"}, {"version", "0.47.0"}}},
      {"ignore", {"lm_head"}}};
  return folder;
}

Json& Settings(Folder& folder) { return folder.config["quantization_config"]; }

void PutFloats(Folder& folder, const std::string& name, std::vector<size_t> shape,
               const std::vector<float>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  folder.tensors[name] = {DType::kF32, std::move(shape), {bytes.begin(), bytes.end()}};
}

// Bytes that are E4M3 numbers: neither of the two codes of NaN.
void PutNumbers(Folder& folder, const std::string& name, DType type, std::vector<size_t> shape,
                bool is_positive) {
  folder.Put(name, type, std::move(shape), 0);
  Rng rng(name.size());
  for (std::byte& byte : folder.tensors[name].bytes) {
    auto code = static_cast<uint8_t>(rng.Next() % 256);
    if (is_positive) code = static_cast<uint8_t>(1 + code % 126);
    byte = std::byte((code & 0x7f) == 0x7f ? uint8_t{0} : code);
  }
}

// --- the definitions

// An E4M3 number: sign, four bits of exponent with bias 7, three of mantissa.
double E4m3(std::byte byte) {
  const int code = std::to_integer<int>(byte), exponent = code >> 3 & 15, mantissa = code & 7;
  const double magnitude =
      exponent == 0 ? mantissa * std::exp2(-9) : (8 + mantissa) * std::exp2(exponent - 10);
  return (code & 128) != 0 ? -magnitude : magnitude;
}

// An E2M1 number; its negative zero is zero.
double E2m1(int code) {
  constexpr double kMagnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  const double magnitude = kMagnitudes[code & 7];
  return (code & 8) != 0 && magnitude != 0 ? -magnitude : magnitude;
}

float FloatAt(const Folder& folder, const std::string& name, size_t i) {
  float value = 0;
  std::memcpy(&value, folder.tensors.at(name).bytes.data() + i * sizeof value, sizeof value);
  return value;
}

using WeightAt = std::function<float(size_t row, size_t column)>;

// Every weight of the layer "a" has exactly these bits, also the sign of a zero.
void ExpectWeights(const Folder& folder, const ReadOptions& options, size_t out, size_t in,
                   const WeightAt& expected) {
  folder.Open(options, [&](const QuantizedLayers* layers) {
    ASSERT_NE(layers, nullptr);
    EXPECT_EQ(layers->description().name, "modelopt");
    const Matrix weight = Dequantize(layers->Read(*layers->Find("a")));
    ASSERT_EQ(weight.rows(), out);
    ASSERT_EQ(weight.cols(), in);
    for (size_t r = 0; r < out; ++r) {
      for (size_t c = 0; c < in; ++c) {
        ASSERT_EQ(weight(r, c), expected(r, c)) << r << ", " << c;
        ASSERT_EQ(std::signbit(weight(r, c)), std::signbit(expected(r, c))) << r << ", " << c;
      }
    }
  });
}

// --- weights

constexpr size_t kOut = 11, kIn = 48;

// [11, 48] in NVFP4.
Folder Nvfp4() {
  Folder folder = With("NVFP4", "bfloat16");
  PutNumbers(folder, "a.weight", DType::kU8, {kOut, kIn / 2}, /*is_positive=*/false);
  PutNumbers(folder, "a.weight_scale", DType::kF8E4m3, {kOut, kIn / 16}, /*is_positive=*/true);
  PutFloats(folder, "a.weight_scale_2", {}, {0.00137f});
  PutFloats(folder, "a.input_scale", {}, {0.0064f});
  return folder;
}

TEST(ModelOpt, Nvfp4IsTwoScalesThatMultiply) {
  const Folder folder = Nvfp4();
  for (const bool is_rounded : {true, false}) {
    const DType type = is_rounded ? DType::kBF16 : DType::kF32;
    ExpectWeights(folder, {.float32_weights = !is_rounded}, kOut, kIn, [&](size_t r, size_t c) {
      const auto byte =
          std::to_integer<int>(folder.tensors.at("a.weight").bytes[(r * kIn + c) / 2]);
      const double code = E2m1(c % 2 == 0 ? byte & 15 : byte >> 4);
      const double group = E4m3(folder.tensors.at("a.weight_scale").bytes[(r * kIn + c) / 16]);
      const auto scale = static_cast<float>(group * double{FloatAt(folder, "a.weight_scale_2", 0)});
      return RoundTo(static_cast<float>(code * double{scale}), type);
    });
  }
}

// The scale of a weight in FP8 is rounded to the model's type before the product is.
void ExpectFp8(const char* algorithm, std::vector<size_t> shape, size_t out, size_t in,
               const std::function<size_t(size_t row, size_t column)>& scale_at) {
  Folder folder = With(algorithm, "float16");
  PutNumbers(folder, "a.weight", DType::kF8E4m3, {out, in}, /*is_positive=*/false);
  size_t count = 1;
  for (const size_t side : shape) count *= side;
  std::vector<float> scales(count);
  for (size_t i = 0; i < count; ++i) scales[i] = 0.0123f + 0.00071f * static_cast<float>(i);
  PutFloats(folder, "a.weight_scale", std::move(shape), scales);
  for (const bool is_rounded : {true, false}) {
    const DType type = is_rounded ? DType::kF16 : DType::kF32;
    ExpectWeights(folder, {.float32_weights = !is_rounded}, out, in, [&](size_t r, size_t c) {
      const double value = E4m3(folder.tensors.at("a.weight").bytes[r * in + c]);
      const double scale = double{RoundTo(scales[scale_at(r, c)], type)};
      return RoundTo(static_cast<float>(value * scale), type);
    });
  }
}

TEST(ModelOpt, Fp8HasAScalePerTensorRowOrBlock) {
  ExpectFp8("FP8", {}, 5, 24, [](size_t, size_t) { return size_t{0}; });
  ExpectFp8("FP8", {1}, 5, 24, [](size_t, size_t) { return size_t{0}; });
  ExpectFp8("FP8", {5, 1}, 5, 24, [](size_t r, size_t) { return r; });
  ExpectFp8("FP8_PER_CHANNEL_PER_TOKEN", {5}, 5, 24, [](size_t r, size_t) { return r; });
  ExpectFp8("fp8_pb_wo", {2, 1, 3, 1}, 130, 300,
            [](size_t r, size_t c) { return r / 128 * 3 + c / 128; });
  ExpectFp8("FP8_PB_WO", {}, 16, 32, [](size_t, size_t) { return size_t{0}; });
}

TEST(ModelOpt, Mxfp8HasPowersOfTwo) {
  Folder folder = With("MXFP8", "bfloat16");
  PutNumbers(folder, "a.weight", DType::kF8E4m3, {kOut, 64}, /*is_positive=*/false);
  PutNumbers(folder, "a.weight_scale", DType::kU8, {kOut, 2}, /*is_positive=*/true);
  ExpectWeights(folder, {}, kOut, 64, [&](size_t r, size_t c) {
    const int power =
        std::to_integer<int>(folder.tensors.at("a.weight_scale").bytes[r * 2 + c / 32]) - 127;
    const double value = E4m3(folder.tensors.at("a.weight").bytes[r * 64 + c]);
    return RoundTo(static_cast<float>(value * std::exp2(power)), DType::kBF16);
  });
}

// --- what goes beyond weights

// What the layer "a" rounds its inputs with, and the description.
ActivationGrid InputsOf(const Folder& folder) {
  ActivationGrid grid;
  folder.Open({}, [&](const QuantizedLayers* layers) {
    const QuantizedWeight weight = layers->Read(*layers->Find("a"));
    const auto& inputs = std::get<QuantizedLinear>(weight).activations;
    ASSERT_TRUE(inputs.has_value());
    grid = *inputs;
  });
  return grid;
}

TEST(ModelOpt, InputsAreRoundedAsTheAlgorithmSays) {
  const ActivationGrid groups = InputsOf(Nvfp4());
  EXPECT_EQ(groups.rule, GroupScaleRule::kGlobal);
  EXPECT_EQ(groups.global_scale, 1.0f / 0.0064f);

  Folder fp8 = With("FP8", "bfloat16");
  fp8.Put("a.weight", DType::kF8E4m3, {8, 16}, 0x31);
  PutFloats(fp8, "a.weight_scale", {}, {0.5f});
  PutFloats(fp8, "a.input_scale", {}, {0.25f});
  EXPECT_EQ(InputsOf(fp8).scheme.granularity, Granularity::kTensor);
  EXPECT_EQ(InputsOf(fp8).point.scale, 0.25f);

  // A file without static scales says that these inputs stay float.
  fp8.tensors.erase("a.input_scale");
  fp8.Open({}, [](const QuantizedLayers* layers) {
    EXPECT_THAT(layers->Find("a")->notes, ::testing::ElementsAre(HasSubstr("no input_scale")));
    EXPECT_THAT(layers->description().warnings, ::testing::ElementsAre(HasSubstr("1 layers")));
  });
}

TEST(ModelOpt, CachesHaveStaticScales) {
  Folder folder = Nvfp4();
  Settings(folder)["kv_cache_scheme"] = {{"dynamic", false}, {"num_bits", 8}, {"type", "float"}};
  PutFloats(folder, "attn.k_proj.k_scale", {}, {0.25f});
  folder.Open({}, [](const QuantizedLayers* layers) {
    const ConfiguredAttention attention = layers->Attention("attn");
    ASSERT_TRUE(attention.keys && attention.values);
    EXPECT_EQ(attention.keys->point.scale, 0.25f);
    EXPECT_EQ(attention.values->point.scale, 1.0f);
    EXPECT_THAT(layers->other_tensors(), ::testing::ElementsAre("attn.k_proj.k_scale"));
  });

  // Other caches are float, and the file's description says so.
  Settings(folder)["kv_cache_scheme"] = "NVFP4";
  folder.Open({}, [](const QuantizedLayers* layers) {
    EXPECT_FALSE(layers->Attention("attn").keys);
    EXPECT_THAT(layers->description().warnings, ::testing::ElementsAre(HasSubstr("NVFP4")));
  });
}

TEST(ModelOpt, TheFileNextToConfigJsonHasOtherKeys) {
  Folder folder = Nvfp4();
  folder.config["quantization_config"] = {
      {"producer", {{"name", "modelopt"}, {"version", "0.29.0"}}},
      {"quantization",
       {{"quant_algo", "NVFP4"}, {"kv_cache_quant_algo", "FP8"}, {"exclude_modules", {"b*"}}}}};
  folder.Open({}, [](const QuantizedLayers* layers) {
    EXPECT_EQ(layers->description().tool, "modelopt 0.29.0");
    EXPECT_EQ(layers->description().variant, "NVFP4");
    EXPECT_TRUE(layers->Attention("attn").keys);
    EXPECT_THAT(layers->description().warnings, ::testing::IsEmpty());
  });

  // Tensors are believed where the list contradicts them.
  folder.config["quantization_config"]["quantization"]["exclude_modules"] = {"a*"};
  folder.Open({}, [](const QuantizedLayers* layers) {
    EXPECT_NE(layers->Find("a"), nullptr);
    EXPECT_THAT(layers->description().warnings, ::testing::ElementsAre(HasSubstr("excluded")));
  });
}

TEST(ModelOpt, MixedFilesNameTheAlgorithmOfEachModule) {
  Folder folder = Nvfp4();
  Settings(folder)["quant_algo"] = "MIXED_PRECISION";
  Settings(folder)["quantized_layers"] = {{"a", {{"quant_algo", "NVFP4"}, {"group_size", 16}}},
                                          {"b", {{"quant_algo", "FP8"}}}};
  folder.Put("b.weight", DType::kF8E4m3, {8, 16}, 0x31);
  PutFloats(folder, "b.weight_scale", {}, {0.5f});
  folder.Open({}, [](const QuantizedLayers* layers) {
    EXPECT_EQ(layers->Find("a")->type, "nvfp4-g16");
    EXPECT_EQ(layers->Find("b")->type, "fp8_e4m3-tensor");
  });
}

// --- mistakes

TEST(ModelOpt, DamagedFilesAreRefused) {
  ExpectRefusals(
      Nvfp4,
      {
          {"a quant_algo among NVFP4", [](Folder& f) { Settings(f)["quant_algo"] = "W4A16_AWQ"; }},
          {"quant_algo", [](Folder& f) { Settings(f)["quant_algo"] = 4; }},
          {"quant_algo", [](Folder& f) { Settings(f).erase("quant_algo"); }},
          {"ignore: a list", [](Folder& f) { Settings(f)["ignore"] = "lm_head"; }},
          {"a list of names; got 4", [](Folder& f) { Settings(f)["ignore"] = {4}; }},
          {"kv_cache_scheme", [](Folder& f) { Settings(f)["kv_cache_scheme"] = 8; }},
          {"quantized_layers", [](Folder& f) { Settings(f)["quant_algo"] = "MIXED_PRECISION"; }},
          {"among quantized_layers",
           [](Folder& f) {
             Settings(f)["quant_algo"] = "MIXED_PRECISION";
             Settings(f)["quantized_layers"] = {{"b", {{"quant_algo", "FP8"}}}};
           }},
          {"'a.weight_scale_2'", [](Folder& f) { f.tensors.erase("a.weight_scale_2"); }},
          {"'a.weight_scale'", [](Folder& f) { f.tensors.erase("a.weight_scale"); }},
          {"'a.weight'", [](Folder& f) { f.tensors.erase("a.weight"); }},
          {"F8_E4M3 [11, 3]",
           [](Folder& f) {
             f.Put("a.weight_scale", DType::kF8E4m3, {11, 4}, 0x30);
           }},
          {"F8_E4M3 [11, 3]",
           [](Folder& f) {
             f.Put("a.weight_scale", DType::kU8, {11, 3}, 0x30);
           }},
          {"finite scales",
           [](Folder& f) {
             f.Put("a.weight_scale", DType::kF8E4m3, {11, 3}, 0x7f);
           }},
          {"a multiple of 16; got 24",
           [](Folder& f) {
             f.Put("a.weight", DType::kU8, {11, 12}, 0);
           }},
          {"one float",
           [](Folder& f) {
             PutFloats(f, "a.weight_scale_2", {2}, {1, 1});
           }},
          {"a finite positive tensor_scale",
           [](Folder& f) { PutFloats(f, "a.weight_scale_2", {}, {NAN}); }},
          {"a positive global scale", [](Folder& f) { PutFloats(f, "a.input_scale", {}, {0}); }},
          {"one float", [](Folder& f) { f.Put("a.input_scale", DType::kF8E4m3, {1}, 0); }},
          {"a pre_quant_scale (AWQ)",
           [](Folder& f) { PutFloats(f, "a.pre_quant_scale", {1}, {1}); }},
          {"a tensor of several experts",
           [](Folder& f) {
             f.Put("experts.down_proj_weight_scale", DType::kF8E4m3, {2, 8, 4}, 0);
           }},
          {"'b.weight_scale'",
           [](Folder& f) {
             f.Put("b.weight", DType::kU8, {8, 8}, 0);
           }},
          {"F8_E4M3", [](Folder& f) { Settings(f)["quant_algo"] = "FP8"; }},
      });
}

TEST(ModelOpt, ScalesOfOtherShapesAreRefused) {
  const auto fp8 = [] {
    Folder folder = With("FP8_PB_WO", "bfloat16");
    folder.Put("a.weight", DType::kF8E4m3, {130, 300}, 0x31);
    folder.Put("a.weight_scale", DType::kF32, {2, 1, 3, 1}, 0x3c);
    return folder;
  };
  ExpectRefusals(fp8, {
                          {"2 x 3 float",
                           [](Folder& f) {
                             f.Put("a.weight_scale", DType::kF32, {3, 2}, 0x3c);
                           }},
                          {"2 x 3 float",
                           [](Folder& f) {
                             f.Put("a.weight_scale", DType::kI32, {2, 3}, 0x3c);
                           }},
                          {"130 float", [](Folder& f) { Settings(f)["quant_algo"] = "FP8"; }},
                          {"U8 [130, 10]", [](Folder& f) { Settings(f)["quant_algo"] = "MXFP8"; }},
                          {"finite scales",
                           [](Folder& f) {
                             f.Put("a.weight_scale", DType::kF32, {2, 3}, 0xff);
                           }},
                      });
}

}  // namespace
}  // namespace qualm
