# `cmake --build BUILD --target sincpro_async_worker_reference` writes the API reference: BUILD/reference/html/index.html.
# Included by the top CMakeLists.txt.
find_package(Doxygen QUIET OPTIONAL_COMPONENTS dot)
if(NOT DOXYGEN_FOUND)
  add_custom_target(sincpro_async_worker_reference
                    COMMAND "${CMAKE_COMMAND}" -E echo "doxygen is not installed" COMMAND "${CMAKE_COMMAND}" -E false)
  return()
endif()

set(reference_dir "${PROJECT_BINARY_DIR}/reference")
set(have_dot NO)
set(sections "")
if(TARGET Doxygen::dot)
  set(have_dot YES)
  set(sections graphviz)
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/Doxyfile.in" "${reference_dir}/Doxyfile" @ONLY)
add_custom_target(sincpro_async_worker_reference COMMAND Doxygen::doxygen "${reference_dir}/Doxyfile"
                  COMMENT "Writing ${reference_dir}/html/index.html" VERBATIM)
