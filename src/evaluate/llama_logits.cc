// Reads the file through a mapping: its sizes are checked once, rows are decoded when asked for.
#include "evaluate/llama_logits.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "_logits_";
constexpr size_t kHeadBytes = kMagic.size() + 3 * sizeof(uint32_t);
constexpr size_t kRowHeadBytes = 2 * sizeof(float);
constexpr uint32_t kMost = 1U << 24;  // of each size; positions are exact as float32 up to here

}  // namespace

bool LlamaLogits::IsOne(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  std::array<char, kMagic.size()> bytes{};
  std::ifstream(path, std::ios::binary).read(bytes.data(), bytes.size());
  return std::string_view(bytes.data(), bytes.size()) == kMagic;
}

LlamaLogits::LlamaLogits(const std::filesystem::path& path)
    : file_(path), bytes_(file_->bytes()), place_(path.string()) {
  Parse();
}

LlamaLogits::LlamaLogits(std::span<const std::byte> bytes, std::string place)
    : bytes_(bytes), place_(std::move(place)) {
  Parse();
}

void LlamaLogits::Parse() {
  const std::span<const std::byte> bytes = bytes_;
  if (bytes.size() < kHeadBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    ThrowBadInput(place_, "a file of llama-perplexity --kl-divergence-base", "something else");
  }

  // The three sizes, each of which could be anything.
  std::array<uint32_t, 3> sizes{};
  std::memcpy(sizes.data(), bytes.data() + kMagic.size(), sizeof(sizes));
  constexpr std::array<const char*, 3> kNames = {"n_ctx", "n_vocab", "n_chunk"};
  constexpr std::array<uint32_t, 3> kLeast = {4, 1, 1};
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] >= kLeast[i] && sizes[i] <= kMost) continue;
    ThrowBadInput(StrCat(place_, ": ", kNames[i]), StrCat(kLeast[i], " to ", kMost),
                  StrCat(sizes[i]));
  }
  context_ = sizes[0];
  vocab_ = sizes[1];
  chunks_ = sizes[2];

  // Everything must be there: a run that was stopped leaves a shorter file.
  const uint64_t ids_bytes = uint64_t{chunks_} * context_ * sizeof(TokenId);
  row_bytes_ = kRowHeadBytes + (vocab_ + vocab_ % 2) * sizeof(uint16_t);
  first_row_ = kHeadBytes + ids_bytes;
  const uint64_t all_rows = uint64_t{chunks_} * rows();
  const bool fits = first_row_ <= bytes.size() &&
                    all_rows <= (bytes.size() - first_row_) / row_bytes_ &&
                    first_row_ + all_rows * row_bytes_ == bytes.size();
  if (!fits) {
    ThrowBadInput(place_,
                  StrCat(chunks_, " chunks of ", context_, " tokens and ", rows(), " rows of ",
                         vocab_, " log-probabilities"),
                  StrCat(bytes.size(), " bytes"), "the run that wrote it may have been stopped");
  }

  ids_.resize(chunks_ * context_);
  std::memcpy(ids_.data(), bytes.data() + kHeadBytes, ids_bytes);
  for (const TokenId id : ids_) {
    if (id >= 0 && static_cast<size_t>(id) < vocab_) continue;
    ThrowBadInput(place_, StrCat("token ids below ", vocab_), StrCat(id));
  }

  // The heads of all rows: a step and a lowest value that are numbers.
  for (size_t chunk = 0; chunk < chunks_; ++chunk) {
    for (size_t row = 0; row < rows(); ++row) {
      std::array<float, 2> head{};
      std::memcpy(head.data(), RowAt(chunk, row), sizeof(head));
      if (!std::isfinite(head[0]) || !std::isfinite(head[1]) || head[0] < 0) {
        ThrowBadInput(StrCat(place_, ": chunk ", chunk, ", row ", row),
                      "a finite step of at least 0 and a finite lowest value",
                      StrCat(head[0], " and ", head[1]));
      }
      largest_step_ = std::max(largest_step_, static_cast<double>(head[0]));
    }
  }
}

const std::byte* LlamaLogits::RowAt(size_t chunk, size_t row) const {
  return bytes_.data() + first_row_ + (chunk * rows() + row) * row_bytes_;
}

void LlamaLogits::Read(size_t chunk, size_t row, std::span<float> log_probabilities) const {
  (void)ReadRow(chunk, row, log_probabilities);
}

double LlamaLogits::MeanUnknown() const {
  const size_t all = chunks_ * rows(), sampled = std::min(all, kSampledRows);
  std::vector<float> row(vocab_);
  double sum = 0;
  for (size_t i = 0; i < sampled; ++i) {
    const size_t index = i * all / sampled;
    sum += ReadRow(index / rows(), index % rows(), row);
  }
  return sum / static_cast<double>(sampled);
}

double LlamaLogits::ReadRow(size_t chunk, size_t row, std::span<float> log_probabilities) const {
  QUALM_CHECK(chunk < chunks_ && row < rows() && log_probabilities.size() == vocab_);
  const std::byte* at = RowAt(chunk, row);
  std::array<float, 2> head{};
  std::memcpy(head.data(), at, sizeof(head));
  at += kRowHeadBytes;
  const auto code_of = [&](size_t v) {
    uint16_t code = 0;
    std::memcpy(&code, at + v * sizeof(code), sizeof(code));
    return code;
  };
  double known = 0;
  size_t raised = 0;
  for (size_t v = 0; v < vocab_; ++v) {
    const uint16_t code = code_of(v);
    log_probabilities[v] = head[0] * static_cast<float>(code) + head[1];
    if (code == 0) {
      ++raised;
    } else {
      known += std::exp(static_cast<double>(log_probabilities[v]));
    }
  }

  if (raised == 0) return 0;
  const double lowest = std::exp(static_cast<double>(head[1]));
  const auto count = static_cast<double>(raised);
  const double left = std::clamp(1 - known, lowest, count * lowest);
  const auto share = static_cast<float>(std::log(left / count));
  for (size_t v = 0; v < vocab_; ++v) {
    if (code_of(v) == 0) log_probabilities[v] = share;
  }
  return left;
}

LlamaLogitsModel::LlamaLogitsModel(const LlamaLogits& logits, const PerplexityText& text)
    : logits_(logits) {
  for (size_t w = 0; w < text.windows.size(); ++w) {
    chunks_.emplace(text.WindowIds(text.windows[w]), w);
  }
}

Matrix LlamaLogitsModel::Hidden(std::span<const std::vector<TokenId>> windows,
                                const Context&) const {
  Matrix places(windows.size() * logits_.context(), 2);
  size_t token = 0;
  for (const std::vector<TokenId>& window : windows) {
    const auto found = chunks_.find(window);
    QUALM_CHECK(found != chunks_.end());
    // Positions before the second half have no row; nobody asks for them.
    for (size_t position = 0; position < window.size(); ++position, ++token) {
      places.row(token)[0] = static_cast<float>(found->second);
      const size_t half = logits_.context() / 2;
      places.row(token)[1] = position < half ? -1 : static_cast<float>(position - half);
    }
  }
  return places;
}

void LlamaLogitsModel::Logits(Span2D<const float> hidden, Span2D<float> logits,
                              const Context& context) const {
  context.pool.ParallelFor(hidden.rows(), [&](size_t r) {
    QUALM_CHECK(hidden.row(r)[1] >= 0);
    logits_.Read(static_cast<size_t>(hidden.row(r)[0]), static_cast<size_t>(hidden.row(r)[1]),
                 logits.row(r));
  });
}

PerplexityText TextOf(const LlamaLogits& logits, const std::string& name, size_t limit,
                      std::optional<TokenId> bos) {
  PerplexityText text;
  text.name = name;
  text.ids = logits.ids();
  text.windows = PlanWindows(FindProtocol("llama.cpp"), text.ids.size(), logits.context());
  if (limit != 0 && text.windows.size() > limit) text.windows.resize(limit);
  text.window_bos = bos;
  return text;
}

}  // namespace qualm
