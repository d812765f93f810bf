# One program for any number of ranks; each entry works in a directory of its own.
#   mltfr_fault_test(<name> NP <p>...)
function(mltfr_fault_test topic)
  cmake_parse_arguments(PARSE_ARGV 1 T "" "" "NP")
  mltfr_test_program(test.fault.${topic} ${PROJECT_SOURCE_DIR}/tests/mpi/train_${topic}.c
    mltfr_planted mltfr_train)
  target_include_directories(test.fault.${topic} PRIVATE ${PROJECT_SOURCE_DIR}/src/train)
  foreach(np IN LISTS T_NP)
    set(name fault.${topic}.np${np})
    add_test(NAME ${name} COMMAND ${MLTFR_MPIEXEC} ${np} $<TARGET_FILE:test.fault.${topic}>
      ${CMAKE_CURRENT_BINARY_DIR}/fault_${topic}.np${np})
    set(labels fault mpi np${np})
    if(np LESS_EQUAL 2)
      list(APPEND labels asan)
    endif()
    mltfr_test_properties(${name} "" ${labels})
    set_tests_properties(${name} PROPERTIES PROCESSORS 2)
  endforeach()
endfunction()

mltfr_fault_test(checkpoint NP 1 2 3)
mltfr_fault_test(alloc NP 1 2 4)
target_link_options(test.fault.alloc PRIVATE -Wl,--wrap=mltfr_alloc -Wl,--wrap=mltfr_room_take)
