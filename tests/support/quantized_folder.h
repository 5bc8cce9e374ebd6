// Folders of other tools' quantized layers, made tensor by tensor, which tests damage.
#pragma once

#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "formats/quantized_layers.h"
#include "io/safetensors.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm::testing {

// config.json and the tensors.
struct QuantizedFolder {
  Json config = Json::object();
  struct Tensor {
    DType type;
    std::vector<size_t> shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Tensor> tensors;

  // A tensor whose bytes all have one value.
  void Put(const std::string& name, DType type, std::vector<size_t> shape, uint8_t byte) {
    size_t count = SizeOf(type);
    for (const size_t extent : shape) count *= extent;
    tensors[name] = {type, std::move(shape), std::vector<std::byte>(count, std::byte{byte})};
  }

  // Writes the tensors, opens them, and calls `use` with the layers (null: a float checkpoint).
  void Open(const ReadOptions& options,
            const std::function<void(const QuantizedLayers*)>& use) const {
    const TemporaryFolder folder;
    std::vector<TensorToWrite> list;
    for (const auto& [name, tensor] : tensors) {
      list.push_back({name, tensor.type, tensor.shape, tensor.bytes});
    }
    WriteSafetensors(folder.path() / "model.safetensors", list);
    const TensorFile file = TensorFile::Open(folder.path());
    use(OpenQuantizedLayers(file, folder.path(), config, options).get());
  }

  // Reads every layer; the message of the error, or "no error".
  std::string Read() const {
    return ErrorOf([&] {
      Open({}, [](const QuantizedLayers* layers) {
        if (layers == nullptr) return;
        for (const StoredLayer& layer : layers->layers()) (void)layers->Read(layer);
      });
    });
  }
};

// A change to a folder, and a part of the message that it brings.
struct Mistake {
  std::string_view message;
  std::function<void(QuantizedFolder&)> make;
};

// The folder is read, and with each single mistake it is refused.
inline void ExpectRefusals(const std::function<QuantizedFolder()>& make,
                           const std::vector<Mistake>& mistakes) {
  ASSERT_EQ(make().Read(), "no error");
  for (const Mistake& mistake : mistakes) {
    QuantizedFolder folder = make();
    mistake.make(folder);
    EXPECT_THAT(folder.Read(), ::testing::HasSubstr(std::string(mistake.message)));
  }
}

}  // namespace qualm::testing
