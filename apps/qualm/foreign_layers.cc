// Totals, types and single layers, for people and as JSON.
#include "foreign_layers.h"

#include <map>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "cli.h"
#include "text_flags.h"

namespace qualm::cli {

namespace {

// The bits of a weight with scales, zero points and tables.
double BitsOf(const StoredLayer& layer) {
  return 8 * static_cast<double>(layer.bytes) / static_cast<double>(layer.out * layer.in);
}

}  // namespace

Json ForeignAsJson(const QuantizedLayers& layers) {
  const FormatDescription& description = layers.description();
  uint64_t bytes = 0, weights = 0, in_blocks = 0;
  std::map<std::string, uint64_t> types;
  Json list = Json::array();
  for (const StoredLayer& layer : layers.layers()) {
    bytes += layer.bytes;
    weights += uint64_t{layer.out} * layer.in;
    in_blocks += layer.is_in_blocks ? 1 : 0;
    ++types[layer.type];
    list.push_back({{"name", layer.name},
                    {"shape", {layer.out, layer.in}},
                    {"type", layer.type},
                    {"value_type", NameOf(layer.value_type)},
                    {"bits_per_weight", BitsOf(layer)},
                    {"bytes", layer.bytes},
                    {"product", layer.is_in_blocks ? "dequantized per tile" : "from codes"},
                    {"notes", layer.notes}});
  }
  Json by_type = Json::object();
  for (const auto& [type, count] : types) by_type[type] = count;
  return {{"format", description.name},
          {"variant", description.variant},
          {"tool", description.tool.empty() ? Json() : Json(description.tool)},
          {"bits_per_weight_layers",
           weights == 0 ? 0 : 8 * static_cast<double>(bytes) / static_cast<double>(weights)},
          {"layers_dequantized_per_tile", in_blocks},
          {"is_ambiguous", description.is_ambiguous},
          {"types", by_type},
          {"notes", description.notes},
          {"warnings", description.warnings},
          {"layers", std::move(list)}};
}

void PrintForeignLayers(const QuantizedLayers& layers) {
  std::vector<std::vector<std::string>> table = {{"layer", "shape", "type", "rounded to", "bits"}};
  for (const StoredLayer& layer : layers.layers()) {
    table.push_back({layer.name, StrCat(layer.out, "x", layer.in), layer.type,
                     std::string(NameOf(layer.value_type)), Fixed(BitsOf(layer), 3)});
  }
  Print(FormatTable(table, {false, true, false, false, true}) + "\n");
  for (const StoredLayer& layer : layers.layers()) {
    for (const std::string& note : layer.notes) Print(StrCat(layer.name, ": ", note, "\n"));
  }
}

}  // namespace qualm::cli
