# The libraries that qualm's libraries stand on; read by the build and by those that use an installed
# qualm.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(ZLIB REQUIRED)
find_package(SQLite3 REQUIRED)
pkg_check_modules(Zip REQUIRED IMPORTED_TARGET GLOBAL libzip)
pkg_check_modules(OpenBLAS REQUIRED IMPORTED_TARGET GLOBAL openblas)
pkg_check_modules(Highway REQUIRED IMPORTED_TARGET GLOBAL libhwy)
pkg_check_modules(SentencePiece REQUIRED IMPORTED_TARGET GLOBAL sentencepiece)
pkg_check_modules(Pcre2 REQUIRED IMPORTED_TARGET GLOBAL libpcre2-8)
pkg_check_modules(XXHash REQUIRED IMPORTED_TARGET GLOBAL libxxhash)
