# A test for each example runs the program, where needed against real servers on loopback, and checks what it prints.
# Included by tests/CMakeLists.txt after the examples are known.
find_package(Python3 QUIET COMPONENTS Interpreter)
set(example_tests_dir "${CMAKE_CURRENT_LIST_DIR}")

# Exit code 77: something that the test needs is not installed; its output says what.
function(add_example_test name)
  set(missing "")
  if(NOT Python3_Interpreter_FOUND)
    set(missing "python3 is not installed")
  elseif(NOT TARGET example_${name})
    get_property(missing GLOBAL PROPERTY sincpro_example_${name}_missing)
  endif()

  if(missing)
    add_test(NAME example.${name} COMMAND sh -c "echo 'skipped: ${missing}'; exit 77")
  else()
    add_test(NAME example.${name} COMMAND "${Python3_EXECUTABLE}" -B ${ARGN} $<TARGET_FILE:example_${name}>)
  endif()
  set(time_limit 300)
  if(COMMAND limit_test)
    limit_test(example.${name})
  endif()
  set_tests_properties(example.${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${time_limit} LABELS examples COST 20)  # they wait
endfunction()

foreach(name quickstart timeout partial_results when_any retry callback blocking_clients submit_and_forget
             progress_and_cancel own_worker sockets child_process)
  add_example_test(${name} "${example_tests_dir}/small.py" ${name})
endforeach()
foreach(name http_get web_handler curl_multi postgres)
  add_example_test(${name} "${example_tests_dir}/${name}.py")
endforeach()
