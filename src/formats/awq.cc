// Checkpoints of AutoAWQ: what their description says.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/awq_layers.h"
#include "formats/format_list.h"

namespace qualm {
namespace {

constexpr std::string_view kPlace = "quantization_config";

AwqVersion VersionOf(const Json& quantization) {
  // GPTQModel calls the version a format.
  std::string version =
      GetString(quantization, "version", kPlace, GetString(quantization, "format", kPlace, "gemm"));
  std::ranges::transform(version, version.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (version == "gemm") return AwqVersion::kGemm;
  if (version == "gemv") return AwqVersion::kGemv;
  if (version == "gemv_fast" || version == "llm-awq") return AwqVersion::kGemvFast;
  ThrowBadInput(kPlace, "version gemm, gemv or gemv_fast", StrCat("'", version.substr(0, 40), "'"));
}

std::unique_ptr<QuantizedLayers> Open(const FormatInput& input) {
  const Json& quantization = *input.quantization;
  const int64_t bits =
      GetInt(quantization, "bits", kPlace, GetInt(quantization, "w_bit", kPlace, 4));
  if (bits != 4) ThrowBadInput(kPlace, "bits 4", StrCat(bits), "AWQ packs no others");
  const int64_t group_size =
      GetInt(quantization, "group_size", kPlace, GetInt(quantization, "q_group_size", kPlace, 128));
  const AwqVersion version = VersionOf(quantization);

  FormatDescription description;
  description.name = "awq";
  const char* kNames[] = {"gemm", "gemv", "gemv_fast"};
  description.variant =
      StrCat(kNames[static_cast<size_t>(version)], ", 4 bits, groups of ", group_size);
  return std::make_unique<AwqLayers>(input, std::move(description), version,
                                     [&](const std::string&) { return group_size; });
}

bool Recognises(const FormatInput& input) {
  const Json& quantization = *input.quantization;
  const auto method = quantization.find("quant_method");
  if (method != quantization.end() && method->is_string()) return *method == "awq";
  // Files of llm-awq's time name no method.
  return method == quantization.end() &&
         (quantization.contains("w_bit") || quantization.contains("q_group_size"));
}

}  // namespace

Format AwqFormat() {
  return {"awq", "AutoAWQ's gemm, gemv and gemv_fast, 4 bits", Recognises, Open};
}

}  // namespace qualm
