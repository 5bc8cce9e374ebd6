// Stops with a message instead of an illegal instruction if the processor lacks the instructions
// that everything else is compiled for. Only this file is compiled for the oldest x86-64 (see
// CMakeLists.txt), and it runs before other initialisers.
#include <unistd.h>

#include <cstddef>

#if defined(__x86_64__)
namespace {

__attribute__((constructor(101))) void RequireAvx2() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return;
  static constexpr char kMessage[] =
      "qualm: [processor] expected AVX2 and FMA; got a processor without them; use a newer "
      "machine\n";
  if (::write(2, kMessage, sizeof(kMessage) - 1) < 0) ::_exit(1);
  ::_exit(1);
}

}  // namespace
#endif
