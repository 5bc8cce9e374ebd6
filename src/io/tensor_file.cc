// Opens the tensors of a model folder: finds the file or the index, maps what it names, and lets
// the parser of each file (safetensors, torch) make views into it.
#include "io/tensor_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error_place.h"
#include "base/strings.h"
#include "io/json.h"

namespace qualm {
namespace {

// In the order in which a folder is searched.
constexpr std::string_view kNames[] = {"model.safetensors", "model.safetensors.index.json",
                                       "pytorch_model.bin", "pytorch_model.bin.index.json",
                                       "qmodel.pt"};

// "tensor 'a.b'"; a hostile name is cut short.
std::string TensorPlace(std::string_view name) {
  return name.size() <= 200 ? StrCat("tensor '", name, "'")
                            : StrCat("tensor '", name.substr(0, 200), "...'");
}

// Whether the name is like "model-00001-of-00002.safetensors": nothing that leads out of the
// folder.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// What an index says: the files, and which tensor is in which file.
struct Index {
  std::set<std::string> shards;
  std::vector<std::pair<std::string, std::string>> shard_of_tensor;
};

Index IndexFrom(const Json& json) {
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    ThrowExpected("an object 'weight_map' from tensor to file names", "none");
  }

  // File names come from the index, so they must not lead anywhere else.
  Index index;
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    if (!shard.is_string()) {
      ThrowBadInput(TensorPlace(tensor), "a file name", shard.type_name());
    }
    const auto& name = shard.get_ref<const std::string&>();
    if (!IsPlainFileName(name)) {
      ThrowBadInput(TensorPlace(tensor), "the name of a file in the same folder",
                    StrCat("'", name.substr(0, 200), "'"));
    }
    index.shards.insert(name);
    index.shard_of_tensor.emplace_back(tensor, name);
  }

  // An index without tensors is not a model.
  if (index.shards.empty()) ThrowExpected("at least one tensor in 'weight_map'", "none");
  return index;
}

// AutoGPTQ calls its only file gptq_model-4bit-128g.safetensors, others have other names.
// Empty unless the folder has exactly one such file.
std::filesystem::path OnlySafetensorsIn(const std::filesystem::path& folder) {
  std::filesystem::path only;
  std::error_code error;
  for (std::filesystem::directory_iterator entries(folder, error), end; !error && entries != end;
       entries.increment(error)) {
    const std::filesystem::path& path = entries->path();
    if (path.extension() != ".safetensors") continue;
    if (!only.empty()) return {};
    only = path;
  }
  return only;
}

// The file or index that holds the folder's tensors.
std::filesystem::path FindIn(const std::filesystem::path& folder) {
  for (const std::string_view name : kNames) {
    if (std::filesystem::exists(folder / name)) return folder / name;
  }
  if (std::filesystem::path only = OnlySafetensorsIn(folder); !only.empty()) return only;
  ThrowBadInput(
      folder.string(),
      "model.safetensors, pytorch_model.bin, the index of one in shards, qmodel.pt, or a single "
      "file of another name in .safetensors",
      "none of them");
}

// A shard that an interrupted download left out is named together with the file that asks for it.
void RequireShard(const std::filesystem::path& shard, const std::filesystem::path& index) {
  std::error_code ignored;
  if (std::filesystem::exists(shard, ignored)) return;
  ThrowBadInput(shard.string(), StrCat("the shard that ", index.filename().string(), " names"),
                "no such file", "the download may be incomplete");
}

}  // namespace

TensorFile TensorFile::Open(const std::filesystem::path& file_or_folder) {
  TensorFile result;

  const std::filesystem::path path =
      std::filesystem::is_directory(file_or_folder) ? FindIn(file_or_folder) : file_or_folder;

  // An index names the shards; a single file is its own only shard.
  Index index;
  if (path.extension() == ".json") {
    const Json json = ReadJsonFile(path);
    index = At(path.string(), [&] { return IndexFrom(json); });
    result.index_ = path;
    for (const std::string& shard : index.shards) {
      result.paths_.push_back(path.parent_path() / shard);
      RequireShard(result.paths_.back(), path);
    }
  } else {
    result.paths_.push_back(path);
  }

  // From here on both kinds of input are lists of files.
  result.MapAll();
  result.SortByName();

  // Every tensor of the index must be in the file that the index says.
  for (const auto& [tensor, shard] : index.shard_of_tensor) {
    if (result.unread_.contains(tensor)) continue;
    const TensorView* found = result.Find(tensor);
    if (found == nullptr || result.FileOf(*found).filename() != shard) {
      ThrowBadInput(StrCat(path.string(), ": ", TensorPlace(tensor)),
                    StrCat("the tensor in ", shard), "none");
    }
  }
  return result;
}

TensorFile TensorFile::Of(std::vector<TensorView> tensors, std::string container,
                          std::vector<std::filesystem::path> files, uint64_t file_bytes,
                          std::shared_ptr<const void> keeper) {
  TensorFile result;
  result.tensors_ = std::move(tensors);
  result.file_of_tensor_.assign(result.tensors_.size(), 0);
  result.paths_ = std::move(files);
  result.container_ = std::move(container);
  result.given_bytes_ = file_bytes;
  result.keeper_ = std::move(keeper);
  result.SortByName();
  return result;
}

// Maps the files and collects their tensors, file by file.
void TensorFile::MapAll() {
  for (const std::filesystem::path& path : paths_) {
    files_.push_back(std::make_unique<MappedFile>(path));
    const std::span<const std::byte> bytes = files_.back()->bytes();
    std::vector<TensorView> tensors =
        IsTorchFileName(path)
            ? ParseTorchFile(bytes, path.string(), copies_, &unread_, ContentsOf(path))
            : ParseSafetensors(bytes, path.string(), &metadata_, &unread_);
    for (TensorView& tensor : tensors) {
      tensors_.push_back(std::move(tensor));
      file_of_tensor_.push_back(files_.size() - 1);
    }
  }
}

std::string_view TensorFile::container() const {
  if (!container_.empty()) return container_;
  return IsTorchFileName(paths_.front()) ? "torch" : "safetensors";
}

// Sorts tensors by name, together with the file of each; a name may occur only once.
void TensorFile::SortByName() {
  std::vector<size_t> order(tensors_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  // Tensors of equal names keep the order of their files.
  std::ranges::sort(order, {},
                    [&](size_t i) { return std::pair(std::string_view(tensors_[i].name), i); });

  std::vector<TensorView> tensors;
  std::vector<size_t> files;
  for (size_t i : order) {
    if (!tensors.empty() && tensors.back().name == tensors_[i].name) {
      ThrowBadInput(
          StrCat(paths_[file_of_tensor_[i]].string(), ": ", TensorPlace(tensors_[i].name)),
          "every tensor in one file", StrCat("also in ", paths_[files.back()].string()));
    }
    tensors.push_back(std::move(tensors_[i]));
    files.push_back(file_of_tensor_[i]);
  }

  tensors_ = std::move(tensors);
  file_of_tensor_ = std::move(files);
}

// Tensors are sorted by name. Who asks for a tensor of another type needs it: to say that it is
// absent would leave out a bias, for instance.
const TensorView* TensorFile::Find(std::string_view name) const {
  if (const auto unread = unread_.find(std::string(name)); unread != unread_.end()) {
    ThrowBadInput(StrCat(paths_.front().string(), ": ", TensorPlace(name)),
                  StrCat("dtype ", kReadTypes), StrCat("'", unread->second, "'"),
                  "no format that is read has tensors of this type");
  }
  auto at = std::ranges::lower_bound(tensors_, name, {}, &TensorView::name);
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

const TensorView& TensorFile::Get(std::string_view name) const {
  if (const TensorView* found = Find(name)) return *found;
  // The message names the nearest tensor: a wrong prefix is the most common mistake.
  std::vector<std::string> names;
  for (const TensorView& tensor : tensors_) names.push_back(tensor.name);
  const std::string near = NearestName(name, names);
  ThrowBadInput(paths_.front().parent_path().empty() ? paths_.front().string()
                                                     : paths_.front().parent_path().string(),
                StrCat("a tensor '", name, "'"), StrCat("none among ", names.size()),
                near.empty() ? "" : StrCat("the nearest name is '", near, "'"));
}

std::vector<std::string> TensorFile::names() const {
  std::vector<std::string> names;
  for (const TensorView& tensor : tensors_) names.push_back(tensor.name);
  for (const auto& [name, type] : unread_) names.push_back(name);
  std::ranges::sort(names);
  return names;
}

void TensorFile::LeaveOut(const std::vector<std::string>& names) {
  const std::set<std::string_view> left_out(names.begin(), names.end());
  size_t kept = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (left_out.contains(tensors_[i].name)) continue;
    if (kept != i) tensors_[kept] = std::move(tensors_[i]);
    file_of_tensor_[kept++] = file_of_tensor_[i];
  }
  tensors_.resize(kept);
  file_of_tensor_.resize(kept);
  std::erase_if(unread_, [&](const auto& tensor) { return left_out.contains(tensor.first); });
}

uint64_t TensorFile::file_bytes() const {
  uint64_t total = given_bytes_;
  for (const auto& file : files_) total += file->bytes().size();
  return total;
}

size_t TensorFile::IndexOf(const TensorView& tensor) const {
  const TensorView* own = Find(tensor.name);  // `tensor` may be a copy
  QUALM_CHECK(own != nullptr && own->bytes.data() == tensor.bytes.data());
  return static_cast<size_t>(own - tensors_.data());
}

const std::filesystem::path& TensorFile::FileOf(const TensorView& tensor) const {
  return paths_[file_of_tensor_[IndexOf(tensor)]];
}

void TensorFile::Release(const TensorView& tensor) const {
  if (files_.empty()) return;  // whose memory it is, is not known here
  const MappedFile& file = *files_[file_of_tensor_[IndexOf(tensor)]];
  const std::span<const std::byte> all = file.bytes();
  const bool is_copy =
      tensor.bytes.data() < all.data() || tensor.bytes.data() >= all.data() + all.size();
  if (!is_copy) file.Release(tensor.bytes);
}

}  // namespace qualm
