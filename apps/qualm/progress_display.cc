// Draws progress on stderr: a bar that is redrawn in place on a terminal, else a line now and then.
// Messages first take the bar away, so that the two never share a line.
#include "progress_display.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "base/strings.h"

namespace qualm::cli {

namespace {

using Clock = std::chrono::steady_clock;

// A bar moves smoothly at ten times a second; a log needs no more than one line a second.
constexpr double kRedrawSeconds = 0.1;
constexpr double kLineSeconds = 1;
constexpr size_t kBarWidth = 24;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One stage at a time: Begin, Advance any number of times, End. Warnings and messages may come at
// any time.
class StderrProgress final : public Progress {
 public:
  StderrProgress(bool quiet, bool terminal) : quiet_(quiet), terminal_(terminal) {}
  ~StderrProgress() override { Erase(); }

  // A bar appears at once; a line only when the first step is done.
  void Begin(std::string_view stage, uint64_t total) override {
    stage_ = stage;
    total_ = total;
    start_ = Clock::now();
    last_drawn_s_ = -1;
    if (terminal_) Advance(0, "");
  }

  void Advance(uint64_t done, std::string_view detail) override {
    // Drawing is limited to some times a second; the last step is always drawn.
    if (quiet_) return;
    const double elapsed_s = SecondsSince(start_);
    const double pause_s = terminal_ ? kRedrawSeconds : kLineSeconds;
    const bool is_due = last_drawn_s_ < 0 || elapsed_s - last_drawn_s_ >= pause_s;
    if (!is_due && done < total_) return;
    last_drawn_s_ = elapsed_s;

    std::string line = StrCat(stage_, " ", done, "/", total_);
    if (terminal_) line = StrCat("[", Bar(done), "] ", line);
    if (!detail.empty()) line += StrCat("  ", detail);

    // The rest at the average speed so far, and the total time at the end.
    if (done > 0 && done < total_) {
      const double left_s =
          elapsed_s / static_cast<double>(done) * static_cast<double>(total_ - done);
      line += StrCat("  ETA ", HumanSeconds(left_s));
    } else if (done == total_) {
      line += StrCat("  ", HumanSeconds(elapsed_s));
    }

    // A terminal redraws its line, a file gets one line after another.
    if (terminal_) {
      Erase();
      std::fputs(line.c_str(), stderr);
      std::fflush(stderr);
      drawn_ = true;
    } else {
      std::fprintf(stderr, "%s\n", line.c_str());
    }
  }

  // The finished bar stays, and later output begins on a new line.
  void End() override {
    if (drawn_) std::fputc('\n', stderr);
    drawn_ = false;
  }

  // Warnings are shown even with --quiet.
  void Warn(std::string_view message) override {
    Erase();
    std::fprintf(stderr, "qualm: warning: %.*s\n", static_cast<int>(message.size()),
                 message.data());
  }

  void Info(std::string_view message) override {
    if (quiet_) return;
    Erase();
    std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
  }

 private:
  std::string Bar(uint64_t done) const {
    const double share = total_ == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total_);
    const size_t filled = std::min(kBarWidth, static_cast<size_t>(share * kBarWidth));
    return std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  }

  // Removes the bar from the line, so that a message can take its place.
  void Erase() {
    if (drawn_) std::fputs("\r\033[K", stderr);
    drawn_ = false;
  }

  bool quiet_, terminal_;
  bool drawn_ = false;  // the terminal's current line shows a bar
  std::string stage_;
  uint64_t total_ = 0;
  Clock::time_point start_;
  double last_drawn_s_ = -1;
};

}  // namespace

std::unique_ptr<Progress> MakeStderrProgress(bool quiet) {
  return std::make_unique<StderrProgress>(quiet, ::isatty(STDERR_FILENO) != 0);
}

}  // namespace qualm::cli
