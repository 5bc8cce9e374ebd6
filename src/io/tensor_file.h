// The tensors of a checkpoint, whatever kind of files hold them and however many they are.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/mapped_file.h"
#include "io/safetensors.h"
#include "io/torch_file.h"

namespace qualm {

// The tensors of a folder or of one file (or index) given by path. In a folder the first of these
// is taken: model.safetensors, model.safetensors.index.json with its shards, pytorch_model.bin,
// pytorch_model.bin.index.json with its shards, qmodel.pt, the only file in .safetensors.
class TensorFile {
 public:
  static TensorFile Open(const std::filesystem::path& file_or_folder);
  // Tensors of another container: `files` are what they were read from, `keeper` keeps the memory
  // that they look at. Throws bad input for two tensors of one name.
  static TensorFile Of(std::vector<TensorView> tensors, std::string container,
                       std::vector<std::filesystem::path> files, uint64_t file_bytes,
                       std::shared_ptr<const void> keeper);

  const std::vector<TensorView>& tensors() const { return tensors_; }  // sorted by name
  // Null if absent. A tensor of a type that is not read stops nobody until it is asked for: then it
  // is bad input that names the type.
  const TensorView* Find(std::string_view name) const;
  // Of all tensors, also of those whose type is not read; sorted.
  std::vector<std::string> names() const;
  // The same as Find; throws bad input naming the nearest existing name if it is absent.
  const TensorView& Get(std::string_view name) const;
  // The metadata of all files together; where they differ, the first file by name wins.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<std::filesystem::path>& files() const { return paths_; }
  const std::filesystem::path& index() const { return index_; }  // empty: one file without an index
  // "safetensors", "torch" or another: the form of the files.
  std::string_view container() const;
  // From now on these tensors are absent.
  void LeaveOut(const std::vector<std::string>& names);
  uint64_t file_bytes() const;
  // Drops the tensor's pages from resident memory.
  void Release(const TensorView& tensor) const;

 private:
  void MapAll();
  void SortByName();  // an error if two files hold the same name
  size_t IndexOf(const TensorView& tensor) const;
  const std::filesystem::path& FileOf(const TensorView& tensor) const;

  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<std::filesystem::path> paths_;
  std::filesystem::path index_;
  TensorCopies copies_;
  std::vector<TensorView> tensors_;
  std::vector<size_t> file_of_tensor_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::string> unread_;  // name, type
  // Of tensors that were given to Of; then there are no files_.
  std::string container_;
  uint64_t given_bytes_ = 0;
  std::shared_ptr<const void> keeper_;
};

}  // namespace qualm
