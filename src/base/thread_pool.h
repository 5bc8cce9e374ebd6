// A small pool that splits loops into independent pieces. Which thread runs which piece is not
// fixed, so a piece must not depend on any other: results are then the same for every number of
// threads.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace qualm {

// A fixed number of threads that run one loop at a time. Loops may be started from any thread; a
// second one waits for the first.
class ThreadPool {
 public:
  // `threads` counts the calling thread too; 0 means one per core.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls body(0) .. body(n-1), each once, and returns when all are done. The first exception
  // thrown by a piece is thrown again here; the pieces not yet started are then skipped. A call
  // from inside a piece runs on the calling thread alone.
  void ParallelFor(size_t n, const std::function<void(size_t)>& body);

 private:
  struct State;
  int threads_;
  std::unique_ptr<State> state_;
};

}  // namespace qualm
