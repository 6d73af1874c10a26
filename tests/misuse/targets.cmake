# Wrong programs do not compile, and the compiler says what to write instead. Included by tests/CMakeLists.txt.
if(NOT runs_scripts OR MSVC)
  return()
endif()
if(Python3_FOUND)
  add_script_test(misuse misuse "${Python3_EXECUTABLE}" -B "${CMAKE_CURRENT_LIST_DIR}/check.py"
                  "${sincpro_async_worker_include}" "${CMAKE_CXX_COMPILER}" g++ clang++)
  set_tests_properties(misuse PROPERTIES TIMEOUT 900 PROCESSORS 2)
else()
  message(STATUS "Not tested, python3 is missing: the messages for wrong programs")
endif()
