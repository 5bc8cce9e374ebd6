// What every run needs and no run owns: the threads that share its loops, and whom it tells how far
// it is. Functions take `const Context&` as one parameter and hand it on.
#pragma once

#include "base/progress.h"
#include "base/thread_pool.h"

namespace qualm {

// Borrows both. The caller that made the pool and the progress keeps them alive for as long as
// anything that was given this context runs; copies borrow the same two. Who has nothing to report
// to passes a SilentProgress.
struct Context {
  ThreadPool& pool;
  Progress& progress;
};

}  // namespace qualm
