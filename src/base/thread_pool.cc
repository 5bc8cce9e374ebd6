// Worker threads that share the pieces of one loop at a time. The caller works too, so a pool of n
// threads has n - 1 workers. Everything is built for loops that take microseconds: workers spin for
// a while before they sleep, and pieces are handed out by one atomic counter.
#include "base/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qualm {
namespace {

// Set while this thread runs a piece: a loop inside a piece runs on this thread alone.
thread_local bool inside_a_piece = false;

// One round of waiting; on x86 it leaves the core to its other thread.
void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Workers look for new work this often before they sleep. A decode step is a chain of short loops,
// and waking a sleeping thread costs as much as one of them.
constexpr int kSpins = 2000;

// One ParallelFor. It is shared between its caller and the workers that saw it, so that a worker
// that wakes late finds an exhausted counter and never the body of a later loop.
struct Job {
  const std::function<void(size_t)>* body = nullptr;
  size_t size = 0;
  std::atomic<size_t> next{0};
  std::atomic<size_t> finished{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  // Takes pieces until there are none. After an exception the pieces that nobody has taken count as
  // finished, so that the caller does not wait for them.
  void Run() {
    inside_a_piece = true;
    // A piece may throw; only the first exception is kept.
    for (size_t i = next.fetch_add(1); i < size; i = next.fetch_add(1)) {
      try {
        (*body)(i);
      } catch (...) {
        std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        size_t skipped_from = next.exchange(size);
        if (skipped_from < size) finished.fetch_add(size - skipped_from);
      }
      finished.fetch_add(1, std::memory_order_release);
    }
    inside_a_piece = false;
  }
};

}  // namespace

// What the workers wait for and look at. A new loop raises `generation`; `mutex` guards `job` and
// `stop`.
struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable wake;
  // Shared because a worker may still hold it when the caller has returned.
  std::shared_ptr<Job> job;
  std::atomic<uint64_t> generation{0};
  bool stop = false;
  std::mutex caller_mutex;  // one loop at a time
  std::vector<std::jthread> workers;

  // Runs even if a thread could not be started: the threads that did start wait to be told.
  ~State() {
    {
      std::lock_guard lock(mutex);
      stop = true;
    }
    wake.notify_all();
    workers.clear();
  }

  void Work() {
    uint64_t seen = 0;
    while (true) {
      // Look for a new loop without the lock, then sleep until there is one.
      for (int i = 0; i < kSpins && generation.load(std::memory_order_acquire) == seen; ++i)
        Pause();

      std::shared_ptr<Job> current;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stop || generation.load() != seen; });
        if (stop) return;
        seen = generation.load();
        current = job;
      }

      if (current) current->Run();
    }
  }
};

ThreadPool::ThreadPool(int threads)
    : threads_(threads > 0 ? threads
                           : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))),
      state_(std::make_unique<State>()) {
  try {
    for (int i = 1; i < threads_; ++i) {
      state_->workers.emplace_back([s = state_.get()] { s->Work(); });
    }
  } catch (const std::system_error& error) {
    ThrowFailed("--threads", StrCat("cannot start ", threads_, " threads: ", error.what()));
  }
}

ThreadPool::~ThreadPool() = default;

void ThreadPool::ParallelFor(size_t n, const std::function<void(size_t)>& body) {
  if (n == 0) return;
  // Nothing to share, or no worker that could help.
  if (threads_ == 1 || n == 1 || inside_a_piece) {
    for (size_t i = 0; i < n; ++i) body(i);
    return;
  }

  // Publish the job, wake the workers, and take pieces like one of them.
  std::lock_guard one_at_a_time(state_->caller_mutex);
  auto job = std::make_shared<Job>();
  job->body = &body;
  job->size = n;
  {
    std::lock_guard lock(state_->mutex);
    state_->job = job;
    state_->generation.fetch_add(1, std::memory_order_release);
  }
  state_->wake.notify_all();
  job->Run();

  // Workers may still be busy with their last pieces.
  while (job->finished.load(std::memory_order_acquire) < n) Pause();
  {
    std::lock_guard lock(state_->mutex);
    state_->job.reset();
  }

  if (job->error) std::rethrow_exception(job->error);
}

}  // namespace qualm
