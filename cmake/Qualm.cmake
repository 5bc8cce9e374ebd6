# One library per folder of src/, its unit tests beside the code, found by name (foo_test.cc).

find_program(QUALM_CCACHE ccache)
if(QUALM_CCACHE)
  # What lets ccache look through precompiled headers: by contents, not by times.
  set(sloppiness pch_defines,time_macros,include_file_mtime,include_file_ctime)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=${sloppiness}
                                  ${QUALM_CCACHE})
endif()

# Precompiled headers are for GCC only, so that the builds with Clang find what a file forgot to include.
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(CMAKE_DISABLE_PRECOMPILE_HEADERS ON)
endif()

# Warnings are errors only with the compilers we check with: others invent new ones.
set(checked_compilers GNU-12 Clang-14)
string(REGEX MATCH "^[0-9]+" compiler_major "${CMAKE_CXX_COMPILER_VERSION}")
if(QUALM_WERROR AND NOT "${CMAKE_CXX_COMPILER_ID}-${compiler_major}" IN_LIST checked_compilers)
  message(STATUS "Warnings are no errors with ${CMAKE_CXX_COMPILER_ID} ${compiler_major}")
  set(QUALM_WERROR OFF)
endif()

# Warnings and code generation shared by all our targets, not by those that use the installed
# libraries. Contraction is off so that a product and a sum are fused only where the source says so:
# results do not depend on the compiler's mood.
add_library(qualm_options INTERFACE)
target_compile_features(qualm_options INTERFACE cxx_std_20)
target_include_directories(
  qualm_options INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/qualm>)
set(flags -Wall -Wextra -Wpedantic -Wconversion -Wshadow -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 warns of overlapping copies inside std::string's operator+ where there are none (PR 105329).
  list(APPEND flags -Wno-restrict)
  list(APPEND flags -fpch-preprocess) # for ccache
endif()
if(QUALM_WERROR)
  list(APPEND flags -Werror)
endif()
# x86-64 means AVX2, FMA and F16C here (x86-64-v3); wider sets are chosen at run time by Highway.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND flags -march=x86-64-v3)
  # x86-64-v3 lacks AES, which we do not use; without this Highway would take SSSE3 for its baseline.
  list(APPEND flags -DHWY_DISABLE_PCLMUL_AES=1)
  # Nothing here gains from what AVX3_DL adds to AVX3, and every target is compiled anew.
  list(APPEND flags -DHWY_DISABLED_TARGETS=HWY_AVX3_DL)
endif()
if(QUALM_SANITIZE)
  list(APPEND flags -fsanitize=${QUALM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  # The fuzzer's own main function is linked into the fuzz targets only (fuzz/CMakeLists.txt).
  string(REPLACE "fuzzer-no-link," "" link_sanitizers "${QUALM_SANITIZE}")
  target_link_options(qualm_options INTERFACE $<BUILD_INTERFACE:-fsanitize=${link_sanitizers}>)
endif()
target_compile_options(qualm_options INTERFACE "$<BUILD_INTERFACE:${flags}>")
if(QUALM_CORE_ONLY)
  target_compile_definitions(qualm_options INTERFACE QUALM_PORTABLE=1)
endif()
target_link_libraries(qualm_options INTERFACE Threads::Threads)
set_target_properties(qualm_options PROPERTIES EXPORT_NAME options)
install(TARGETS qualm_options EXPORT qualm)

# What tests may include beyond the library under test, the framework and its precompiled headers. The
# path of the source tree is compiled into one file only, so that a compiler cache serves every checkout.
# A third of a test's compile time went into optimizing what runs once, so tests get -O1. Results do not
# depend on it: no option here lets the compiler change a float operation.
if(QUALM_TESTS AND NOT QUALM_CORE_ONLY)
  set(shared_data ${PROJECT_SOURCE_DIR}/tests/support/shared_data.cc)
  add_library(qualm_test_support STATIC ${shared_data})
  target_link_libraries(qualm_test_support PUBLIC qualm_options GTest::gmock_main)
  target_include_directories(qualm_test_support PUBLIC ${PROJECT_SOURCE_DIR}/tests)
  set_source_files_properties(${shared_data} PROPERTIES COMPILE_DEFINITIONS
                                                        QUALM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_compile_options(qualm_test_support PUBLIC $<$<CONFIG:Release>:-O1>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # With -O1 the false alarms of PR 105329 have this name; the sanitizers' build finds true ones.
    target_compile_options(qualm_test_support PUBLIC $<$<CONFIG:Release>:-Wno-array-bounds>)
  endif()
  target_precompile_headers(
    qualm_test_support PRIVATE <gmock/gmock.h> <gtest/gtest.h> <array> <cmath> <filesystem> <span>)
endif()

# Builds what the label "unit" runs and nothing else.
add_custom_target(qualm_unit_tests)

# qualm_test(<name> LABEL <label> TIMEOUT <seconds> SOURCES <files> LIBS <targets>)
function(qualm_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} qualm_test_support)
  target_precompile_headers(${name} REUSE_FROM qualm_test_support)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES LABELS ${ARG_LABEL} TIMEOUT
                                                               ${ARG_TIMEOUT})
endfunction()

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
  list(TRANSFORM ARG_DEPS PREPEND qualm_)
  if(sources)
    add_library(qualm_${folder} STATIC ${sources})
    target_link_libraries(qualm_${folder} PUBLIC qualm_options ${ARG_DEPS} ${ARG_LIBS})
  else() # headers only
    add_library(qualm_${folder} INTERFACE)
    target_link_libraries(qualm_${folder} INTERFACE qualm_options ${ARG_DEPS} ${ARG_LIBS})
  endif()
  # Loops of few instructions are up to 30 % slower where they happen to lie across two cache lines, so
  # that a change anywhere else in the program would look like one of speed.
  if(folder MATCHES "^(tensor|kernels)$")
    target_compile_options(qualm_${folder} PRIVATE -falign-functions=64 -falign-loops=64)
  endif()
  # What many files include. Heavier headers that few need would slow the others down: reading a
  # precompiled header takes time in proportion to its size.
  if(folder STREQUAL "base")
    target_precompile_headers(
      qualm_base PRIVATE <algorithm> <array> <cmath> <cstdint> <cstring> <filesystem> <functional>
                         <limits> <map> <memory> <optional> <span> <string> <string_view> <utility>
                         <vector>)
  elseif(sources)
    target_precompile_headers(qualm_${folder} REUSE_FROM qualm_base)
  endif()
  add_library(qualm::${folder} ALIAS qualm_${folder})
  set_target_properties(qualm_${folder} PROPERTIES EXPORT_NAME ${folder})
  install(TARGETS qualm_${folder} EXPORT qualm ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/qualm)
  if(QUALM_TESTS AND tests)
    qualm_test(${folder}_test LABEL unit TIMEOUT 300 SOURCES ${tests} LIBS qualm_${folder})
    add_dependencies(qualm_unit_tests ${folder}_test)
  endif()
endfunction()

# qualm_embed(<target> <variable-free C++ function> <header> <files...>): a source file with the files'
# texts, made when one of them or the list changes.
function(qualm_embed target function header)
  set(entries "")
  foreach(file ${ARGN})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(READ ${file} text)
    get_filename_component(name ${file} NAME)
    string(APPEND entries "    {\"${name}\", R\"qualm(${text})qualm\"},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/embedded/${function}.cc @ONLY CONTENT
"#include \"@header@\"

namespace qualm {

std::span<const EmbeddedFile> @function@() {
  static constexpr EmbeddedFile kFiles[] = {
@entries@  };
  return kFiles;
}

}  // namespace qualm
")
  target_sources(${target} PRIVATE ${PROJECT_BINARY_DIR}/embedded/${function}.cc)
endfunction()

# Headers, libraries and the package that find_package(qualm) reads; the targets are qualm::<folder>.
function(qualm_install)
  include(CMakePackageConfigHelpers)
  set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/qualm)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/qualm
          FILES_MATCHING PATTERN "*.h")
  install(EXPORT qualm NAMESPACE qualm:: FILE qualmTargets.cmake DESTINATION ${package_folder})
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/qualmConfigVersion.cmake
                                   COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_SOURCE_DIR}/cmake/qualmConfig.cmake
                ${PROJECT_SOURCE_DIR}/cmake/QualmDependencies.cmake
                ${PROJECT_BINARY_DIR}/qualmConfigVersion.cmake DESTINATION ${package_folder})
endfunction()
