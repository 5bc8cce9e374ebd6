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

// The tensors of a state dict over `file_bytes` (the whole file), in the order of the file. Their
// bytes are in the file, or in `copies` if they had to be put in order; tensors may share bytes.
// `place` is used in errors. Tensors of types that DType lacks are left out; their names and types
// are added to `*unread` if given. Throws bad input for anything but a dict of tensors.
std::vector<TensorView> ParseTorchFile(std::span<const std::byte> file_bytes,
                                       std::string_view place, TensorCopies& copies,
                                       std::map<std::string, std::string>* unread = nullptr);

// Whether a file of that name is expected to be one: pytorch_model.bin, *.pt, *.pth.
bool IsTorchFileName(const std::filesystem::path& path);

}  // namespace qualm
