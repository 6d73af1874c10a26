# What a project may have already when it adds the library: tests of its own, and targets with generic names.
enable_testing()
foreach(name IN ITEMS tests headers examples docs format benchmarks check async_worker worker)
  add_custom_target(${name})
endforeach()

add_executable(consumer "${CMAKE_CURRENT_LIST_DIR}/main.cpp")
option(COMPILED "Link to the library that was compiled once")
target_link_libraries(consumer PRIVATE $<IF:$<BOOL:${COMPILED}>,sincpro::async_worker_compiled,sincpro::async_worker>)
add_test(NAME consumer COMMAND consumer)
