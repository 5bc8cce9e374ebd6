#include "metrics/python_sandbox.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace qualm {
namespace {

class Sandbox : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      (void)RunsToItsEnd("");
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
};

TEST_F(Sandbox, RightAndWrongPrograms) {
  EXPECT_TRUE(RunsToItsEnd("assert 1 + 1 == 2"));
  EXPECT_FALSE(RunsToItsEnd("assert 1 + 1 == 3"));
  EXPECT_FALSE(RunsToItsEnd("def broken(:"));
}

TEST_F(Sandbox, LeavingEarlyIsNoSuccess) {
  EXPECT_FALSE(RunsToItsEnd("import os; os._exit(0)"));
  EXPECT_FALSE(RunsToItsEnd("raise SystemExit(0)"));
}

TEST_F(Sandbox, TimeMemoryAndOutputAreBounded) {
  const SandboxLimits limits = {1, uint64_t{256} << 20, uint64_t{1} << 20};
  EXPECT_FALSE(RunsToItsEnd("while True: pass", limits));
  EXPECT_FALSE(RunsToItsEnd("import time; time.sleep(60)", limits));
  EXPECT_FALSE(RunsToItsEnd("x = bytearray(1 << 30)", limits));
  EXPECT_FALSE(RunsToItsEnd("open('f', 'wb').write(bytes(1 << 22))", limits));
  EXPECT_TRUE(RunsToItsEnd("print('x' * (1 << 22))", limits));  // read and thrown away
}

TEST_F(Sandbox, NeitherNetworkNorFilesNorEnvironment) {
  EXPECT_FALSE(RunsToItsEnd("import socket; socket.create_connection(('127.0.0.1', 1), 1)"));
  EXPECT_TRUE(
      RunsToItsEnd("import socket\n"
                   "assert [name for _, name in socket.if_nameindex()] == ['lo']"));
  EXPECT_TRUE(
      RunsToItsEnd("import os\nfor p in ('/home', '/root', '/etc/passwd', '/work'):\n"
                   "  assert not os.path.exists(p), p"));
  EXPECT_FALSE(RunsToItsEnd("open('/usr/x', 'w')"));
  EXPECT_TRUE(RunsToItsEnd("import os; assert os.getuid() == 65534 and 'HOME' not in os.environ"));
  EXPECT_TRUE(RunsToItsEnd("open('/tmp/x', 'w').write('1')"));
}

}  // namespace
}  // namespace qualm
