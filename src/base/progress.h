// What a long run tells its caller while it works. The library reports; the application draws.
#pragma once

#include <cstdint>
#include <string_view>

namespace qualm {

// The library's only way to speak. Begin, Advance (any number of times) and End belong together;
// Warn and Info may come at any time.
class Progress {
 public:
  virtual ~Progress() = default;
  // A stage of `total` equal steps begins ("quantize", 32 blocks).
  virtual void Begin(std::string_view stage, uint64_t total) = 0;
  // `done` of `total` steps are finished; `detail` names what was finished ("block 3: GPTQ 1.2 s").
  virtual void Advance(uint64_t done, std::string_view detail) = 0;
  virtual void End() = 0;
  // Something the user should read even if the run succeeds.
  virtual void Warn(std::string_view message) = 0;
  virtual void Info(std::string_view message) = 0;
};

// Says nothing; for tests and callers that do not care.
class SilentProgress final : public Progress {
 public:
  void Begin(std::string_view, uint64_t) override {}
  void Advance(uint64_t, std::string_view) override {}
  void End() override {}
  void Warn(std::string_view) override {}
  void Info(std::string_view) override {}
};

}  // namespace qualm
