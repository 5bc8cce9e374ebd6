#include "artefact/store.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "artefact/codebook.h"
#include "artefact/stored_bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"

namespace qualm {
namespace {

// A folder of its own for each test, removed at the end.
class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("qualm_store_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  QuantizedLinear RoundTrip(const QuantizedLinear& layer) {
    TensorBatch batch;
    batch.AddQuantized("layer", layer);
    uint64_t bytes = 0;
    for (const TensorToWrite& tensor : batch.tensors()) bytes += tensor.bytes.size();
    WriteSafetensors(folder_ / "x.safetensors", batch.tensors());
    record_ = RecordOf("layer", layer);
    tensor_bytes_ = bytes;
    // Through JSON too: what the manifest loses is lost.
    LayerRecord record = LayerRecordFromJson(ToJson(record_), "test");
    const TensorFile file = TensorFile::Open(folder_ / "x.safetensors");
    QuantizedLinear back = ReadQuantizedLinear(file, record);
    // The same with codes that stay packed.
    const std::optional<PackedLinear> packed = ReadPackedLinear(file, record);
    EXPECT_EQ(packed.has_value(), layer.bits_per_group.empty());
    if (packed) {
      EXPECT_EQ(packed->Unpacked().codes, back.codes);
      EXPECT_EQ(packed->layer.scales, back.scales);
      EXPECT_EQ(packed->layer.zeros, back.zeros);
    }
    return back;
  }

  std::filesystem::path folder_;
  LayerRecord record_;
  uint64_t tensor_bytes_ = 0;
};

QuantizedLinear MakeLayer(const Scheme& scheme, size_t out, size_t in, uint64_t seed) {
  Rng rng(seed);
  QuantizedLinear layer;
  layer.out_features = out;
  layer.in_features = in;
  layer.scheme = scheme;
  for (size_t i = 0; i < out * in; ++i) {
    layer.codes.push_back(static_cast<uint8_t>(rng.Below(uint64_t{1} << scheme.bits)));
  }
  size_t groups = layer.group_count();
  size_t count = scheme.granularity == Granularity::kTensor ? 1 : out * groups;
  for (size_t i = 0; i < count; ++i) {
    float scale = static_cast<float>(0.01 + rng.Uniform());
    layer.scales.push_back(scheme.scale_type == DType::kF16 ? ToFloat(HalfFromFloat(scale))
                                                            : scale);
    if (scheme.zero_point == ZeroPointKind::kInteger) {
      layer.zeros.push_back(static_cast<float>(rng.Below(uint64_t{1} << scheme.bits)));
    } else if (scheme.zero_point == ZeroPointKind::kFloat) {
      layer.zeros.push_back(ToFloat(HalfFromFloat(static_cast<float>(rng.Uniform() * 3))));
    }
  }
  return layer;
}

void ExpectEqual(const QuantizedLinear& a, const QuantizedLinear& b) {
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.zeros, b.zeros);
  EXPECT_EQ(a.bits_per_group, b.bits_per_group);
  EXPECT_EQ(a.g_idx, b.g_idx);
  EXPECT_EQ(a.scheme, b.scheme);
  Matrix x = a.Dequantize(), y = b.Dequantize();
  for (size_t r = 0; r < x.rows(); ++r) {
    EXPECT_THAT(x.row(r), ::testing::ElementsAreArray(y.row(r)));
  }
}

TEST_F(StoreTest, EveryWidthGranularityAndZeroPointComesBack) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (Granularity granularity :
         {Granularity::kTensor, Granularity::kChannel, Granularity::kGroup}) {
      for (ZeroPointKind zero :
           {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
        Scheme scheme;
        scheme.bits = bits;
        scheme.granularity = granularity;
        scheme.group_size = granularity == Granularity::kGroup ? 8 : 0;
        scheme.zero_point = zero;
        QuantizedLinear layer = MakeLayer(scheme, 5, 19, 7);
        ExpectEqual(RoundTrip(layer), layer);
        EXPECT_EQ(record_.stored_bytes, tensor_bytes_) << record_.scheme.ShortName();
      }
    }
  }
}

TEST_F(StoreTest, BitsPerGroupAndPermutedGroupsComeBack) {
  Scheme scheme;
  scheme.bits = 3;
  scheme.granularity = Granularity::kGroup;
  scheme.group_size = 4;
  QuantizedLinear layer = MakeLayer(scheme, 3, 10, 1);
  layer.bits_per_group = {2, 3, 4};
  layer.g_idx = {0, 2, 1, 0, 1, 2, 0, 0, 1, 1};
  for (size_t i = 0; i < layer.codes.size(); ++i) {
    layer.codes[i] &= static_cast<uint8_t>((1 << layer.BitsOfGroup(layer.g_idx[i % 10])) - 1);
  }
  for (size_t i = 0; i < layer.zeros.size(); ++i) layer.zeros[i] = static_cast<float>(i % 4);
  ExpectEqual(RoundTrip(layer), layer);
  EXPECT_EQ(record_.stored_bytes, tensor_bytes_);
}

TEST_F(StoreTest, SecondLevelOutliersAndTransformsComeBack) {
  Scheme scheme;
  scheme.granularity = Granularity::kGroup;
  scheme.group_size = 4;
  scheme.zero_point = ZeroPointKind::kFloat;
  scheme.second_level = SecondLevel{3, 2};
  QuantizedLinear layer = MakeLayer(scheme, 3, 8, 2);
  layer.scales.clear();
  layer.zeros.clear();
  SecondLevelValues values;
  values.codes = {1, 2, 3, 4, 5, 6};
  values.scales = {0.5f, 0.25f, 1.0f, 2.0f};
  values.zeros = {0.5f, 0.0f, 0.25f, -1.0f};
  layer.second_level_scales = values;
  layer.second_level_zeros = values;
  layer.outliers =
      Outliers{{0, 1, 1, 3}, {7, 0, 5}, {HalfFromFloat(9), HalfFromFloat(-2), {0x3c00}}};
  OnlineTransform transform;
  transform.seed = 11;
  transform.factors = {1, 2, 3, 4, 5, 6, 7, 8};
  layer.transforms = {transform};
  QuantizedLinear back = RoundTrip(layer);
  ExpectEqual(back, layer);
  ASSERT_TRUE(back.outliers.has_value());
  EXPECT_EQ(back.outliers->column, layer.outliers->column);
  ASSERT_EQ(back.transforms.size(), 1u);
  EXPECT_EQ(back.transforms[0].factors, transform.factors);
  EXPECT_EQ(back.transforms[0].seed, 11u);
}

TEST_F(StoreTest, WrongShapesAndUnknownGroupsAreErrorsThatNameTheTensor) {
  Scheme scheme;
  scheme.granularity = Granularity::kGroup;
  scheme.group_size = 4;
  QuantizedLinear layer = MakeLayer(scheme, 3, 8, 3);
  RoundTrip(layer);
  TensorFile file = TensorFile::Open(folder_ / "x.safetensors");
  auto message = [&](const LayerRecord& record) -> std::string {
    try {
      ReadQuantizedLinear(file, record);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  LayerRecord taller = record_;
  taller.out_features = 4;
  EXPECT_THAT(message(taller), ::testing::HasSubstr("[layer.codes] expected U8 of shape 4 4; got"));
  LayerRecord wider = record_;
  wider.scheme.bits = 8;
  EXPECT_THAT(message(wider), ::testing::HasSubstr("layer.codes"));
  LayerRecord absent = record_;
  absent.name = "layr";
  EXPECT_THAT(message(absent), ::testing::HasSubstr("layr"));
  LayerRecord huge = record_;
  huge.out_features = size_t{1} << 62;
  EXPECT_THAT(message(huge), ::testing::HasSubstr("expected"));
}

TEST(ManifestTest, AChangedManifestAndAnUnknownKeyAreErrors) {
  std::filesystem::path folder = std::filesystem::temp_directory_path() / "qualm_manifest_test";
  std::filesystem::create_directories(folder);
  Manifest manifest;
  manifest.recipe_json = R"({"name":"x"})";
  manifest.files = {{"a.safetensors", "00", 1}};
  manifest.calibration =
      CalibrationRecord{"c", "random-crop", "h", 1, 2, 3, ~uint64_t{0}, 5, 6, "g"};
  WriteManifest(folder, manifest);
  Manifest back = ReadManifest(folder);
  EXPECT_EQ(back.ArtefactHash(), manifest.ArtefactHash());
  EXPECT_EQ(back.calibration->held_out_tokens, 6u);
  EXPECT_EQ(back.calibration->seed, ~uint64_t{0});
  Json json = ReadJsonFile(folder / kManifestName);
  Json changed = json;
  changed["files"][0]["hash"] = "01";
  EXPECT_THROW(ManifestFromJson(changed, "test"), Error);
  Json unknown = json;
  unknown["fies"] = 1;
  EXPECT_THROW(ManifestFromJson(unknown, "test"), Error);
  Json outside = json;
  outside["files"][0]["name"] = "../a.safetensors";
  EXPECT_THROW(ManifestFromJson(outside, "test"), Error);
  std::filesystem::remove_all(folder);
}

TEST_F(StoreTest, ScalesMayBeQuantizedAgainWithoutTheZeroPoints) {
  for (ZeroPointKind zero :
       {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
    Scheme scheme;
    scheme.bits = 3;
    scheme.granularity = Granularity::kGroup;
    scheme.group_size = 8;
    scheme.zero_point = zero;
    scheme.second_level = SecondLevel{.bits = 3, .group_rows = 2};
    QuantizedLinear layer = MakeLayer(scheme, 4, 16, 3);
    layer.scales.clear();
    layer.second_level_scales = {{1, 2, 3, 4, 5, 6, 7, 0}, {0.5f, 1, 2, 4}, {-1, -1, -2, -3}};
    ExpectEqual(RoundTrip(layer), layer);
  }
}

TEST_F(StoreTest, AnAbsurdWidthIsRefusedBeforeAnythingIsMadeOfIt) {
  Scheme scheme;
  QuantizedLinear layer = MakeLayer(scheme, 2, 8, 1);
  layer.bits_per_group = {4};
  RoundTrip(layer);
  const TensorFile file = TensorFile::Open(folder_ / "x.safetensors");
  LayerRecord record = record_;
  record.in_features = size_t{1} << 27;
  EXPECT_THROW(ReadQuantizedLinear(file, record), Error);
  record.in_features = size_t{1} << 50;
  EXPECT_THROW(ReadQuantizedLinear(file, record), Error);
}

TEST_F(StoreTest, NumberFormatsComeBackWithTheirScales) {
  for (NumberType type : {NumberType::kNf4, NumberType::kFp8E4m3, NumberType::kFp8E4m3Ieee,
                          NumberType::kFp8E5m2, NumberType::kMxfp4, NumberType::kNvfp4}) {
    QuantizedLinear layer = MakeLayer(SchemeOfFormat(type), 5, 70, 9);
    const Codebook& book = Codebook::Of(type);
    for (uint8_t& code : layer.codes) {
      while (std::isnan(book.Value(code))) code = static_cast<uint8_t>(code / 2);
    }
    if (HasByteScales(type)) {
      for (float& scale : layer.scales) scale = FitByteScale(type, scale);
    }
    if (type == NumberType::kNvfp4) layer.tensor_scale = 0.3f;
    layer.Validate();
    const QuantizedLinear back = RoundTrip(layer);
    ExpectEqual(back, layer);
    EXPECT_EQ(back.tensor_scale, layer.tensor_scale);
    EXPECT_EQ(tensor_bytes_, layer.StoredBytes()) << NameOf(type);
    const size_t group = layer.GroupOfColumn(69);
    EXPECT_EQ(back.Dequantize()(4, 69),
              layer.ScaleAt(4, group) * book.Value(layer.codes[4 * 70 + 69]));
  }
}

// Every single code of every format, with and without its unpacked form.
TEST_F(StoreTest, PackedCodesThatAreNotNumbersAreRefused) {
  for (NumberType type : {NumberType::kNf4, NumberType::kFp8E4m3, NumberType::kFp8E4m3Ieee,
                          NumberType::kFp8E5m2, NumberType::kMxfp4, NumberType::kNvfp4}) {
    QuantizedLinear layer = MakeLayer(SchemeOfFormat(type), 1, 1, 1);
    if (HasByteScales(type)) layer.scales[0] = 1;
    for (int code = 0; code < 1 << layer.scheme.bits; ++code) {
      layer.codes[0] = static_cast<uint8_t>(code);
      PackedLinear packed{layer, layer.codes};
      packed.layer.codes.clear();
      if (std::isnan(layer.ValueOf(layer.codes[0]))) {
        EXPECT_THROW(layer.Validate(), Error) << code;
        EXPECT_THROW(packed.Validate(), Error) << code;
      } else {
        layer.Validate();
        packed.Validate();
      }
    }
  }
}

TEST_F(StoreTest, PackedCodesOfAnotherSizeAreRefused) {
  PackedLinear packed{MakeLayer(Scheme(), 3, 9, 1), {}};
  const std::vector<uint8_t> bytes(16);
  packed.layer.codes.clear();
  packed.codes = std::span(bytes).first(15);
  packed.Validate();
  for (const size_t size : {size_t{0}, size_t{14}, size_t{16}}) {
    packed.codes = std::span(bytes).first(size);
    EXPECT_THROW(packed.Validate(), Error) << size;
  }
}

TEST_F(StoreTest, CodesThatAreNoNumbersAreRefused) {
  QuantizedLinear layer = MakeLayer(SchemeOfFormat(NumberType::kFp8E4m3), 1, 2, 1);
  layer.codes = {0x7f, 0x10};
  EXPECT_THROW(layer.Validate(), Error);
  layer.codes = {0x7e, 0x10};
  layer.Validate();
}

TEST_F(StoreTest, TablesOffsetsAndFormsOfValuesComeBack) {
  Rng rng(5);
  for (int bits = 1; bits <= 8; ++bits) {
    Scheme scheme;
    scheme.bits = bits;
    scheme.granularity = Granularity::kGroup;
    scheme.group_size = 8;
    scheme.zero_point = ZeroPointKind::kOffset;
    QuantizedLinear layer = MakeLayer(scheme, 5, 19, 7);
    for (float& scale : layer.scales) {
      scale *= static_cast<float>(rng.Below(3)) - 1;  // negative scales and zeros
      layer.zeros.push_back(ToFloat(HalfFromFloat(static_cast<float>(rng.Normal()))));
    }
    layer.value_form = {0.5f, DType::kF16, false};
    layer.Validate();
    QuantizedLinear back = RoundTrip(layer);
    ExpectEqual(back, layer);
    EXPECT_EQ(back.value_form, layer.value_form);
    EXPECT_EQ(tensor_bytes_, layer.StoredBytes());
    EXPECT_EQ(EstimateStoredBytes(scheme, 5, 19), layer.StoredBytes());

    // A table instead of offsets. One bit is enough for two values.
    scheme.type = NumberType::kTable;
    scheme.zero_point = ZeroPointKind::kNone;
    scheme.symmetric_convention = SymmetricConvention::kGptq;
    layer = MakeLayer(scheme, 5, 19, 8);
    for (int i = 0; i < 1 << bits; ++i) layer.table.push_back(static_cast<float>(rng.Normal()));
    layer.value_form = {1, DType::kBF16, true};
    layer.Validate();
    back = RoundTrip(layer);
    ExpectEqual(back, layer);
    EXPECT_EQ(back.table, layer.table);
    EXPECT_EQ(back.value_form, layer.value_form);
    EXPECT_EQ(tensor_bytes_, layer.StoredBytes());
    EXPECT_EQ(EstimateStoredBytes(scheme, 5, 19), layer.StoredBytes());
  }
}

TEST_F(StoreTest, ATensorScaleThatDividesComesBack) {
  QuantizedLinear layer = MakeLayer(SchemeOfFormat(NumberType::kNvfp4), 5, 70, 9);
  for (float& scale : layer.scales) scale = FitByteScale(NumberType::kNvfp4, scale);
  layer.tensor_scale = 3;
  layer.tensor_scale_divides = true;
  layer.Validate();
  const QuantizedLinear back = RoundTrip(layer);
  ExpectEqual(back, layer);
  EXPECT_TRUE(back.tensor_scale_divides);
}

}  // namespace
}  // namespace qualm
