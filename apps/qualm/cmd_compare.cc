// qualm compare: compares two models on the items that both have answered; the statistics are in
// evaluate/comparison.h.
#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "task_eval.h"

namespace qualm::cli {

Command AddCompare(Arguments& arguments, Globals& globals) {
  struct Flags {
    std::string store, first, second, filter;
  };

  // The flags live as long as the command that uses them.
  auto flags = std::make_shared<Flags>();
  arguments.Add("STORE", flags->store, "A results store of qualm eval --store").Required();
  arguments.Add("FIRST", flags->first, "A model: its path, or the beginning of its hash")
      .Required();
  arguments.Add("SECOND", flags->second, "The other one").Required();
  arguments.Add("--filter", flags->filter,
                "Compare what this further filter of a generation task read, such as "
                "flexible-extract; default: the task's first filter");
  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm compare results.db models/float models/w4\n"
      "  qualm compare results.db 3f2a 91bc --json\n"
      "  qualm compare results.db 3f2a 91bc --filter flexible-extract");

  // A store that does not exist must not be created by looking into it.
  return [flags, &globals] {
    RequireStore(flags->store);
    return PrintComparison(flags->store, flags->first, flags->second, flags->filter, globals);
  };
}

}  // namespace qualm::cli
