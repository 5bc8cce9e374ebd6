# One library per folder of src/, its unit tests beside the code, found by name (foo_test.cc).

find_program(QUALM_CCACHE ccache)
if(QUALM_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${QUALM_CCACHE})
endif()

# Warnings and code generation shared by all our targets. Contraction is off so that a product and
# a sum are fused only where the source says so: results do not depend on the compiler's mood.
add_library(qualm_options INTERFACE)
target_compile_features(qualm_options INTERFACE cxx_std_20)
target_include_directories(qualm_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(
  qualm_options INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -ffp-contract=off
                          $<$<BOOL:${QUALM_WERROR}>:-Werror>)
# x86-64 means AVX2, FMA and F16C here (x86-64-v3); wider sets are chosen at run time by Highway.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(qualm_options INTERFACE -march=x86-64-v3)
endif()
if(QUALM_SANITIZE)
  target_compile_options(qualm_options INTERFACE -fsanitize=${QUALM_SANITIZE}
                                                 -fno-sanitize-recover=all -fno-omit-frame-pointer)
  string(REPLACE "fuzzer-no-link," "" QUALM_SANITIZE_LINK "${QUALM_SANITIZE}")
  target_link_options(qualm_options INTERFACE -fsanitize=${QUALM_SANITIZE_LINK})
endif()
if(QUALM_CORE_ONLY)
  target_compile_definitions(qualm_options INTERFACE QUALM_PORTABLE=1)
endif()
target_link_libraries(qualm_options INTERFACE Threads::Threads)

# What tests may include beyond the library under test.
add_library(qualm_test_support INTERFACE)
target_include_directories(qualm_test_support INTERFACE ${PROJECT_SOURCE_DIR}/tests)
target_compile_definitions(qualm_test_support
                           INTERFACE QUALM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")

# qualm_library(<folder> DEPS <folders below it> [LIBS <third-party targets>] [EXCLUDE <regex>])
function(qualm_library folder)
  cmake_parse_arguments(ARG "" "EXCLUDE" "DEPS;LIBS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${ARG_EXCLUDE}")
  endif()
  if(NOT sources)
    return()
  endif()
  add_library(qualm_${folder} STATIC ${sources})
  list(TRANSFORM ARG_DEPS PREPEND qualm_)
  target_link_libraries(qualm_${folder} PUBLIC qualm_options ${ARG_DEPS} ${ARG_LIBS})
  if(QUALM_TESTS AND tests)
    add_executable(${folder}_test ${tests})
    target_link_libraries(${folder}_test PRIVATE qualm_${folder} qualm_test_support GTest::gmock_main)
    gtest_discover_tests(${folder}_test DISCOVERY_TIMEOUT 60 PROPERTIES LABELS unit)
  endif()
endfunction()
