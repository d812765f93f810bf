# Fuzzers of the readers of token tables, built on demand by tests/fuzz/run.sh in a directory of
# their own: they need clang, and nothing of this project but the readers.
option(MLTFR_FUZZ "Build the fuzzers: needs clang with libFuzzer" OFF)
set(fuzz_readers gguf safetensors npy vocab)

if(MLTFR_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "MLTFR_FUZZ needs clang: use -DCMAKE_C_COMPILER=clang")
  endif()
  file(GLOB fuzzed CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/io/table*.c)
  foreach(source status mem log watchdog)
    list(APPEND fuzzed ${PROJECT_SOURCE_DIR}/src/base/${source}.c)
  endforeach()
  # At -O1 no loop is vectorised, which clang would warn of.
  set(flags -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -Wno-pass-failed)
  add_library(mltfr_fuzzed STATIC EXCLUDE_FROM_ALL ${fuzzed})
  target_link_libraries(mltfr_fuzzed PUBLIC mltfr_flags PkgConfig::XXHASH m)
  target_include_directories(mltfr_fuzzed PUBLIC ${PROJECT_SOURCE_DIR}/src/io)
  target_compile_options(mltfr_fuzzed PUBLIC ${flags} -fsanitize=fuzzer-no-link,address,undefined)
  add_executable(fuzz.seeds EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/seeds.c)
  target_link_libraries(fuzz.seeds PRIVATE mltfr_flags)
  target_include_directories(fuzz.seeds PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
  add_custom_target(fuzz DEPENDS fuzz.seeds)
  foreach(reader IN LISTS fuzz_readers)
    add_executable(fuzz.${reader} EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/fuzz_${reader}.c)
    target_link_libraries(fuzz.${reader} PRIVATE mltfr_fuzzed)
    target_link_options(fuzz.${reader} PRIVATE -fsanitize=fuzzer,address,undefined)
    add_dependencies(fuzz fuzz.${reader})
  endforeach()
endif()

foreach(reader IN LISTS fuzz_readers)
  mltfr_script_test(NAME fuzz.${reader} LABELS fuzz TIMEOUT 300
    COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/run.sh 20 ${reader})
  set_property(TEST fuzz.${reader} APPEND PROPERTY ENVIRONMENT
    MLTFR_FUZZ_BUILD=${PROJECT_BINARY_DIR}/fuzz)
endforeach()
