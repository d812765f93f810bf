foreach(name table table_bad table_files table_memory)
  mltfr_unit_test(NAME io.${name} SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/io_${name}.c
    LIBS mltfr_io)
endforeach()

# Against the reader of llama.cpp, where its Python package is there.
add_executable(test.io.table_dump ${PROJECT_SOURCE_DIR}/tests/support/table_dump.c)
target_link_libraries(test.io.table_dump PRIVATE mltfr_io)
find_program(MLTFR_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH) # the one with Debian's modules
find_program(MLTFR_PYTHON NAMES python3)
mltfr_script_test(NAME io.table_gguf LABELS unit
  COMMAND ${MLTFR_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/gguf_reference.py
  $<TARGET_FILE:test.io.table_dump>)

add_executable(bench.table EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/bench/bench_table.c)
target_link_libraries(bench.table PRIVATE mltfr_io)

mltfr_cli_test(NAME inspect_pieces ARGS inspect none.part1,none.part2 STATUS 1 NP 0 2
  ERROR "none.part1: No such file")
mltfr_cli_test(NAME inspect_tensor ARGS inspect --tensor STATUS 2 ERROR "'--tensor' needs NAME")
mltfr_cli_test(NAME tokens_tensor ARGS tokens --out t.h5 --tensor=x
  "--set=tokens.tables=[{name: a, path: 'b,c', tensor: y}]" STATUS 1 NP 0 2 ERROR "b: No such file")
