// Files from the network, whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace qualm {

struct DownloadRequest {
  std::string url;  // https, or http where the user named the server
  std::filesystem::path file;
  std::string sha256;  // of the whole file, 64 small hex digits
  uint64_t bytes = 0;  // of the whole file
  std::string token;   // sent as a bearer token to the address's own host only; empty: none
};

struct DownloadOptions {
  int attempts = 5;
  int wait_milliseconds = 1000;  // before the second attempt; doubled for each one after
  int stall_seconds = 30;        // an attempt without a byte for so long is over
};

// Called with the bytes that are there.
using DownloadProgress = std::function<void(uint64_t bytes)>;

// Writes to FILE.part, goes on there where an earlier attempt or run has stopped, checks size and
// sha256, renames. Redirects are followed (never from https to http); proxies come from the
// environment (https_proxy, no_proxy). Interrupted transfers, stalls and answers 408, 429 and 5xx
// are tried again. Throws kFailed with the reason and a hint; FILE.part is kept unless its content
// is wrong.
void Download(const DownloadRequest& request, const DownloadOptions& options,
              const DownloadProgress& on_progress = {});

}  // namespace qualm
