// Builds the command line that walls the program off, starts it, writes the program to it, and
// reads the end of what it prints.
#include "metrics/python_sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

extern char** environ;

namespace qualm {
namespace {

constexpr size_t kMostOutput = 1 << 20;

std::vector<std::string> CommandOf(const SandboxLimits& limits) {
  return {"timeout",
          "--signal=KILL",
          StrCat(limits.seconds),
          "bwrap",
          "--unshare-all",
          "--die-with-parent",
          "--new-session",
          "--cap-drop",
          "ALL",
          "--uid",
          "65534",
          "--gid",
          "65534",
          "--clearenv",
          "--ro-bind",
          "/usr",
          "/usr",
          "--symlink",
          "usr/lib",
          "/lib",
          "--symlink",
          "usr/lib64",
          "/lib64",
          "--symlink",
          "usr/bin",
          "/bin",
          "--proc",
          "/proc",
          "--dev",
          "/dev",
          "--size",
          StrCat(limits.file_bytes),
          "--tmpfs",
          "/tmp",
          "--chdir",
          "/tmp",
          "prlimit",
          StrCat("--cpu=", limits.seconds),
          StrCat("--as=", limits.memory_bytes),
          StrCat("--fsize=", limits.file_bytes),
          "--nproc=64",
          "--core=0",
          "python3",
          "-I",
          "-"};
}

void WriteAll(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written <= 0) return;  // the program has ended; its exit code says the rest
    text.remove_prefix(static_cast<size_t>(written));
  }
}

// The end of what comes, as much as is looked at.
std::string ReadEnd(int file) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = ::read(file, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kMostOutput) text.erase(0, text.size() / 2);
  }
  return text;
}

struct Outcome {
  int status = 0;
  std::string output;
};

Outcome Execute(const SandboxLimits& limits, std::string_view program) {
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) {
    ThrowFailed("sandbox", std::strerror(errno));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<std::string> command = CommandOf(limits);
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  Outcome outcome;
  if (error == 0) {
    // A program that ends without reading must not end us.
    const auto before = ::signal(SIGPIPE, SIG_IGN);
    WriteAll(in[1], program);
    ::close(in[1]);
    outcome.output = ReadEnd(out[0]);
    ::waitpid(child, &outcome.status, 0);
    ::signal(SIGPIPE, before);
  } else {
    ::close(in[1]);
  }
  ::close(out[0]);
  if (error != 0) ThrowFailed("sandbox", StrCat("timeout cannot be started: ", strerror(error)));
  return outcome;
}

bool Passes(std::string_view program, const SandboxLimits& limits) {
  std::random_device random;
  const std::string end = StrCat("end-", random(), "-", random());
  const Outcome outcome = Execute(limits, StrCat(program, "\nprint('\\n", end, "')\n"));
  return WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 0 &&
         outcome.output.ends_with(StrCat("\n", end, "\n"));
}

}  // namespace

bool RunsToItsEnd(std::string_view program, const SandboxLimits& limits) {
  static const bool works = Passes("", {});
  if (!works) {
    ThrowFailed("sandbox",
                "an empty program does not run; needed are bubblewrap (bwrap), prlimit, timeout, "
                "python3 and the right to make namespaces");
  }
  return Passes(program, limits);
}

}  // namespace qualm
