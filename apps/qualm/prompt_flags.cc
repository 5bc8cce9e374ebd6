// The flags of prompts, and what they become in the library.
#include "prompt_flags.h"

#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "chat_flags.h"

namespace qualm::cli {
namespace {

// A flag is text where "not given" means the task's own number. Its form was checked when the
// command line was read.
std::optional<uint64_t> NumberOf(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  uint64_t number = 0;
  const auto result = std::from_chars(text->data(), text->data() + text->size(), number);
  QUALM_CHECK(result.ec == std::errc());
  return number;
}

}  // namespace

void AddPromptFlags(Arguments& arguments, PromptFlags& flags) {
  arguments.Add("--shots", flags.shots, "Examples before each row; default: the task's").Whole();
  arguments
      .Add("--fewshot-seed", flags.fewshot_seed,
           "Of tasks that draw their examples; default: 0, of lm-evaluation-harness's 1234")
      .Whole();
  arguments
      .Add("--split", flags.split,
           "Score another split than the task's; SPLIT[:N] is its first N rows")
      .Checked([](const std::string& text) { (void)ParseSplit(text, "--split"); });
  arguments.Add("--fewshot-split", flags.shot_split, "Take examples from another split, likewise")
      .Checked([](const std::string& text) { (void)ParseSplit(text, "--fewshot-split"); });
  AddChatFlags(arguments, flags.settings, std::string(kFixedChatDate));
  arguments.Add("--system", flags.system, "A text in front of every prompt; the system's message");
  arguments.Flag("--multiturn", flags.multiturn,
                 "With a chat template: each example is a turn of the conversation");
}

std::string ComplaintAbout(const PromptFlags& flags) {
  if (flags.chat || !flags.settings.chat_template.empty()) return "";
  if (!flags.multiturn && !AreSet(flags.settings)) return "";
  const char* flag = flags.multiturn               ? "--multiturn"
                     : flags.settings.date.empty() ? "--chat-option"
                                                   : "--date";
  return StrCat("[", flag, "] expected --chat or --chat-template in addition; got neither");
}

ItemOptions ItemOptionsOf(const PromptFlags& flags) {
  ItemOptions options;
  options.shots = NumberOf(flags.shots);
  options.fewshot_seed = NumberOf(flags.fewshot_seed);
  options.split = flags.split;
  options.shot_split = flags.shot_split;
  return options;
}

std::optional<ChatTemplate> FindPromptTemplate(const PromptFlags& flags,
                                               const std::filesystem::path& model_folder,
                                               const ChatOptions& options) {
  if (!flags.chat && flags.settings.chat_template.empty()) return std::nullopt;
  return FindChatTemplate(flags.settings.chat_template, model_folder, options);
}

PromptStyle StyleOf(const PromptFlags& flags, const std::optional<ChatTemplate>& chat) {
  return {chat ? &*chat : nullptr, flags.system, flags.multiturn, flags.settings};
}

}  // namespace qualm::cli
