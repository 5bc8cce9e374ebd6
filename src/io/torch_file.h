// Tensors as torch.save writes them: a zip archive with a pickle that describes them (data.pkl) and
// one stored record for each storage (data/0, data/1, ...). Nothing in the file is executed.
// https://github.com/pytorch/pytorch: torch/serialization.py, torch/_utils.py.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"

namespace qualm {

// Elements of tensors that do not lie in the file row by row, such as transposed views: copied.
using TensorCopies = std::vector<std::vector<std::byte>>;

// What the names of the dict stand for: tensors, or modules with a dict of tensors, numbers and
// texts each, as HQQ saves them (qmodel.pt).
enum class TorchContents : uint8_t { kTensors, kModules };
TorchContents ContentsOf(const std::filesystem::path& path);

// The tensors of a state dict over `file_bytes` (the whole file), in the order of the file. Their
// bytes are in the file, or in `copies` if they had to be put in order; tensors may share bytes.
// `place` is used in errors. Tensors of types that DType lacks are left out; their names and types
// are added to `*unread` if given. Of modules, everything is a tensor MODULE.KEY: whole numbers are
// I64, bools BOOL, texts and names of types U8, sizes I64 of one dimension; None is left out.
// Throws bad input for anything but a dict of tensors, or of modules.
std::vector<TensorView> ParseTorchFile(std::span<const std::byte> file_bytes,
                                       std::string_view place, TensorCopies& copies,
                                       std::map<std::string, std::string>* unread = nullptr,
                                       TorchContents contents = TorchContents::kTensors);

// Whether a file of that name is expected to be one: pytorch_model.bin, *.pt, *.pth.
bool IsTorchFileName(const std::filesystem::path& path);

}  // namespace qualm
