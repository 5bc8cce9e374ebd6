// Every type of ggml that has a grid, on random blocks, against ggml's own values.
#include "formats/ggml_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "formats/ggml_codebooks.h"
#include "io/json.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

TEST(GgmlGrid, HasGgmlsValuesInEveryBit) {
  QUALM_SHARED_OR_SKIP(folder, "golden/formats/gguf_blocks");
  const Json manifest = ReadJsonFile(folder / "manifest.json");
  size_t types = 0;
  for (const auto& [name, entry] : manifest["types"].items()) {
    const auto type = entry["id"].get<uint32_t>();
    if (!HasGgmlGrid(type)) continue;
    ++types;
    std::string file = name;
    std::ranges::transform(file, file.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::string blocks = ReadFile(folder / (file + ".bin"), 1 << 20);
    const std::string values = ReadFile(folder / (file + ".f32"), 1 << 20);
    const size_t count = values.size() / sizeof(float);
    std::vector<float> expected(count);
    std::memcpy(expected.data(), values.data(), values.size());

    // All blocks as two rows in the other order.
    const size_t out = 2, in = count / out;
    const QuantizedLinear layer =
        GridOfGgml(type, std::as_bytes(std::span(blocks)), out, in, [](size_t r) { return 1 - r; });
    layer.Validate();
    for (size_t r = 0; r < out; ++r) {
      std::vector<float> row(in);
      layer.DequantizeRow(r, row);
      EXPECT_EQ(std::memcmp(row.data(), expected.data() + (1 - r) * in, in * sizeof(float)), 0)
          << name << ", row " << r;
    }
  }
  EXPECT_EQ(types, 18u);
}

TEST(GgmlCodebooks, HaveGgmlsValuesInEveryBit) {
  QUALM_SHARED_OR_SKIP(folder, "golden/formats/gguf_blocks");
  const Json manifest = ReadJsonFile(folder / "manifest.json");
  size_t types = 0;
  for (const auto& [name, entry] : manifest["types"].items()) {
    const auto type = entry["id"].get<uint32_t>();
    if (!HasGgmlCodebook(type)) continue;
    ++types;
    std::string file = name;
    std::ranges::transform(file, file.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::string blocks = ReadFile(folder / (file + ".bin"), 1 << 20);
    const std::string values = ReadFile(folder / (file + ".f32"), 1 << 20);
    const size_t out = 2, in = values.size() / sizeof(float) / out;

    // Rows in the other order, and each in two pieces.
    const auto rows = GgmlCodebookRows(type, std::as_bytes(std::span(blocks)), in,
                                       [](size_t r) { return 1 - r; });
    for (size_t r = 0; r < out; ++r) {
      std::vector<float> row(in);
      rows->Decode(r, 0, std::span(row).first(300));
      rows->Decode(r, 300, std::span(row).subspan(300));
      EXPECT_EQ(
          std::memcmp(row.data(), values.data() + (1 - r) * in * sizeof(float), in * sizeof(float)),
          0)
          << name << ", row " << r;
    }
  }
  EXPECT_EQ(types, 7u);
}

}  // namespace
}  // namespace qualm
