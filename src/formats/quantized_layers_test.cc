// Files of other tools that are damaged or contradict themselves, one mistake at a time.
#include "formats/quantized_layers.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "support/quantized_folder.h"

namespace qualm {
namespace {

using testing::ExpectRefusals;
using ::testing::HasSubstr;
using Folder = testing::QuantizedFolder;

// One layer [8, 64] of 4 bits in groups of 32.
Folder Gptq() {
  Folder folder;
  folder.config["quantization_config"] = {
      {"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}, {"sym", false}};
  folder.Put("a.qweight", DType::kI32, {8, 8}, 0x21);
  folder.Put("a.qzeros", DType::kI32, {2, 1}, 0x43);
  folder.Put("a.scales", DType::kF16, {2, 8}, 0x24);
  folder.Put("a.g_idx", DType::kI32, {64}, 0);
  for (size_t i = 0; i < 64; ++i) folder.tensors["a.g_idx"].bytes[4 * i] = std::byte(i / 32);
  return folder;
}

// One layer [8, 32] of 3 bits in groups of 16.
Folder CompressedTensors() {
  Folder folder;
  folder.config["quantization_config"] = {{"quant_method", "compressed-tensors"},
                                          {"format", "pack-quantized"},
                                          {"config_groups",
                                           {{"group_0",
                                             {{"targets", {"Linear"}},
                                              {"weights",
                                               {{"num_bits", 3},
                                                {"type", "int"},
                                                {"symmetric", true},
                                                {"strategy", "group"},
                                                {"group_size", 16}}}}}}}};
  folder.Put("a.weight_packed", DType::kI32, {8, 3}, 0x51);
  folder.Put("a.weight_scale", DType::kBF16, {8, 2}, 0x3c);
  folder.Put("a.weight_shape", DType::kI64, {2}, 0);
  folder.tensors["a.weight_shape"].bytes[0] = std::byte{8};
  folder.tensors["a.weight_shape"].bytes[8] = std::byte{32};
  return folder;
}

// The layers of a folder that stays while `use` looks at them.
void WithLayers(const Folder& folder, const std::function<void(const QuantizedLayers&)>& use) {
  folder.Open({}, [&](const QuantizedLayers* layers) {
    ASSERT_NE(layers, nullptr);
    use(*layers);
  });
}

Json& Settings(Folder& folder) { return folder.config["quantization_config"]; }
Json& Weights(Folder& folder) { return Settings(folder)["config_groups"]["group_0"]["weights"]; }

// One transform of all linear layers at that location.
void Transform(Folder& folder, Json group, const char* location) {
  group["apply"] = Json::array();
  Json place = {{"location", location}, {"ignore", Json::array()}};
  place["targets"] = Json::array({"Linear"});
  group["apply"].push_back(place);
  Settings(folder)["transform_config"]["config_groups"]["R"] = group;
}

TEST(QuantizedLayers, DamagedGptqFilesAreRefused) {
  ExpectRefusals(
      Gptq,
      {
          {"a quant_method among gptq", [](Folder& f) { Settings(f)["quant_method"] = "none"; }},
          {"bits in 2..8", [](Folder& f) { Settings(f)["bits"] = 9; }},
          {"bits in 2..8", [](Folder& f) { Settings(f)["bits"] = 0; }},
          {"scales [4, 8]", [](Folder& f) { Settings(f)["group_size"] = 16; }},
          {"a group_size above 0, or -1", [](Folder& f) { Settings(f)["group_size"] = 0; }},
          {"a multiple of 3", [](Folder& f) { Settings(f)["bits"] = 3; }},
          {"checkpoint_format", [](Folder& f) { Settings(f)["checkpoint_format"] = "marlin"; }},
          {"pack_dtype int32", [](Folder& f) { Settings(f)["pack_dtype"] = "int64"; }},
          {"'a.scales'", [](Folder& f) { f.tensors.erase("a.scales"); }},
          {"'a.qzeros'", [](Folder& f) { f.tensors.erase("a.qzeros"); }},
          {"I32 [2, 1]",
           [](Folder& f) {
             f.Put("a.qzeros", DType::kI32, {2, 2}, 0);
           }},
          {"F16 or BF16 or F32",
           [](Folder& f) {
             f.Put("a.scales", DType::kI16, {2, 8}, 0);
           }},
          {"finite scales",
           [](Folder& f) {
             f.Put("a.scales", DType::kF16, {2, 8}, 0x7f);
           }},
          {"groups below 2; got 9",
           [](Folder& f) { f.tensors["a.g_idx"].bytes[0] = std::byte{9}; }},
          {"32 columns of group", [](Folder& f) { f.tensors["a.g_idx"].bytes[0] = std::byte{1}; }},
          {"a float layer",
           [](Folder& f) {
             Settings(f)["dynamic"] = {{"-:a", Json::object()}};
           }},
          {"dynamic",
           [](Folder& f) {
             Settings(f)["dynamic"] = {{"+:(", Json::object()}};
           }},
      });
}

TEST(QuantizedLayers, DamagedCompressedTensorsFilesAreRefused) {
  ExpectRefusals(
      CompressedTensors,
      {
          {"num_bits] expected 1..8", [](Folder& f) { Weights(f)["num_bits"] = 16; }},
          {"weight_shape, num_bits and the codes do not agree",
           [](Folder& f) { Weights(f)["num_bits"] = 4; }},
          {"group_size", [](Folder& f) { Weights(f)["group_size"] = 0; }},
          {"[8, 4]", [](Folder& f) { Weights(f)["group_size"] = 8; }},
          {"strategy", [](Folder& f) { Weights(f)["strategy"] = "row"; }},
          {"type", [](Folder& f) { Weights(f)["type"] = "posit"; }},
          {"integers per tensor", [](Folder& f) { Weights(f)["type"] = "float"; }},
          {"a format among", [](Folder& f) { Settings(f)["format"] = "marlin-24"; }},
          {"nobody", [](Folder& f) { Weights(f)["nobody"] = 1; }},
          {"a group of the configuration", [](Folder& f) { Settings(f)["ignore"] = {"a"}; }},
          {"format dense",
           [](Folder& f) {
             Settings(f)["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
           }},
          {"'a.weight_shape'", [](Folder& f) { f.tensors.erase("a.weight_shape"); }},
          {"'a.weight_scale'", [](Folder& f) { f.tensors.erase("a.weight_scale"); }},
          {"the words of 9 rows",
           [](Folder& f) { f.tensors["a.weight_shape"].bytes[0] = std::byte{9}; }},
          {"do not agree",
           [](Folder& f) { f.tensors["a.weight_shape"].bytes[15] = std::byte{0x7f}; }},
          {"finite scales",
           [](Folder& f) {
             f.Put("a.weight_scale", DType::kBF16, {8, 2}, 0xff);
           }},
          {"'a.weight_zero_point'", [](Folder& f) { Weights(f)["symmetric"] = false; }},
          {"a matrix [64, 64]",
           [](Folder& f) {
             Settings(f)["transform_config"] = {{"config_groups",
                                                 {{"R4",
                                                   {{"type", "hadamard"},
                                                    {"head_dim", 64},
                                                    {"apply",
                                                     {{{"targets", {"Linear"}},
                                                       {"location", "input"},
                                                       {"ignore", Json::array()}}}}}}}}};
           }},
          {"hadamard, random-hadamard or random-matrix",
           [](Folder& f) {
             Transform(f, {{"type", "spherical"}, {"head_dim", 16}}, "input");
           }},
          {"randomize] expected false",
           [](Folder& f) {
             Transform(f, {{"type", "hadamard"}, {"randomize", true}}, "input");
           }},
          {"q_attn and k_cache with one matrix",
           [](Folder& f) {
             Transform(f, {{"type", "hadamard"}, {"head_dim", 16}}, "q_attn");
           }},
          {"no bias with the transform of outputs",
           [](Folder& f) {
             Transform(f, {{"type", "hadamard"}, {"head_dim", 8}}, "output");
             f.Put("a.bias", DType::kBF16, {8}, 0);
           }},
          {"a quantized layer for the transform",
           [](Folder& f) {
             Transform(f, {{"type", "hadamard"}, {"head_dim", 8}}, "output");
             f.Put("b.weight", DType::kBF16, {8, 8}, 0);
           }},
      });
}

// --- packings, written bit by bit

// Sets `bits` bits of a string of words, word w of which is words[w·stride + column].
void PutBits(std::vector<uint32_t>& words, size_t stride, size_t column, size_t at, size_t bits,
             uint32_t code) {
  for (size_t i = 0; i < bits; ++i, ++at) {
    words[at / 32 * stride + column] |= (code >> i & 1u) << at % 32;
  }
}

std::vector<std::byte> BytesOf(const std::vector<uint32_t>& words) {
  const auto bytes = std::as_bytes(std::span(words));
  return {bytes.begin(), bytes.end()};
}

// A code that differs from place to place, and reaches the largest.
uint32_t CodeAt(size_t row, size_t column, size_t bits) {
  return static_cast<uint32_t>((row * 7 + column * 5 + row * column) % (size_t{1} << bits));
}

// Expects the weight code − zero at every place: all scales are 1.
void ExpectDifferences(const Folder& folder, size_t out, size_t in, size_t group, size_t bits) {
  Matrix weight;
  folder.Open({}, [&](const QuantizedLayers* layers) {
    weight = Dequantize(layers->Read(layers->layers().front()));
  });
  ASSERT_EQ(weight.rows(), out);
  ASSERT_EQ(weight.cols(), in);
  for (size_t r = 0; r < out; ++r) {
    for (size_t c = 0; c < in; ++c) {
      const double zero = CodeAt(r, c / group + 3, bits);
      ASSERT_EQ(weight(r, c), CodeAt(r, c, bits) - zero) << bits << " bits, " << r << ", " << c;
    }
  }
}

TEST(QuantizedLayers, PackedRowsOfAllWidthsComeBack) {
  for (size_t bits = 1; bits <= 8; ++bits) {
    for (const size_t in : {size_t{16}, size_t{37}, size_t{96}}) {
      const size_t out = 11, group = 16, groups = (in + group - 1) / group;
      const size_t width = (in * bits + 31) / 32, height = (out * bits + 31) / 32;
      std::vector<uint32_t> codes(out * width), zeros(height * groups);
      for (size_t r = 0; r < out; ++r) {
        for (size_t c = 0; c < in; ++c) {
          std::vector<uint32_t> row(width);
          PutBits(row, 1, 0, c * bits, bits, CodeAt(r, c, bits));
          for (size_t w = 0; w < width; ++w) codes[r * width + w] |= row[w];
        }
        for (size_t g = 0; g < groups; ++g) {
          PutBits(zeros, groups, g, r * bits, bits, CodeAt(r, g + 3, bits));
        }
      }

      Folder folder = CompressedTensors();
      Weights(folder)["num_bits"] = bits;
      Weights(folder)["symmetric"] = false;
      folder.tensors["a.weight_packed"] = {DType::kI32, {out, width}, BytesOf(codes)};
      folder.tensors["a.weight_zero_point"] = {DType::kI32, {height, groups}, BytesOf(zeros)};
      const std::vector<uint32_t> ones(out * groups, 0x3f800000u);
      folder.tensors["a.weight_scale"] = {DType::kF32, {out, groups}, BytesOf(ones)};
      folder.tensors["a.weight_shape"].bytes[0] = std::byte(out);
      folder.tensors["a.weight_shape"].bytes[8] = std::byte(in);
      ExpectDifferences(folder, out, in, group, bits);
    }
  }
}

TEST(QuantizedLayers, GptqCodesOfAllWidthsComeBack) {
  // The widths of the planes, lowest bits first; a single one is a plain string.
  const std::vector<std::pair<bool, std::vector<size_t>>> packings = {
      {false, {2}}, {false, {3}},   {false, {4}},   {false, {5}},   {false, {6}},     {false, {7}},
      {false, {8}}, {true, {2, 1}}, {true, {4, 1}}, {true, {4, 2}}, {true, {4, 2, 1}}};
  for (const auto& packing : packings) {
    const bool is_planar = packing.first;
    const std::vector<size_t>& planes = packing.second;
    size_t bits = 0;
    for (const size_t plane : planes) bits += plane;
    const size_t out = 64, in = 64, group = 32, groups = 2;
    std::vector<uint32_t> codes(in * bits / 32 * out), zeros(groups * out * bits / 32);
    // Of 32 codes each plane has its own words.
    const auto put = [&](std::vector<uint32_t>& words, size_t stride, size_t column, size_t i,
                         uint32_t code) {
      size_t first = i / 32 * 32 * bits, shift = 0;
      for (const size_t plane : planes) {
        PutBits(words, stride, column, first + i % 32 * plane, plane, code >> shift);
        first += 32 * plane;
        shift += plane;
      }
    };
    for (size_t r = 0; r < out; ++r) {
      for (size_t c = 0; c < in; ++c) put(codes, out, r, c, CodeAt(r, c, bits));
      for (size_t g = 0; g < groups; ++g) {
        std::vector<uint32_t> row(out * bits / 32);
        put(row, 1, 0, r, CodeAt(r, g + 3, bits));
        for (size_t w = 0; w < row.size(); ++w) zeros[g * row.size() + w] |= row[w];
      }
    }

    Folder folder = Gptq();
    Settings(folder)["bits"] = bits;
    Settings(folder)["checkpoint_format"] = is_planar ? "gptq_p" : "gptq_v2";
    folder.tensors["a.qweight"] = {DType::kI32, {in * bits / 32, out}, BytesOf(codes)};
    folder.tensors["a.qzeros"] = {DType::kI32, {groups, out * bits / 32}, BytesOf(zeros)};
    folder.Put("a.scales", DType::kF16, {groups, out}, 0);
    for (size_t i = 0; i < groups * out; ++i) {
      folder.tensors["a.scales"].bytes[2 * i + 1] = std::byte{0x3c};
    }
    ExpectDifferences(folder, out, in, group, bits);
  }
}

// FP8 in dynamic groups (the preset FP8_BLOCK): a group's largest magnitude becomes 448.
TEST(QuantizedLayers, InputsInGroupsOfFloatsAreRoundedAsConfigured) {
  Folder folder = CompressedTensors();
  Settings(folder)["config_groups"]["group_0"]["input_activations"] = {
      {"num_bits", 8},   {"type", "float"},     {"symmetric", true},
      {"dynamic", true}, {"strategy", "group"}, {"group_size", 16}};
  WithLayers(folder, [](const QuantizedLayers& layers) {
    EXPECT_TRUE(layers.description().rounds_activations);
    EXPECT_TRUE(layers.description().warnings.empty());
    const auto layer = std::get<QuantizedLinear>(layers.Read(layers.layers()[0]));
    ASSERT_TRUE(layer.activations);
    std::vector<float> x(32), rounded(32);
    for (size_t i = 0; i < 32; ++i) x[i] = std::sin(static_cast<float>(i)) * (i < 16 ? 1 : 50);
    ActivationQuantizer(*layer.activations).Round(x, rounded);
    for (size_t group = 0; group < 2; ++group) {
      double largest = 0;
      for (size_t i = 0; i < 16; ++i) {
        largest = std::max(largest, std::abs(static_cast<double>(x[group * 16 + i])));
      }
      const double scale = largest / 448;
      for (size_t i = group * 16; i < group * 16 + 16; ++i) {
        // The nearest number with three bits after the leading one; none is subnormal here but 0.
        const double value = static_cast<double>(x[i]) / scale;
        const double step = value == 0 ? 1 : std::exp2(std::floor(std::log2(std::abs(value))) - 3);
        const double wanted = std::nearbyint(value / step) * step * scale;
        // The scale and the product are rounded once each.
        EXPECT_NEAR(rounded[i], wanted, std::ldexp(2.01 * std::abs(wanted), -24)) << i;
      }
    }
  });
}

// Groups of 32 of bytes are MXFP8 where the scales are bytes, else plain groups; a group that does
// not fit is said.
TEST(QuantizedLayers, GroupsOfInputsAreToldApart) {
  Folder folder = CompressedTensors();
  Json inputs = {{"num_bits", 8},   {"type", "float"},     {"symmetric", true},
                 {"dynamic", true}, {"strategy", "group"}, {"group_size", 32}};
  const auto rule = [&](const Json& with) {
    Settings(folder)["config_groups"]["group_0"]["input_activations"] = with;
    std::optional<ActivationGrid> grid;
    WithLayers(folder, [&](const QuantizedLayers& layers) {
      grid = std::get<QuantizedLinear>(layers.Read(layers.layers()[0])).activations;
    });
    return grid;
  };
  EXPECT_EQ(rule(inputs)->rule, GroupScaleRule::kGrid);
  inputs["scale_dtype"] = "torch.uint8";
  EXPECT_EQ(rule(inputs)->rule, GroupScaleRule::kPowerOfTwo);
  inputs.erase("scale_dtype");
  inputs["group_size"] = 24;
  EXPECT_FALSE(rule(inputs));
}

// Random matrices are stored as they are applied, also inverse ones; Hadamard's are ±1, divided by
// √side in the product and transposed to be inverted.
TEST(QuantizedLayers, MatricesOfAllKindsAreAppliedAsStored) {
  for (const bool is_any : {false, true}) {
    Folder folder = CompressedTensors();
    Transform(folder, {{"type", is_any ? "random-matrix" : "hadamard"}, {"head_dim", 2}}, "input");
    Settings(folder)["transform_config"]["config_groups"]["R"]["apply"][0]["inverse"] = true;
    const float matrix[] = {1, 2, 3, 5};
    folder.Put("a.R_input.weight", DType::kF32, {2, 2}, 0);
    std::memcpy(folder.tensors["a.R_input.weight"].bytes.data(), matrix, sizeof(matrix));
    WithLayers(folder, [&](const QuantizedLayers& layers) {
      const auto layer = std::get<QuantizedLinear>(layers.Read(layers.layers()[0]));
      ASSERT_EQ(layer.transforms.size(), 1U);
      const std::vector<float>& factors = layer.transforms[0].factors;
      const float length = std::sqrt(2.0f);
      const std::vector<float> any = {length, 2 * length, 3 * length, 5 * length};
      EXPECT_EQ(factors, is_any ? any : std::vector<float>({1, 3, 2, 5}));
    });
  }
}

// A cache with a zero point: k_zero_point is signed, the grid counts from the lowest code.
TEST(QuantizedLayers, SkewedCachesHaveTheirZeroPoint) {
  Folder folder = CompressedTensors();
  Settings(folder)["kv_cache_scheme"] = {{"num_bits", 8},
                                         {"type", "int"},
                                         {"symmetric", false},
                                         {"dynamic", false},
                                         {"strategy", "tensor"}};
  for (const char* part : {"k", "v"}) {
    folder.Put(StrCat("m.", part, "_scale"), DType::kF32, {1}, 0x3c);
    folder.Put(StrCat("m.", part, "_zero_point"), DType::kI8, {1}, 0xfd);  // -3
  }
  WithLayers(folder, [](const QuantizedLayers& layers) {
    const ConfiguredAttention attention = layers.Attention("m");
    ASSERT_TRUE(attention.keys && attention.values);
    EXPECT_EQ(attention.keys->point.zero, 125);
    EXPECT_EQ(attention.keys->point.scale, std::bit_cast<float>(0x3c3c3c3cu));
    EXPECT_TRUE(layers.description().rounds_activations);
  });
  folder.Put("m.k_zero_point", DType::kI32, {1}, 0);
  WithLayers(folder, [](const QuantizedLayers& layers) {
    EXPECT_THAT(testing::ErrorOf([&] { (void)layers.Attention("m"); }),
                HasSubstr("m.k_zero_point] expected one I8"));
  });
}

// AutoRound's packing without another tool's name keeps zero points as they are; the one of GPTQ
// keeps them less one.
TEST(QuantizedLayers, AutoRoundSaysHowZeroPointsAreStored) {
  const auto zeros = [](const char* packing) {
    Folder folder = Gptq();
    folder.tensors.erase("a.g_idx");
    folder.config["quantization_config"] = {{"quant_method", "auto-round"},
                                            {"bits", 4},
                                            {"group_size", 32},
                                            {"sym", false},
                                            {"packing_format", packing}};
    std::vector<float> found;
    WithLayers(folder, [&](const QuantizedLayers& layers) {
      found = std::get<QuantizedLinear>(layers.Read(layers.layers()[0])).zeros;
    });
    return found;
  };
  const std::vector<float> plain = zeros("auto_round"), gptq = zeros("auto_round:auto_gptq");
  ASSERT_EQ(plain.size(), 16U);  // 8 rows, 2 groups; the bytes 0x43 hold 3 and 4
  for (size_t r = 0; r < 8; ++r) {
    EXPECT_EQ(plain[2 * r], r % 2 == 0 ? 3 : 4);
    EXPECT_EQ(gptq[2 * r], plain[2 * r] + 1);
  }
}

// AutoRound's FP8: scales of one dimension, inputs with a static scale.
TEST(QuantizedLayers, AutoRoundsFloatsHaveTheirScalesAndInputs) {
  Folder folder;
  folder.config["quantization_config"] = {{"quant_method", "auto-round"},
                                          {"bits", 8},
                                          {"group_size", -1},
                                          {"data_type", "fp"},
                                          {"act_bits", 8},
                                          {"act_data_type", "fp"},
                                          {"act_dynamic", false},
                                          {"act_group_size", 0},
                                          {"packing_format", "auto_round:fp8_static"}};
  folder.Put("a.weight", DType::kF8E4m3, {4, 8}, 0x38);  // 1
  folder.Put("a.weight_scale", DType::kF32, {4}, 0x3c);
  folder.Put("a.input_scale", DType::kF32, {1}, 0x3d);
  WithLayers(folder, [](const QuantizedLayers& layers) {
    EXPECT_TRUE(layers.description().warnings.empty());
    const auto layer = std::get<QuantizedLinear>(layers.Read(layers.layers()[0]));
    ASSERT_TRUE(layer.activations);
    EXPECT_EQ(layer.activations->point.scale, std::bit_cast<float>(0x3d3d3d3du));
    // The scale is rounded to bfloat16, as the weights are.
    EXPECT_EQ(layer.scales, std::vector<float>(4, std::bit_cast<float>(0x3c3c0000u)));
    EXPECT_EQ(layer.value_form.type, DType::kBF16);
  });

  // Groups of inputs are not taken for tokens.
  Settings(folder)["act_dynamic"] = true;
  Settings(folder)["act_group_size"] = 128;
  WithLayers(folder, [](const QuantizedLayers& layers) {
    EXPECT_FALSE(std::get<QuantizedLinear>(layers.Read(layers.layers()[0])).activations);
    EXPECT_FALSE(layers.description().warnings.empty());
  });

  // Rules that are AutoRound's alone are said.
  Settings(folder)["act_data_type"] = "mx_fp";
  WithLayers(folder, [](const QuantizedLayers& layers) {
    EXPECT_THAT(layers.description().warnings,
                ::testing::Contains(HasSubstr("inputs are not rounded as configured (mx_fp")));
    EXPECT_FALSE(std::get<QuantizedLinear>(layers.Read(layers.layers()[0])).activations);
  });
  folder.Put("a.weight_scale", DType::kF32, {5}, 0x3c);
  EXPECT_THAT(folder.Read(), HasSubstr("a.weight_scale"));
}

}  // namespace
}  // namespace qualm
