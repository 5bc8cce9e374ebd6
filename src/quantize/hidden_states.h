// The hidden states of all calibration sequences between two blocks, in memory or in a mapped file
// that the system may write out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model/decoder.h"

namespace qualm {

class HiddenStates {
 public:
  // Room for `sequences` (which must outlive this); the values come with Embed. With `spill_file`
  // the values live in that file, which is removed at the end.
  HiddenStates(std::span<const std::vector<TokenId>> sequences, size_t hidden_size,
               const std::optional<std::filesystem::path>& spill_file = {});
  ~HiddenStates();
  HiddenStates(const HiddenStates&) = delete;
  HiddenStates& operator=(const HiddenStates&) = delete;

  uint64_t tokens() const { return values_.rows(); }
  void Embed(const EmbeddingTable& embedding);

  // Runs `block` over all sequences, some at a time, and replaces the values by its output.
  void Advance(const DecoderBlock& block, const ModelConfig& config, ThreadPool& pool);
  // The same, but keeps the values: `observer` sees the inputs of groups and stops where it likes.
  void Observe(const DecoderBlock& block, const ModelConfig& config, ThreadPool& pool,
               const GroupObserver& observer) const;

  Span2D<const float> values() const { return values_; }  // [tokens, hidden]

 private:
  struct Chunk {
    size_t first_sequence, sequences, first_row, rows;
  };
  template <typename Body>
  void ForChunks(const DecoderBlock& block, const ModelConfig& config, ThreadPool& pool,
                 const GroupObserver& observer, const Body& keep_output) const;

  std::span<const std::vector<TokenId>> sequences_;
  std::vector<Chunk> chunks_;
  Matrix memory_;
  int file_ = -1;
  size_t mapped_bytes_ = 0;
  Span2D<float> values_;
};

}  // namespace qualm
