#include "results/store.h"

#include <gmock/gmock.h>
#include <sqlite3.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <limits>
#include <thread>

#include "base/file.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

class Store : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / (std::string("qualm_store_") + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path file() const { return folder_ / "results.db"; }
  std::filesystem::path folder_;
};

TEST_F(Store, AnswersComeBackAlsoFromAnotherConnection) {
  {
    ResultStore store(file());
    store.PutAnswer("m", "r", 1, {-1.5, true});
    store.PutAnswer("m", "nan", 1, {std::numeric_limits<double>::quiet_NaN(), false});
    store.PutAnswer("m", "r", 1, {-9, false});  // the first one stays
  }
  const ResultStore store(file());
  EXPECT_EQ(store.FindAnswer("m", "r", 1)->log_likelihood, -1.5);
  EXPECT_TRUE(store.FindAnswer("m", "r", 1)->is_greedy);
  EXPECT_TRUE(std::isnan(store.FindAnswer("m", "nan", 1)->log_likelihood));
  EXPECT_FALSE(store.FindAnswer("m", "r", 2));
  EXPECT_FALSE(store.FindAnswer("other", "r", 1));
}

// Bytes come back as they were, also bytes that UTF-8 does not allow.
TEST_F(Store, WindowsAndMeasurementsAreFoundAgain) {
  const std::string bytes("\0\xff\n\0x", 5);
  {
    ResultStore store(file());
    store.PutWindow("m", "r", "w", "old");
    store.PutWindow("m", "r", "w", bytes);
    store.PutMeasurement("m", "speed", "{}");
  }
  const ResultStore store(file());
  EXPECT_EQ(store.FindWindow("m", "r", "w"), bytes);
  EXPECT_FALSE(store.FindWindow("m", "", "w"));
  EXPECT_EQ(store.FindMeasurement("m", "speed"), "{}");
  EXPECT_FALSE(store.FindMeasurement("n", "speed"));
}

// A store of the first schema is taken over: its answers stay, its items get a value.
TEST_F(Store, AnOlderSchemaIsBroughtUpToDate) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(file().c_str(), &db), SQLITE_OK);
  const char* old = R"(
    CREATE TABLE answers(model TEXT NOT NULL, request TEXT NOT NULL, protocol INTEGER NOT NULL,
      log_likelihood REAL, is_greedy INTEGER NOT NULL,
      PRIMARY KEY(model, request, protocol)) WITHOUT ROWID;
    CREATE TABLE evaluations(id INTEGER PRIMARY KEY, model TEXT NOT NULL, task TEXT NOT NULL,
      version INTEGER NOT NULL, shots INTEGER NOT NULL, fewshot_seed INTEGER NOT NULL,
      row_limit INTEGER NOT NULL, prompt_hash TEXT NOT NULL, is_finished INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE items(evaluation INTEGER NOT NULL, item INTEGER NOT NULL, subset TEXT NOT NULL,
      row INTEGER NOT NULL, gold INTEGER NOT NULL, picked INTEGER NOT NULL,
      is_correct INTEGER NOT NULL, is_near_tie INTEGER NOT NULL,
      PRIMARY KEY(evaluation, item)) WITHOUT ROWID;
    INSERT INTO answers VALUES('m', 'r', 1, -2.5, 1);
    INSERT INTO items VALUES(1, 0, '', 5, 0, 0, 1, 0), (1, 1, '', 6, 0, 1, 0, 0);
    PRAGMA application_id = 0x7175616c;
    PRAGMA user_version = 1;)";
  ASSERT_EQ(sqlite3_exec(db, old, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
  for (int round = 0; round < 2; ++round) {
    ResultStore store(file());
    EXPECT_EQ(store.FindAnswer("m", "r", 1)->log_likelihood, -2.5);
    const std::vector<StoredItem> items = store.Items(1);
    ASSERT_EQ(items.size(), 2u);
    EXPECT_EQ(items[0].value, 1);
    EXPECT_EQ(items[1].value, 0);
    store.PutText("m", "t", 1, {"said", 3, "stop"});
    EXPECT_EQ(store.FindText("m", "t", 1)->text, "said");
    EXPECT_FALSE(store.FindText("m", "t", 2));
  }
}

// One of the second schema knows no files of its evaluations; it keeps them with their ids, and a
// new run of the same task is another evaluation.
TEST_F(Store, TheSecondSchemaIsBroughtUpToDate) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(file().c_str(), &db), SQLITE_OK);
  const char* old = R"(
    CREATE TABLE evaluations(id INTEGER PRIMARY KEY, model TEXT NOT NULL, task TEXT NOT NULL,
      version INTEGER NOT NULL, shots INTEGER NOT NULL, fewshot_seed INTEGER NOT NULL,
      row_limit INTEGER NOT NULL, prompt_hash TEXT NOT NULL, is_finished INTEGER NOT NULL DEFAULT 0,
      UNIQUE(model, task, version, shots, fewshot_seed, row_limit, prompt_hash));
    INSERT INTO evaluations VALUES(7, 'm', 'boolq', 1, 0, 0, 0, 'p', 1);
    PRAGMA application_id = 0x7175616c;
    PRAGMA user_version = 2;)";
  ASSERT_EQ(sqlite3_exec(db, old, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);

  ResultStore store(file());
  ASSERT_EQ(store.Evaluations().size(), 1u);
  EvaluationKey key = store.Evaluations()[0].key;
  EXPECT_EQ(key.files, "");
  EXPECT_TRUE(store.Evaluations()[0].is_finished);
  EXPECT_EQ(store.PutEvaluation(key), 7);
  key.files = "f";
  const int64_t other = store.PutEvaluation(key);
  EXPECT_NE(other, 7);
  EXPECT_EQ(store.PutEvaluation(key), other);
}

// A file of the model was changed and the model asked again: the path means what is there now.
TEST_F(Store, APathIsTheModelThatWasThereLast) {
  ResultStore store(file());
  store.PutModel("aaaa", "/models/m");
  store.PutModel("bbbb", "/models/m");
  EXPECT_EQ(store.FindModel("/models/m"), "bbbb");
  EXPECT_EQ(store.FindModel("m"), "bbbb");
  EXPECT_EQ(store.PathOfModel("aaaa"), "/models/m (before)");
  store.PutModel("aaaa", "/models/m");
  EXPECT_EQ(store.FindModel("/models/m"), "aaaa");
  EXPECT_EQ(store.FindModel("bb"), "bbbb");
}

// Python's sqlite3 and other readers fail on a text that is none.
TEST_F(Store, TextsAreUtf8WhateverTheRowsHold) {
  ResultStore store(file());
  store.PutText("m", "t", 1, {"caf\xe9", 1, "stop"});
  EXPECT_EQ(store.FindText("m", "t", 1)->text, "caf\xef\xbf\xbd");
}

TEST_F(Store, SeveralMayMakeItAtOnce) {
  for (int round = 0; round < 20; ++round) {
    const std::filesystem::path made = folder_ / std::to_string(round);
    std::atomic<int> opened = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        ResultStore store(made);
        store.PutAnswer("m", std::to_string(i), 1, {-1, true});
        ++opened;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(opened, 8);
  }
}

TEST_F(Store, WhatIsNotCommittedIsTakenBack) {
  {
    ResultStore store(file());
    store.Begin();
    store.PutAnswer("m", "kept", 1, {-1, true});
    store.Commit();
    store.Begin();
    store.PutAnswer("m", "lost", 1, {-1, true});
  }
  const ResultStore store(file());
  EXPECT_TRUE(store.FindAnswer("m", "kept", 1));
  EXPECT_FALSE(store.FindAnswer("m", "lost", 1));
}

TEST_F(Store, EvaluationsItemsAndRequests) {
  ResultStore store(file());
  store.PutModel("abc", "/models/first");
  store.PutModel("abd", "/models/b");
  EXPECT_EQ(store.FindModel("abc"), "abc");
  EXPECT_EQ(store.FindModel("/models/b"), "abd");
  EXPECT_EQ(store.FindModel("first"), "abc");  // the folder's name
  EXPECT_THAT(ErrorOf([&] { store.FindModel("ab"); }), HasSubstr("which is several"));
  EXPECT_THAT(ErrorOf([&] { store.FindModel("f_rst"); }), HasSubstr("which is none"));
  EXPECT_THAT(ErrorOf([&] { store.FindModel("zz"); }), HasSubstr("/models/first"));

  EvaluationKey key{"abc", "mmlu", 2, 5, 0, 100, "p"};
  const int64_t id = store.PutEvaluation(key);
  EXPECT_EQ(store.PutEvaluation(key), id);
  key.shots = 0;
  EXPECT_NE(store.PutEvaluation(key), id);
  const StoredItem item = {1, "anatomy", 7, 2, 3, false, true, 0.25, "said"};
  store.PutItem(id, item);
  store.PutReading(id, {1, 1, "last", "5", 0.5});
  store.PutReading(id, {1, 0, "strict", "4", 1});
  ASSERT_EQ(store.Readings(id, 1).size(), 2u);
  EXPECT_EQ(store.Readings(id, 1)[0].filter, "strict");
  EXPECT_EQ(store.Readings(id, 1)[1].prediction, "5");
  EXPECT_EQ(store.Readings(id, 1)[1].value, 0.5);
  store.PutItem(id, item);  // asked again: readings of before are gone
  EXPECT_TRUE(store.Readings(id, 1).empty());
  StoredRequest request;
  request.item = 1;
  request.choice = 0;
  request.request = "r";
  request.prompt = "shots ";
  request.context = "Q";
  request.continuation = " A";
  store.PutRequest(id, request);
  store.PutAnswer("abc", "r", 1, {-2, false});
  store.FinishEvaluation(id);

  const std::vector<StoredEvaluation> all = store.Evaluations();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_TRUE(all[0].is_finished);
  EXPECT_FALSE(all[1].is_finished);
  EXPECT_EQ(all[0].key.limit, 100u);
  EXPECT_TRUE(store.Evaluations("abd").empty());
  ASSERT_EQ(store.Items(id).size(), 1u);
  EXPECT_EQ(store.Items(id)[0].picked, 3);
  const std::vector<StoredRequest> requests = store.Requests(id, 1, "abc", 1);
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].prompt + requests[0].context, "shots Q");
  EXPECT_EQ(requests[0].answer.log_likelihood, -2);
  EXPECT_TRUE(std::isnan(store.Requests(id, 1, "abd", 1)[0].answer.log_likelihood));
}

TEST_F(Store, WhatIsNoStoreIsRefusedAndLeftAlone) {
  WriteFileAtomically(file(), "this is no database, whatever its name says ...............");
  EXPECT_THAT(ErrorOf([&] { ResultStore store(file()); }), HasSubstr("a results store"));
  EXPECT_EQ(ReadFile(file()).substr(0, 7), "this is");
  EXPECT_THAT(ErrorOf([&] { ResultStore store(folder_ / "no" / "folder.db"); }),
              HasSubstr("folder.db"));
}

TEST_F(Store, TwoConnectionsWriteInTurn) {
  ResultStore first(file()), second(file());
  first.Begin();
  first.PutAnswer("m", "a", 1, {-1, true});
  first.Commit();
  second.Begin();
  second.PutAnswer("m", "a", 1, {-1, true});
  second.PutAnswer("m", "b", 1, {-2, true});
  second.Commit();
  EXPECT_TRUE(first.FindAnswer("m", "b", 1));
}

}  // namespace
}  // namespace qualm
