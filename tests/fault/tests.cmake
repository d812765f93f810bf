# Programs for any number of ranks; each entry works in a directory of its own.
#   mltfr_fault_test(<name> PROGRAM <topic> NP <p>... [ARGS <word>...] [TIMEOUT <s>])
function(mltfr_fault_test topic)
  cmake_parse_arguments(PARSE_ARGV 1 T "" "PROGRAM;TIMEOUT" "NP;ARGS")
  foreach(np IN LISTS T_NP)
    set(name fault.${topic}.np${np})
    add_test(NAME ${name} COMMAND ${MLTFR_MPIEXEC} ${np} $<TARGET_FILE:test.fault.${T_PROGRAM}>
      ${CMAKE_CURRENT_BINARY_DIR}/fault_${topic}.np${np} ${T_ARGS})
    set(labels fault mpi np${np})
    if(np LESS_EQUAL 2 AND NOT topic MATCHES "^(open|write|short|enospc)$") # HDF5 leaks there
      list(APPEND labels asan)
    endif()
    mltfr_test_properties(${name} "${T_TIMEOUT}" ${labels})
    mltfr_ranks(${name} ${np})
  endforeach()
endfunction()

foreach(program checkpoint damage)
  mltfr_mpi_program(test.fault.${program} ${PROJECT_SOURCE_DIR}/tests/mpi/train_${program}.c
    mltfr_planted mltfr_train)
endforeach()
mltfr_test_program(test.fault.faults ${PROJECT_SOURCE_DIR}/tests/mpi/train_faults.c mltfr_planted
  mltfr_train)
foreach(program checkpoint damage faults)
  target_include_directories(test.fault.${program} PRIVATE ${PROJECT_SOURCE_DIR}/src/train)
endforeach()
mltfr_fault_test(checkpoint PROGRAM checkpoint NP 1 2 3)
mltfr_fault_test(damage PROGRAM damage NP 1 2 3 4 TIMEOUT 120)
target_include_directories(test.fault.damage PRIVATE ${HDF5_C_INCLUDE_DIRS})

# Faults on demand (tests/support/fault.h): all calls of these programs pass fault.c.
#   mltfr_add_faults(<target>)
function(mltfr_add_faults target)
  target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/fault.c)
  target_link_libraries(${target} PRIVATE MPI::MPI_C ${CMAKE_DL_LIBS})
  target_link_options(${target} PRIVATE -Wl,--wrap=mltfr_alloc -Wl,--wrap=mltfr_room_take)
  set_target_properties(${target} PROPERTIES ENABLE_EXPORTS ON) # libraries call fault.c too
endfunction()

mltfr_add_faults(test.fault.faults)
mltfr_fault_test(alloc PROGRAM faults NP 1 2 4 ARGS alloc 10 TIMEOUT 180)
foreach(point open write short enospc flush fsync rename)
  mltfr_fault_test(${point} PROGRAM faults NP 1 3 ARGS ${point} TIMEOUT 180)
endforeach()

# The program of the users with faults on demand; not installed.
add_executable(mltfr_dist_fault ${PROJECT_SOURCE_DIR}/src/app/main/main.c)
target_link_libraries(mltfr_dist_fault PRIVATE mltfr_app)
target_include_directories(mltfr_dist_fault PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
mltfr_add_faults(mltfr_dist_fault)

# Scripts that run, break and resume it.
#   mltfr_fault_script(<name> [ARGS <word>...] [TIMEOUT <s>])
function(mltfr_fault_script topic)
  cmake_parse_arguments(PARSE_ARGV 1 T "" "TIMEOUT" "ARGS")
  mltfr_script_test(NAME fault.${topic} TIMEOUT ${T_TIMEOUT} LABELS fault mpi
    COMMAND ${CMAKE_COMMAND} -E env PROGRAM=$<TARGET_FILE:mltfr_dist>
    PROGRAM_FAULT=$<TARGET_FILE:mltfr_dist_fault>
    bash ${PROJECT_SOURCE_DIR}/tests/fault/${topic}.sh ${T_ARGS})
  set_tests_properties(fault.${topic} PROPERTIES PROCESSORS 2)
endfunction()

mltfr_fault_script(kill TIMEOUT 300 ARGS 5 1)
mltfr_fault_script(faults TIMEOUT 400)
mltfr_fault_script(signals TIMEOUT 180)
mltfr_fault_script(disk TIMEOUT 240)
mltfr_fault_script(power TIMEOUT 180 ARGS 3 1)
mltfr_fault_script(handles TIMEOUT 120)
