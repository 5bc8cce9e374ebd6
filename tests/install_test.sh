#!/usr/bin/env bash
# An installed qualm can be found, linked and run by another project.
# Arguments: the qualm binary (in the build folder), the source tree.
set -euo pipefail
build=$(dirname "$1")
source_tree=$2
if ! grep -q '^QUALM_SANITIZE:STRING=$' "$build/CMakeCache.txt"; then
  echo "skipped: an installed library does not carry the sanitizers' flags"
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/prefix" > "$scratch/install.log"
mkdir "$scratch/consumer"
cat > "$scratch/consumer/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
find_package(qualm 0.1 REQUIRED)
add_executable(consumer consumer.cc)
target_link_libraries(consumer PRIVATE qualm::evaluate qualm::quantize)
CMAKE
cat > "$scratch/consumer/consumer.cc" <<'CODE'
#include <iostream>

#include "base/context.h"
#include "model/model.h"

int main(int, char** argv) {
  qualm::ThreadPool pool(1);
  qualm::SilentProgress progress;
  const qualm::Context context{pool, progress};
  const qualm::Model model = qualm::LoadModel(argv[1], qualm::LoadOptions{}, context);
  std::cout << model.decoder->plan.vocab_size() << ' '
            << model.RequireTokenizer().Decode(model.RequireTokenizer().Encode("Hello")) << '\n';
}
CODE
# The installed package alone: the source tree's headers must not be needed.
cmake -G Ninja -S "$scratch/consumer" -B "$scratch/consumer-build" -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" > "$scratch/configure.log"
cmake --build "$scratch/consumer-build" > "$scratch/build.log" || {
  cat "$scratch/build.log"
  exit 1
}
if grep -q -e -Wconversion -e "$source_tree/src" "$scratch/consumer-build/build.ninja"; then
  echo "the package forces our own flags or source paths on its users"
  exit 1
fi
output=$("$scratch/consumer-build/consumer" "$source_tree/demo/model")
[[ $output == "6000 Hello" ]] || { echo "expected '6000 Hello'; got '$output'"; exit 1; }
"$scratch/prefix/bin/qualm" --version > /dev/null
