// Checked access to the tensors of a format.
#include "formats/format_tensors.h"

#include <algorithm>

#include "base/strings.h"

namespace qualm {

std::string TypeAndShape(const TensorView& tensor) {
  std::vector<std::string> extents;
  for (const size_t extent : tensor.shape) extents.push_back(StrCat(extent));
  return StrCat(NameOf(tensor.type), " [", Join(extents, ", "), "]");
}

namespace {

std::string TypesText(std::initializer_list<DType> types) {
  std::vector<std::string> names;
  for (const DType type : types) names.emplace_back(NameOf(type));
  return Join(names, " or ");
}

}  // namespace

const TensorView& TensorOf(const TensorFile& file, const std::string& name,
                           std::initializer_list<DType> types, const std::vector<size_t>& shape) {
  const TensorView& tensor = file.Get(name);
  const bool has_type = std::ranges::find(types, tensor.type) != types.end();
  if (has_type && tensor.shape == shape) return tensor;

  TensorView wanted = tensor;
  wanted.shape = shape;
  const std::string text = TypeAndShape(wanted);
  ThrowBadInput(name, StrCat(TypesText(types), text.substr(text.find(' '))), TypeAndShape(tensor),
                "the file's description and its tensors do not belong together");
}

const TensorView& MatrixOf(const TensorFile& file, const std::string& name,
                           std::initializer_list<DType> types) {
  const TensorView& tensor = file.Get(name);
  const bool has_type = std::ranges::find(types, tensor.type) != types.end();
  const bool has_sides =
      tensor.shape.size() == 2 && std::ranges::all_of(tensor.shape, [](size_t side) {
        return side > 0 && side <= kLargestLayerSide;
      });
  if (has_type && has_sides) return tensor;
  ThrowBadInput(name, StrCat(TypesText(types), " with two sides in 1..", kLargestLayerSide),
                TypeAndShape(tensor));
}

std::vector<float> FloatsOf(const TensorView& tensor) {
  if (!IsFloat(tensor.type)) {
    ThrowBadInput(tensor.name, "F64, F32, F16 or BF16", NameOf(tensor.type));
  }
  std::vector<float> values(tensor.elements());
  ConvertToFloat(tensor.type, tensor.bytes.data(), values.data(), values.size());
  return values;
}

std::vector<std::string> ModulesWith(const TensorFile& file, std::string_view suffix) {
  std::vector<std::string> modules;
  for (const TensorView& tensor : file.tensors()) {
    if (!tensor.name.ends_with(suffix) || tensor.name.size() == suffix.size()) continue;
    modules.push_back(tensor.name.substr(0, tensor.name.size() - suffix.size()));
  }
  std::ranges::sort(modules);
  return modules;
}

StoredLayer LayerOf(const TensorFile& file, const std::string& name, size_t out, size_t in,
                    std::initializer_list<std::string_view> suffixes) {
  StoredLayer layer;
  layer.name = name;
  layer.out = out;
  layer.in = in;
  for (const std::string_view suffix : suffixes) {
    const TensorView* tensor = file.Find(name + std::string(suffix));
    if (tensor == nullptr) continue;
    layer.tensors.push_back(tensor->name);
    layer.bytes += tensor->bytes.size();
  }
  return layer;
}

}  // namespace qualm
