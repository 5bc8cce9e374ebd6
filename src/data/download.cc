// Bytes go to a file with the ending .part, so that a later attempt continues where the last one
// stopped. Attempts are repeated with growing pauses as long as the problem may pass; no file
// becomes longer than the request says.
#include "data/download.h"

#include <curl/curl.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "data/sha256.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

struct Transfer {
  CURL* curl = nullptr;
  std::FILE* out = nullptr;
  uint64_t start = 0;  // bytes that were there before
  uint64_t most = 0;   // bytes of the whole file
  uint64_t written = 0;
  bool is_too_long = false, disk_failed = false;
  const DownloadProgress* on_progress = nullptr;
};

size_t Write(char* bytes, size_t, size_t count, void* data) {
  auto& transfer = *static_cast<Transfer*>(data);
  if (transfer.start + transfer.written + count > transfer.most) {
    transfer.is_too_long = true;
    return 0;
  }
  if (std::fwrite(bytes, 1, count, transfer.out) != count) {
    transfer.disk_failed = true;
    return 0;
  }
  transfer.written += count;
  if (*transfer.on_progress) (*transfer.on_progress)(transfer.start + transfer.written);
  return count;
}

struct CurlDeleter {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
using CurlHandle = std::unique_ptr<CURL, CurlDeleter>;

// What one attempt came to.
struct Outcome {
  bool is_done = false, may_try_again = false;
  std::string problem, hint;
};

class Downloader {
 public:
  Downloader(const DownloadRequest& request, const DownloadOptions& options,
             const DownloadProgress& on_progress)
      : request_(request), options_(options), on_progress_(on_progress) {
    part_ = request.file;
    part_ += ".part";
  }

  void Run() {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready != CURLE_OK) ThrowFailed("download", "the network library does not start");
    std::error_code ignored;
    fs::create_directories(request_.file.parent_path(), ignored);
    int wait = options_.wait_milliseconds;
    for (int attempt = 1;; ++attempt) {
      const Outcome outcome = Attempt();
      if (outcome.is_done) break;
      if (!outcome.may_try_again || attempt >= options_.attempts) {
        ThrowFailed(request_.url,
                    StrCat(outcome.problem, attempt > 1 ? StrCat(", ", attempt, " attempts") : "",
                           outcome.hint.empty() ? "" : "; ", outcome.hint));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(wait));
      wait *= 2;
    }
    Finish();
  }

 private:
  uint64_t PartBytes() const {
    std::error_code error;
    const auto size = fs::file_size(part_, error);
    return error ? 0 : static_cast<uint64_t>(size);
  }

  Outcome Attempt() {
    Transfer transfer;
    transfer.start = PartBytes();
    if (transfer.start == request_.bytes) return {true, false, "", ""};
    if (transfer.start > request_.bytes) {
      fs::remove(part_);
      transfer.start = 0;
    }
    transfer.most = request_.bytes;
    transfer.on_progress = &on_progress_;
    transfer.out = std::fopen(part_.c_str(), "ab");
    if (transfer.out == nullptr) {
      ThrowFailed(part_.string(), "cannot be written; is the folder there and yours?");
    }
    const CurlHandle curl(curl_easy_init());
    if (!curl) ThrowFailed("download", "the network library does not start");
    transfer.curl = curl.get();
    SetOptions(curl.get(), transfer);
    char message[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, message);
    const CURLcode code = curl_easy_perform(curl.get());
    const bool closed = std::fclose(transfer.out) == 0;
    if (transfer.disk_failed || !closed) {
      ThrowFailed(part_.string(), "cannot be written; is the disk full?");
    }
    return Judge(curl.get(), code, message, transfer);
  }

  void SetOptions(CURL* curl, Transfer& transfer) const {
    curl_easy_setopt(curl, CURLOPT_URL, request_.url.c_str());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
    const bool is_plain = request_.url.starts_with("http://");
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, is_plain ? "http,https" : "https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, is_plain ? "http,https" : "https");
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.stall_seconds));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "qualm");
    if (transfer.start > 0) {
      curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.start));
    }
    if (!request_.token.empty()) {  // not sent to another host behind a redirect
      curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
      curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, request_.token.c_str());
    }
  }

  Outcome Judge(CURL* curl, CURLcode code, const char* message, const Transfer& transfer) const {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (transfer.is_too_long) {
      return {false, false, StrCat("the file is longer than ", request_.bytes, " bytes"),
              "it has changed at its source"};
    }
    // A server that does not go on in the middle, or has nothing behind what is there: anew.
    if (code == CURLE_RANGE_ERROR || status == 416) {
      std::error_code ignored;
      fs::remove(part_, ignored);
      return {false, true, "the server does not go on where an earlier attempt stopped", ""};
    }
    if (code == CURLE_HTTP_RETURNED_ERROR) {
      const bool again = status == 408 || status == 429 || status >= 500;
      return {false, again, StrCat("the server answers ", status),
              status == 401 || status == 403 ? "a token is taken from QUALM_DATA_TOKEN or HF_TOKEN"
              : status == 404                ? "the file is no longer there"
                                             : ""};
    }
    if (code == CURLE_OK) {
      const uint64_t there = PartBytes();
      if (there == request_.bytes) return {true, false, "", ""};
      return {false, true,
              StrCat("the answer ends after ", there, " of ", request_.bytes, " bytes"),
              "what is there is kept; run it again to go on"};
    }
    const bool is_offline = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
                            code == CURLE_COULDNT_RESOLVE_PROXY;
    const std::string problem = *message != '\0' ? message : curl_easy_strerror(code);
    return {false, code != CURLE_UNSUPPORTED_PROTOCOL && code != CURLE_TOO_MANY_REDIRECTS, problem,
            is_offline
                ? StrCat("is this machine offline? A proxy is taken from https_proxy; or put "
                         "the file at ",
                         request_.file.string(), " yourself")
                : "what is there is kept; run it again to go on"};
  }

  void Finish() {
    const std::string hash = Sha256OfFile(part_);
    if (hash != request_.sha256) {
      fs::remove(part_);
      ThrowFailed(request_.url,
                  StrCat("expected sha256 ", request_.sha256, "; got ", hash,
                         "; the file has changed at its source or on the way; nothing is kept"));
    }
    fs::rename(part_, request_.file);
  }

  const DownloadRequest& request_;
  const DownloadOptions& options_;
  const DownloadProgress& on_progress_;
  fs::path part_;
};

}  // namespace

void Download(const DownloadRequest& request, const DownloadOptions& options,
              const DownloadProgress& on_progress) {
  Downloader(request, options, on_progress).Run();
}

}  // namespace qualm
