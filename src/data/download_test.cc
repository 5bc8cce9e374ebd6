// Downloads against a server in this process that fails, cuts, redirects, stalls and lies.
#include "data/download.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "data/sha256.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kContent = [] {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += StrCat("line ", i, "\n");
  return text;
}();

// Answers each request with the next of the given functions; the last one stays.
class Server {
 public:
  struct Reply {
    std::string bytes;      // as they go out
    int stall_seconds = 0;  // before the connection is closed
  };
  using Answer = std::function<Reply(const std::string& request)>;

  explicit Server(std::vector<Answer> answers) : answers_(std::move(answers)) {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(socket_, 8), 0);
    socklen_t size = sizeof(address);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~Server() {
    ::shutdown(socket_, SHUT_RDWR);
    ::close(socket_);
    thread_.join();
  }

  std::string Url(const std::string& host = "127.0.0.1") const {
    return StrCat("http://", host, ":", port_, "/file");
  }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void Serve() {
    while (true) {
      const int client = ::accept(socket_, nullptr, nullptr);
      if (client < 0) return;
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = ::recv(client, buffer, sizeof(buffer), 0);
        if (got <= 0) break;
        request.append(buffer, static_cast<size_t>(got));
      }
      size_t number = 0;
      {
        const std::lock_guard lock(mutex_);
        number = requests_.size();
        requests_.push_back(request);
      }
      const Reply reply = answers_[std::min(number, answers_.size() - 1)](request);
      (void)::send(client, reply.bytes.data(), reply.bytes.size(), MSG_NOSIGNAL);
      if (reply.stall_seconds > 0) {
        std::this_thread::sleep_for(std::chrono::seconds(reply.stall_seconds));
      }
      ::close(client);
    }
  }

  std::vector<Answer> answers_;
  int socket_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<std::string> requests_;
};

using Reply = Server::Reply;

std::string Head(const std::string& status, size_t length, const std::string& more = "") {
  return StrCat("HTTP/1.1 ", status, "\r\nContent-Length: ", length, "\r\nConnection: close\r\n",
                more, "\r\n");
}

Reply Whole(const std::string&) { return {Head("200 OK", kContent.size()) + kContent}; }

// From where the request asks; the whole where it does not.
Reply Ranged(const std::string& request) {
  const size_t at = request.find("Range: bytes=");
  if (at == std::string::npos) return Whole(request);
  const size_t from = std::stoul(request.substr(at + 13));
  return {Head("206 Partial Content", kContent.size() - from,
               StrCat("Content-Range: bytes ", from, "-", kContent.size() - 1, "/", kContent.size(),
                      "\r\n")) +
          kContent.substr(from)};
}

Reply Cut(const std::string&) {
  return {Head("200 OK", kContent.size()) + kContent.substr(0, kContent.size() / 2)};
}

Server::Answer Status(const std::string& status) {
  return [status](const std::string&) { return Reply{Head(status, 0)}; };
}

class DownloadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / StrCat("qualm_download_", test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    WriteFileAtomically(folder_ / "content", kContent);
    options_.wait_milliseconds = 1;
    options_.stall_seconds = 1;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  DownloadRequest Ask(const std::string& url) const {
    return {url, folder_ / "sub/got", Sha256OfFile(folder_ / "content"), kContent.size(), ""};
  }
  void ExpectGot() const {
    EXPECT_EQ(ReadFile(folder_ / "sub/got"), kContent);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "sub/got.part"));
  }
  std::string Refusal(const DownloadRequest& request) {
    const std::string error = ErrorOf([&] { Download(request, options_); });
    EXPECT_FALSE(std::filesystem::exists(folder_ / "sub/got"));
    return error;
  }

  std::filesystem::path folder_;
  DownloadOptions options_;
};

TEST_F(DownloadTest, AWholeFile) {
  Server server({Whole});
  uint64_t last = 0;
  Download(Ask(server.Url()), options_, [&](uint64_t bytes) { last = bytes; });
  ExpectGot();
  EXPECT_EQ(last, kContent.size());
}

TEST_F(DownloadTest, AServerThatFailsAtFirst) {
  Server server({Status("503 Busy"), Status("500 Oh"), Whole});
  Download(Ask(server.Url()), options_);
  ExpectGot();
  EXPECT_EQ(server.requests().size(), 3u);
}

TEST_F(DownloadTest, ACutAnswerGoesOnWhereItStopped) {
  Server server({Cut, Ranged});
  Download(Ask(server.Url()), options_);
  ExpectGot();
  EXPECT_THAT(server.requests().at(1), HasSubstr(StrCat("Range: bytes=", kContent.size() / 2)));
}

TEST_F(DownloadTest, AServerThatCannotGoOnBeginsAnew) {
  Server server({Cut, Whole});
  Download(Ask(server.Url()), options_);
  ExpectGot();
}

TEST_F(DownloadTest, AnotherRunGoesOn) {
  options_.attempts = 1;
  {
    Server server({Cut});
    EXPECT_THAT(Refusal(Ask(server.Url())), HasSubstr("what is there is kept"));
  }
  Server server({Ranged});
  Download(Ask(server.Url()), options_);
  ExpectGot();
  EXPECT_THAT(server.requests().at(0), HasSubstr("Range: bytes="));
}

TEST_F(DownloadTest, AServerThatStalls) {
  Server server({[](const std::string& request) {
                   Reply reply = Cut(request);
                   reply.stall_seconds = 3;
                   return reply;
                 },
                 Ranged});
  Download(Ask(server.Url()), options_);
  ExpectGot();
}

TEST_F(DownloadTest, RedirectsAreFollowedTheTokenIsNot) {
  Server other({Whole});
  Server server({[&](const std::string&) {
    return Reply{Head("302 Found", 0, StrCat("Location: ", other.Url("localhost"), "\r\n"))};
  }});
  DownloadRequest request = Ask(server.Url());
  request.token = "secret";
  Download(request, options_);
  ExpectGot();
  EXPECT_THAT(server.requests().at(0), HasSubstr("Authorization: Bearer secret"));
  EXPECT_THAT(other.requests().at(0), Not(HasSubstr("secret")));
}

TEST_F(DownloadTest, ARedirectInACircleEnds) {
  Server* self = nullptr;
  Server server({[&](const std::string&) {
    return Reply{Head("302 Found", 0, StrCat("Location: ", self->Url(), "\r\n"))};
  }});
  self = &server;
  EXPECT_THAT(Refusal(Ask(server.Url())), HasSubstr("redirect"));
}

TEST_F(DownloadTest, WhatIsNotThereOrForbiddenIsNotAskedAgain) {
  Server missing({Status("404 Not Found")});
  EXPECT_THAT(Refusal(Ask(missing.Url())), HasSubstr("answers 404; the file is no longer there"));
  EXPECT_EQ(missing.requests().size(), 1u);
  Server forbidden({Status("401 Unauthorized")});
  EXPECT_THAT(Refusal(Ask(forbidden.Url())), HasSubstr("a token is taken from QUALM_DATA_TOKEN"));
}

TEST_F(DownloadTest, OtherContentIsThrownAway) {
  Server other({[](const std::string&) {
    std::string text = kContent;
    text[7] ^= 1;
    return Reply{Head("200 OK", text.size()) + text};
  }});
  EXPECT_THAT(Refusal(Ask(other.Url())), HasSubstr("expected sha256"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "sub/got.part"));
  Server longer({[](const std::string&) {
    return Reply{Head("200 OK", kContent.size() + 1) + kContent + "x"};
  }});
  EXPECT_THAT(Refusal(Ask(longer.Url())), HasSubstr("longer than"));
}

TEST_F(DownloadTest, NoServerIsSaidWithAHint) {
  options_.attempts = 2;
  std::string url;
  {
    Server server({Whole});
    url = server.Url();
  }
  EXPECT_THAT(Refusal(Ask(url)), HasSubstr("2 attempts; is this machine offline?"));
}

}  // namespace
}  // namespace qualm
