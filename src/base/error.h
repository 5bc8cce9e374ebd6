// Errors of qualm. Bad input (a file, a YAML key, a flag, a shape) and failures of the outside
// world (a full disk) are thrown as Error; bugs are CHECKs. The library never prints and never
// exits.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace qualm {

// What kind of failure an error is; the application turns it into an exit code.
enum class ErrorKind {
  kBadInput,  // what the user gave cannot be used; exit code 3
  kFailed,    // the input is fine but the work could not be done (disk full, locked); exit code 1
};

// An error that the user should read. what() gives "[place] expected ...; got ...; hint". `place`
// is a file, a layer, a flag or a stage.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string_view place, std::string_view message);
  ErrorKind kind() const { return kind_; }

  // The same error with `outer` put before its place: "[outer: place] ...".
  Error Within(std::string_view outer) const;

 private:
  ErrorKind kind_;
  std::string place_;
  std::string message_;
};

// Throws kBadInput with the message "expected <expected>; got <got>[; <hint>]".
[[noreturn]] void ThrowBadInput(std::string_view place, std::string_view expected,
                                std::string_view got, std::string_view hint = "");

// Throws kFailed with `message` as it is.
[[noreturn]] void ThrowFailed(std::string_view place, std::string_view message);

namespace internal {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}

// A claim about our own code. It is always checked, and no input may ever make it false.
#define QUALM_CHECK(condition) \
  ((condition) ? (void)0 : ::qualm::internal::CheckFailed(#condition, __FILE__, __LINE__))

// The same for hot loops: checked only without NDEBUG.
#ifdef NDEBUG
#define QUALM_DCHECK(condition) ((void)0)
#else
#define QUALM_DCHECK(condition) QUALM_CHECK(condition)
#endif

}  // namespace qualm
