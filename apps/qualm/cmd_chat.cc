// qualm chat: a conversation with a model. A terminal shows answers as they are written; from a
// pipe every line is a turn, so that scripts can ask. Answers go to standard output, all else to
// standard error.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "chat_flags.h"
#include "cli.h"
#include "generate/conversation.h"
#include "model/model.h"
#include "model_flags.h"
#include "text_flags.h"
#include "tokenize/utf8.h"

namespace qualm::cli {
namespace {

// Caches are as long as the conversation may become; a model's whole context can be too much.
constexpr size_t kDefaultContext = 8192;

constexpr const char* kHelp =
    "/reset       begin anew, with the system message\n"
    "/save FILE   write the conversation as JSON, for --messages\n"
    "/help        this list\n"
    "/exit        end; so does Ctrl-D\n"
    "//...        a message that begins with a slash\n"
    "Ctrl-C stops the answer that is being written.";

struct Flags {
  ModelFlags model;
  std::string system, messages;
  uint64_t context = 0;  // tokens; 0: the default
  ChatSettings chat;
  TextFlags text;
};

// Set by Ctrl-C.
volatile std::sig_atomic_t was_interrupted = 0;

// Turns Ctrl-C into a flag as long as it lives. Reading a line ends with an error then, because
// system calls are not started again.
class InterruptFlag {
 public:
  InterruptFlag() {
    struct sigaction action {};
    action.sa_handler = [](int) { was_interrupted = 1; };
    sigaction(SIGINT, &action, &before_);
  }
  ~InterruptFlag() { sigaction(SIGINT, &before_, nullptr); }
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;

 private:
  struct sigaction before_ {};
};

// Lines of standard input, with a prompt if a person types them.
class LineReader {
 public:
  LineReader() : is_terminal_(isatty(STDIN_FILENO) != 0) {}
  ~LineReader() { std::free(buffer_); }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool is_terminal() const { return is_terminal_; }

  // The next line without its end; none at the end of the input.
  std::optional<std::string> Next() {
    while (true) {
      if (is_terminal_) std::fputs("> ", stderr);
      errno = 0;
      const ssize_t size = ::getline(&buffer_, &capacity_, stdin);
      if (size >= 0) return WithoutEnd({buffer_, static_cast<size_t>(size)});
      if (errno != EINTR || !is_terminal_) return std::nullopt;

      // Ctrl-C without an answer to stop.
      std::clearerr(stdin);
      was_interrupted = 0;
      std::fputs("\n/exit or Ctrl-D ends the conversation\n", stderr);
    }
  }

 private:
  static std::string WithoutEnd(std::string_view line) {
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return std::string(line);
  }

  bool is_terminal_;
  char* buffer_ = nullptr;
  size_t capacity_ = 0;
};

// Reads turns and prints answers until the input ends.
class ChatSession {
 public:
  ChatSession(const Flags& flags, const Globals& globals, const GenerateOptions& options,
              Conversation& conversation, Progress& progress)
      : flags_(flags),
        globals_(globals),
        options_(options),
        conversation_(conversation),
        progress_(progress) {}

  // The exit code: a script must learn that something was not saved, a person was told.
  int Run() {
    Converse();
    return has_failed_ && !lines_.is_terminal() ? kFailed : kOk;
  }

 private:
  void Converse() {
    // Without a person, Ctrl-C between two answers ends the program as usual.
    std::optional<InterruptFlag> flag;
    if (lines_.is_terminal()) flag.emplace();
    while (const std::optional<std::string> line = lines_.Next()) {
      try {
        if (!Handle(*line)) return;
      } catch (const Error& error) {
        // A person can say something else; a script would not notice.
        if (!lines_.is_terminal() || error.kind() != ErrorKind::kBadInput) throw;
        std::fprintf(stderr, "qualm: %s\n", error.what());
      }
    }
    if (lines_.is_terminal()) std::fputc('\n', stderr);
  }

  // False if the conversation is to end.
  bool Handle(const std::string& line) {
    if (Trim(line).empty()) return true;
    if (!line.starts_with('/')) return Say(line);
    if (line.starts_with("//")) return Say(line.substr(1));

    // A command, and what follows it.
    const std::string_view whole = Trim(line);
    const size_t blank = std::min(whole.find(' '), whole.size());
    const std::string command(whole.substr(0, blank));
    const std::string argument(Trim(whole.substr(blank)));
    if (command == "/exit") return false;
    if (command == "/reset") {
      conversation_.Reset();
      progress_.Info("the conversation begins anew");
    } else if (command == "/save") {
      Save(argument);
    } else if (command == "/help") {
      std::fprintf(stderr, "%s\n", kHelp);
    } else {
      ThrowUnknownName("chat", "command", command,
                       std::vector<std::string>{"/exit", "/help", "/reset", "/save"});
    }
    return true;
  }

  // What cannot be written does not end the conversation, which would be lost.
  void Save(const std::string& file) {
    if (file.empty()) ThrowBadInput("/save", "a file", "none", "/save talk.json");
    try {
      WriteJsonFile(file, ToJson(conversation_.messages()));
    } catch (const Error& error) {
      // The error names the temporary file that is written first.
      const std::string_view reason = error.what();
      std::fprintf(stderr, "qualm: [/save %s] %s\n", file.c_str(),
                   std::string(reason.substr(reason.find("] ") + 2)).c_str());
      has_failed_ = true;
      return;
    }
    progress_.Info(StrCat(conversation_.messages().size(), " messages are in ", file));
  }

  // False if standard output cannot be written any more.
  bool Say(const std::string& line) {
    WarnOfBytes(line, "message", progress_);
    bool is_open = true, has_begun = false;
    TextWatch watch;
    watch.is_interrupted = [] { return was_interrupted != 0; };
    watch.on_text = [&](std::string_view piece) {
      if (globals_.json) return true;
      // Blanks in front of an answer are not part of it.
      if (!has_begun)
        piece.remove_prefix(std::min(piece.find_first_not_of(" \t\r\n"), piece.size()));
      has_begun |= !piece.empty();
      Print(piece);
      is_open = std::fflush(stdout) == 0;
      return is_open;
    };

    // Each turn draws from a stream of its number.
    const InterruptFlag flag;
    was_interrupted = 0;
    GenerateOptions options = options_;
    options.seed += turns_++;
    const ChatAnswer answer = conversation_.Say(RepairUtf8(line), options, flags_.text.stop, watch);
    Show(answer);
    was_interrupted = 0;
    return is_open && std::fflush(stdout) == 0;
  }

  // The end of an answer that was printed as it came, or all of it as JSON.
  void Show(const ChatAnswer& answer) {
    const WrittenText& written = answer.written;
    if (globals_.json) {
      PrintJson({{"turn", turns_},
                 {"text", answer.content},
                 {"finish_reason", FinishReasonName(written.reason)},
                 {"tokens", written.ids.size()},
                 {"prompt_tokens", answer.prompt_tokens},
                 {"computed_tokens", written.computed_tokens},
                 {"turns_left_out", answer.turns_left_out}});
      return;
    }
    Print("\n");
    if (written.reason == FinishReason::kLength) progress_.Info("(--max-tokens)");
    if (written.reason == FinishReason::kInterrupted) progress_.Info("(stopped)");
  }

  const Flags& flags_;
  const Globals& globals_;
  const GenerateOptions& options_;
  Conversation& conversation_;
  Progress& progress_;
  LineReader lines_;
  uint64_t turns_ = 0;
  bool has_failed_ = false;  // something was not saved
};

int Run(const Flags& flags, const Globals& globals) {
  // The model, its template and its settings; what is wrong with one of them is said at once.
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  WarnOfBytes(flags.system, "--system", *progress);
  const std::vector<ChatMessage> messages = OpeningMessages(flags.system, flags.messages);
  const ChatOptions chat_options = ChatOptionsOfToday(flags.chat);
  const ModelSource source = SourceOf(flags.model);
  const ChatTemplate chat = FindChatTemplate(flags.chat.chat_template, source.folder, chat_options);
  ThreadPool pool(globals.threads);
  const Context context{pool, *progress};
  const Model model = LoadModel(source, {}, context);
  const Tokenizer& tokenizer = model.RequireTokenizer();
  const GenerateOptions options = TextOptionsOf(flags.text, model);

  const size_t capacity = std::min<size_t>(model.decoder->plan.context,
                                           flags.context == 0 ? kDefaultContext : flags.context);
  progress->Info(StrCat(ChatText(chat, chat_options), "; context ", capacity, " tokens"));
  ShowTextOptions(flags.text, options, model, *progress);

  TextWriter writer(*model.decoder, tokenizer, capacity, context);
  Conversation conversation(chat, tokenizer, writer, messages, *progress);
  return ChatSession(flags, globals, options, conversation, *progress).Run();
}

}  // namespace

Command AddChat(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  flags->text.max_tokens = 512;
  // Who talks, and what was said before.
  AddModelFlags(arguments, flags->model, "model", "Model, float or quantized");
  arguments.Add("--system", flags->system, "The system message");
  arguments.Add("--messages", flags->messages,
                "Continue this conversation: a JSON list of {\"role\": ..., \"content\": ...}");
  AddChatFlags(arguments, flags->chat, "today");
  arguments
      .Add("--context", flags->context,
           "Tokens of the conversation that the model sees, at most; default: the model's context, "
           "at most 8192")
      .Positive();
  AddTextFlags(arguments, flags->text);

  AddJsonFlag(arguments, globals);
  arguments.Check([flags] { return ComplaintAbout(flags->text); });
  arguments.Examples(
      "  qualm chat MODEL\n"
      "  qualm chat MODEL --system \"Be brief.\" --sampling model\n"
      "  qualm chat MODEL --chat-template chatml --chat-option enable_thinking=false\n"
      "  printf 'Hello\\nAnd now?\\n/save talk.json\\n' | qualm chat MODEL --quiet\n"
      "Commands in the conversation: /reset, /save FILE, /help, /exit.");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
