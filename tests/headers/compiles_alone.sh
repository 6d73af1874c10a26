#!/bin/sh
# compiles_alone.sh INCLUDE_DIR HEADER COMPILER...: a file that includes nothing but HEADER has no error and no warning.
set -eu
include_dir=$1
header=$2
shift 2
for compiler; do
    echo "$compiler: $header"
    echo "#include <$header>" | "$compiler" -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
        -I "$include_dir" -fsyntax-only -x c++ -
done
