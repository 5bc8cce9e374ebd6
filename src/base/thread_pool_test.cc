#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace qualm {
namespace {

TEST(ThreadPool, RunsEveryPieceOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (size_t n : {0u, 1u, 2u, 7u, 1000u}) {
      std::vector<std::atomic<int>> runs(n);
      pool.ParallelFor(n, [&](size_t i) { ++runs[i]; });
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(runs[i], 1) << threads << " threads, piece " << i;
    }
  }
}

TEST(ThreadPool, ZeroThreadsMeansOnePerCore) {
  ThreadPool pool(0);
  EXPECT_GE(pool.threads(), 1);
}

TEST(ThreadPool, UsesSeveralThreads) {
  ThreadPool pool(2);
  std::atomic<int> arrived{0};
  // Each piece waits for the other: one thread alone would never finish.
  pool.ParallelFor(2, [&](size_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
}

// Many short loops one after the other: late workers must never touch the next loop's body.
TEST(ThreadPool, SurvivesManyShortLoops) {
  ThreadPool pool(4);
  for (size_t loop = 0; loop < 2000; ++loop) {
    std::vector<size_t> results(5, 0);
    pool.ParallelFor(5, [&, loop](size_t i) { results[i] = loop + i; });
    for (size_t i = 0; i < 5; ++i) ASSERT_EQ(results[i], loop + i);
  }
}

TEST(ThreadPool, ThrowsAPiecesExceptionAndStaysUsable) {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (size_t bad : {0u, 5u, 99u}) {
      std::atomic<int> runs{0};
      auto body = [&](size_t i) {
        ++runs;
        if (i == bad) throw std::runtime_error("piece");
      };
      EXPECT_THROW(pool.ParallelFor(100, body), std::runtime_error);
      EXPECT_GE(runs, 1);
      std::atomic<int> after{0};
      pool.ParallelFor(10, [&](size_t) { ++after; });
      EXPECT_EQ(after, 10);
    }
  }
}

TEST(ThreadPool, SkipsPiecesNotStartedAfterAnException) {
  ThreadPool pool(2);
  std::atomic<int> runs{0};
  EXPECT_THROW(pool.ParallelFor(1000000,
                                [&](size_t) {
                                  ++runs;
                                  throw std::runtime_error("every piece");
                                }),
               std::runtime_error);
  EXPECT_LE(runs, 2);  // at most one a thread
}

TEST(ThreadPool, NestedLoopsRunOnTheCallingThread) {
  ThreadPool pool(3);
  std::vector<std::atomic<int>> runs(12);
  pool.ParallelFor(4, [&](size_t outer) {
    const std::thread::id self = std::this_thread::get_id();
    pool.ParallelFor(3, [&](size_t inner) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      ++runs[outer * 3 + inner];
    });
  });
  for (const auto& count : runs) EXPECT_EQ(count, 1);
}

TEST(ThreadPool, NestedExceptionReachesTheOuterCaller) {
  ThreadPool pool(3);
  EXPECT_THROW(
      pool.ParallelFor(
          6,
          [&](size_t) { pool.ParallelFor(2, [](size_t) { throw std::out_of_range("inner"); }); }),
      std::out_of_range);
  std::atomic<int> after{0};
  pool.ParallelFor(6, [&](size_t) { ++after; });
  EXPECT_EQ(after, 6);
}

TEST(ThreadPool, LoopsFromSeveralCallersDoNotMix) {
  ThreadPool pool(3);
  std::vector<int> first(200, 0), second(200, 0);
  auto fill = [&](std::vector<int>& values, int value) {
    for (int round = 0; round < 50; ++round) {
      pool.ParallelFor(values.size(), [&](size_t i) { values[i] += value; });
    }
  };
  std::thread other([&] { fill(second, 2); });
  fill(first, 1);
  other.join();
  EXPECT_EQ(first, std::vector<int>(200, 50));
  EXPECT_EQ(second, std::vector<int>(200, 100));
}

}  // namespace
}  // namespace qualm
