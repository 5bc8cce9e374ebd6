// Runs of `qualm quantize` on the embedded demo model, in a folder of the test's own.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "data/corpus.h"
#include "quantize/run.h"
#include "support/shared_data.h"
#include "support/test_context.h"
#include "tokenize/tokenizer.h"

namespace qualm::testing {

class DemoRun : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("qualm_") + test->test_suite_name() + "_" + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::filesystem::path DemoModel() { return SourceRoot() / "demo/model"; }

  // `recipe` is the name of a built-in one or, with line ends, YAML.
  QuantizeOptions Options(const std::string& recipe, const std::string& out,
                          const std::filesystem::path& model = DemoModel()) const {
    QuantizeOptions options;
    options.model = model;
    options.out = folder_ / out;
    options.recipe =
        recipe.find('\n') == std::string::npos ? FindRecipe(recipe) : ParseRecipe(recipe, "test");
    SamplerOptions sampler;
    sampler.samples = 4;
    sampler.length = 96;
    sampler.held_out = 2;
    options.calibration =
        SampleCalibration(LoadCorpus(SourceRoot() / "demo/text/stories.calib.txt"),
                          *LoadTokenizer(DemoModel()), sampler);
    options.qualm_version = "test";
    return options;
  }

  static Manifest Run(const QuantizeOptions& options, int threads = 2) {
    TestContext context(threads);
    return QuantizeModel(options, context).manifest;
  }

  std::filesystem::path folder_;
};

}  // namespace qualm::testing
