// Which names of a block jinja2 takes for its own from its beginning on.
#pragma once

#include "chat/jinja/syntax.h"

namespace qualm::jinja {

// jinja2 decides while it compiles where a name of a block lives. A name that the block first
// assigns to, and that no block around it mentions, is the block's own: until it is assigned, it is
// undefined for all that the block contains, even if a variable of that name was given to the
// template. Fills Node::hidden, Node::hidden_in_else and Syntax::hidden.
void FindHiddenNames(Syntax& syntax);

}  // namespace qualm::jinja
