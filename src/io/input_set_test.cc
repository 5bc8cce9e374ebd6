#include "io/input_set.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "io/json_fields.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

class InputSets : public ::testing::Test {
 protected:
  InputSet SetOf(const std::string& folder, const std::string& content) const {
    std::filesystem::create_directories(folder_.path() / folder);
    WriteFileAtomically(folder_.path() / folder / "a.txt", content);
    InputSet inputs;
    inputs.Add("a.txt", folder_.path() / folder / "a.txt");
    inputs.AddText("built in", "text");
    return inputs;
  }
  testing::TemporaryFolder folder_;
};

TEST_F(InputSets, TheHashIsOfRolesAndContentsNotOfPlaces) {
  const std::string hash = SetOf("x", "one").Hash();
  EXPECT_EQ(SetOf("y", "one").Hash(), hash);
  EXPECT_NE(SetOf("x", "two").Hash(), hash);

  InputSet other_role;
  other_role.Add("b.txt", folder_.path() / "y" / "a.txt");
  other_role.AddText("built in", "text");
  EXPECT_NE(other_role.Hash(), hash);
  InputSet other_text;
  other_text.Add("a.txt", folder_.path() / "y" / "a.txt");
  other_text.AddText("built in", "another");
  EXPECT_NE(other_text.Hash(), hash);
}

TEST_F(InputSets, AFileIsThereOnce) {
  InputSet inputs = SetOf("x", "one");
  inputs.Add("a.txt", folder_.path() / "x" / "a.txt");
  inputs.AddText("built in", "text");
  inputs.Add(SetOf("x", "one"));
  EXPECT_EQ(inputs.files().size(), 2u);
}

TEST_F(InputSets, TheFirstThatDiffersIsFound) {
  InputSet planned = SetOf("x", "one"), same = SetOf("y", "one"), other = SetOf("z", "two");
  EXPECT_EQ(planned.FirstOther(same), nullptr);
  ASSERT_NE(planned.FirstOther(other), nullptr);
  EXPECT_EQ(planned.FirstOther(other)->role, "a.txt");
}

TEST_F(InputSets, ComeBackFromARecordWithTheirHashes) {
  InputSet inputs = SetOf("x", "one");
  const std::string hash = inputs.Hash();
  std::filesystem::remove_all(folder_.path() / "x");  // is not read again
  EXPECT_EQ(FieldsFrom<InputSet>(FieldsJson(inputs), "r").Hash(), hash);
}

}  // namespace
}  // namespace qualm
