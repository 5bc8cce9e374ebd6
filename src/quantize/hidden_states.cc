#include "quantize/hidden_states.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Tokens run through a block at once: enough for full matrix products, few enough that the widest
// activations stay small. Part of the definition of a Gram matrix's summation order.
constexpr size_t kChunkTokens = 2048;

size_t TotalTokens(std::span<const std::vector<TokenId>> sequences) {
  size_t total = 0;
  for (const auto& sequence : sequences) total += sequence.size();
  return total;
}

}  // namespace

HiddenStates::HiddenStates(std::span<const std::vector<TokenId>> sequences, size_t hidden_size,
                           const std::optional<std::filesystem::path>& spill_file)
    : sequences_(sequences) {
  size_t tokens = TotalTokens(sequences), row = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    size_t length = sequences[s].size();
    if (chunks_.empty() || chunks_.back().rows + length > kChunkTokens) {
      chunks_.push_back({s, 0, row, 0});
    }
    ++chunks_.back().sequences;
    chunks_.back().rows += length;
    row += length;
  }
  if (!spill_file || tokens == 0) {
    memory_ = Matrix(tokens, hidden_size);
    values_ = memory_;
    return;
  }
  mapped_bytes_ = tokens * hidden_size * sizeof(float);
  file_ = ::open(spill_file->c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  // posix_fallocate: a full disk is an error here, not a fault at the first write.
  int status = file_ < 0 ? errno : ::posix_fallocate(file_, 0, static_cast<off_t>(mapped_bytes_));
  void* mapped = MAP_FAILED;
  if (status == 0) {
    ::unlink(spill_file->c_str());  // the mapping keeps it; nothing is left behind by a kill
    mapped = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    if (mapped == MAP_FAILED) status = errno;
  }
  if (status != 0) {
    if (file_ >= 0) ::close(file_);
    ::unlink(spill_file->c_str());
    ThrowFailed(spill_file->string(), StrCat("cannot make a file of ", HumanBytes(mapped_bytes_),
                                             " for hidden states: ", std::strerror(status)));
  }
  values_ = {static_cast<float*>(mapped), tokens, hidden_size};
}

HiddenStates::~HiddenStates() {
  if (file_ < 0) return;
  ::munmap(values_.data(), mapped_bytes_);
  ::close(file_);
}

void HiddenStates::Embed(const EmbeddingTable& embedding) {
  size_t row = 0;
  for (const auto& sequence : sequences_) {
    embedding.Lookup(sequence, values_.Rows(row, sequence.size()));
    row += sequence.size();
  }
}

template <typename Body>
void HiddenStates::ForChunks(const DecoderBlock& block, const ModelConfig& config, ThreadPool& pool,
                             const GroupObserver& observer, const Body& keep_output) const {
  for (const Chunk& chunk : chunks_) {
    std::vector<KvCache> caches;
    std::vector<SequenceSlice> slices;
    caches.reserve(chunk.sequences);
    for (size_t s = chunk.first_sequence; s < chunk.first_sequence + chunk.sequences; ++s) {
      caches.emplace_back(config, /*blocks=*/1, sequences_[s].size());
      slices.push_back({&caches.back(), sequences_[s]});
    }
    Matrix hidden = Matrix::CopyOf(values_.Rows(chunk.first_row, chunk.rows));
    RopeTable rope = RopeOf(config, slices);
    if (block.Forward(slices, rope, /*cache_block=*/0, hidden, pool, observer)) {
      keep_output(chunk, hidden);
    }
  }
}

void HiddenStates::Advance(const DecoderBlock& block, const ModelConfig& config, ThreadPool& pool) {
  ForChunks(block, config, pool, {}, [&](const Chunk& chunk, const Matrix& hidden) {
    for (size_t r = 0; r < chunk.rows; ++r) {
      std::ranges::copy(hidden.row(r), values_.row(chunk.first_row + r).begin());
    }
  });
}

void HiddenStates::Observe(const DecoderBlock& block, const ModelConfig& config, ThreadPool& pool,
                           const GroupObserver& observer) const {
  ForChunks(block, config, pool, observer, [](const Chunk&, const Matrix&) {});
}

}  // namespace qualm
