// A context for tests: its own threads, and nobody listens.
#pragma once

#include "base/context.h"

namespace qualm::testing {

// Holds what a TestContext lends itself; a base, so that it is made first.
struct TestServices {
  explicit TestServices(int threads) : own_pool(threads) {}

  ThreadPool own_pool;
  SilentProgress silent;
};

class TestContext : private TestServices, public Context {
 public:
  // 0 threads: one per core.
  explicit TestContext(int threads = 0)
      : TestServices(threads), Context{TestServices::own_pool, TestServices::silent} {}
  TestContext(const TestContext&) = delete;
  TestContext& operator=(const TestContext&) = delete;
};

}  // namespace qualm::testing
