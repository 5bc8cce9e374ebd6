// Names of the hub against a cache made by hand, with links as the hub's own tools make them.
#include "model/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::AllOf;
using testing::ErrorOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

// An environment variable for the time of a test; null: unset.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
  }
  ~Variable() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

const std::string kFirst = "0123456789abcdef0123456789abcdef01234567";
const std::string kSecond = "0123ffff89abcdef0123456789abcdef01234567";

class HubCache : public ::testing::Test {
 protected:
  HubCache() : variable_("HF_HUB_CACHE", cache_.path().c_str()) {
    AddSnapshot(kFirst, {"config.json", "model.safetensors"});
    AddSnapshot(kSecond, {"config.json", "pytorch_model.bin.index.json"});
    fs::create_directories(Repository() / "refs/pr");
    cache_.Write("models--some-org--a.model_1/refs/main", kFirst);
    cache_.Write("models--some-org--a.model_1/refs/pr/1", kSecond + "\n");
  }

  fs::path Repository() const { return cache_ / "models--some-org--a.model_1"; }
  fs::path Snapshot(const std::string& commit) const { return Repository() / "snapshots" / commit; }
  // Files of a snapshot are links to blobs.
  void AddSnapshot(const std::string& commit, const std::vector<std::string>& files) {
    fs::create_directories(Snapshot(commit));
    fs::create_directories(Repository() / "blobs");
    for (const std::string& file : files) {
      const std::string blob = commit.substr(0, 6) + file;
      cache_.Write("models--some-org--a.model_1/blobs/" + blob,
                   R"({"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}})");
      fs::create_symlink("../../blobs/" + blob, Snapshot(commit) / file);
    }
  }
  static std::string Complaint(const std::string& model) {
    return ErrorOf([&] { (void)FindModelFolder(model); });
  }

  testing::TemporaryFolder cache_;
  Variable variable_;
};

TEST_F(HubCache, FindsSnapshotsByRevision) {
  EXPECT_EQ(FindModelFolder("some-org/a.model_1"), Snapshot(kFirst));
  EXPECT_EQ(FindModelFolder("some-org/a.model_1@main"), Snapshot(kFirst));
  EXPECT_EQ(FindModelFolder("some-org/a.model_1@" + kFirst), Snapshot(kFirst));
  EXPECT_EQ(FindModelFolder("some-org/a.model_1@01234"), Snapshot(kFirst));
  EXPECT_EQ(FindModelFolder("some-org/a.model_1@0123f", ModelParts::kWithoutWeights),
            Snapshot(kSecond));
  EXPECT_TRUE(IsInHubCache("some-org/a.model_1@none"));
  EXPECT_FALSE(IsInHubCache("some-org/another"));
}

TEST_F(HubCache, SaysWhatIsMissingAndHowToGetIt) {
  EXPECT_THAT(Complaint("some-org/another"),
              AllOf(HasSubstr("[some-org/another]"), HasSubstr(cache_.path().string()),
                    HasSubstr("hf download some-org/another")));
  EXPECT_THAT(Complaint("some-org/a.model_1@v2"),
              AllOf(HasSubstr("refs main, pr; commits 0123456789"),
                    HasSubstr("hf download some-org/a.model_1 --revision v2")));
  EXPECT_THAT(Complaint("some-org/a.model_1@0123"), HasSubstr("one commit's hash; got 0123456789"));
  EXPECT_THAT(Complaint("some-org/a.model_1@pr/1"),
              AllOf(HasSubstr("the file pytorch_model-00001-of-00001.bin in "), HasSubstr(kSecond),
                    HasSubstr("--revision pr/1")));

  // A link whose blob is gone, then no weights at all.
  fs::remove(Repository() / "blobs" / (kFirst.substr(0, 6) + "config.json"));
  EXPECT_THAT(Complaint("some-org/a.model_1"), HasSubstr("the file config.json in "));
  cache_.Write("models--some-org--a.model_1/blobs/012345config.json", "{}");
  fs::remove(Snapshot(kFirst) / "model.safetensors");
  EXPECT_THAT(Complaint("some-org/a.model_1"), HasSubstr("the file model.safetensors in "));

  fs::remove_all(Snapshot(kFirst));
  EXPECT_THAT(Complaint("some-org/a.model_1"), HasSubstr("the snapshot "));
  cache_.Write("models--some-org--a.model_1/refs/main", "../../evil");
  EXPECT_THAT(Complaint("some-org/a.model_1"), HasSubstr("40 digits; got '../../evil'"));
}

// Nothing leads out of the cache, and other texts are left to the reader of folders.
TEST_F(HubCache, OtherTextsAreFolders) {
  for (const std::string text :
       {"plain", "/some-org/a.model_1", "./some-org/a", "a/b/c", "../x", "some-org/a.model_1@../x",
        "some-org/a--b", "some-org/", "a/.b", "some-org/a.model_1@", ""}) {
    EXPECT_EQ(FindModelFolder(text), fs::path(text)) << text;
  }
}

TEST_F(HubCache, AFolderOfThatNameWins) {
  const testing::TemporaryFolder work;
  const fs::path before = fs::current_path();
  fs::current_path(work.path());
  fs::create_directories("some-org/a.model_1");
  EXPECT_EQ(FindModelFolder("some-org/a.model_1"), fs::path("some-org/a.model_1"));
  fs::current_path(before);
}

TEST(HubCacheFolder, FollowsTheVariablesOfTheHub) {
  const Variable cache("HF_HUB_CACHE", nullptr), caches("XDG_CACHE_HOME", nullptr);
  const Variable home("HOME", "/home/someone");
  {
    const Variable hub("HF_HOME", nullptr);
    EXPECT_EQ(HubCacheFolder(), fs::path("/home/someone/.cache/huggingface/hub"));
    const Variable xdg("XDG_CACHE_HOME", "/caches");
    EXPECT_EQ(HubCacheFolder(), fs::path("/caches/huggingface/hub"));
  }
  const Variable hub("HF_HOME", "~/hf");
  EXPECT_EQ(HubCacheFolder(), fs::path("/home/someone/hf/hub"));
  const Variable exact("HF_HUB_CACHE", "/exact");
  EXPECT_EQ(HubCacheFolder(), fs::path("/exact"));
}

}  // namespace
}  // namespace qualm
