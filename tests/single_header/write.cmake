# cmake -DINCLUDE_DIR=... -DHEADERS="a.hpp;b.hpp" -DVERSION=... -DLICENSE=... -DOUTPUT=... -P write.cmake
# Writes the library as one header: HEADERS, in layer order and relative to INCLUDE_DIR/sincpro, one after another.
cmake_minimum_required(VERSION 3.22)

file(READ "${LICENSE}" licence)
string(STRIP "${licence}" licence)
string(REPLACE "\n" "\n// " licence "// ${licence}")
string(REPLACE "// \n" "//\n" licence "${licence}")

set(standard_headers "")
set(bodies "")
foreach(header IN LISTS HEADERS)
  file(READ "${INCLUDE_DIR}/sincpro/${header}" text)
  # Up to the first line that is something else; what is included under a condition stays where it is.
  string(REGEX MATCH "^(#pragma once\n|#include [^\n]*\n|\n)*" head "${text}")
  string(LENGTH "${head}" head_length)
  string(SUBSTRING "${text}" ${head_length} -1 body)
  string(REGEX MATCHALL "#include <[^\n]*>" included "${head}")
  list(APPEND standard_headers ${included})
  string(REGEX MATCHALL "\n" head_lines "${head}")
  list(LENGTH head_lines line)
  math(EXPR line "${line} + 1")
  string(REGEX REPLACE "#include \"[^\n]*\"\n" "\n" body "${body}")
  # Under its own name: messages of the compiler then fit the repository, and timeout_error leaves such places out.
  string(APPEND bodies "\n#line ${line} \"sincpro/${header}\"\n${body}")
endforeach()
list(REMOVE_DUPLICATES standard_headers)
list(SORT standard_headers)
list(JOIN standard_headers "\n" standard_headers)

file(WRITE "${OUTPUT}"
     "// Sincpro Async Worker ${VERSION}, all of it in one header. Written by the build: do not edit.\n//\n${licence}\n"
     "#pragma once\n\n${standard_headers}\n${bodies}")
