# What is said of speed: timelines, counts of operations, where ranks run.
foreach(topic binding work)
  mltfr_unit_test(NAME train.${topic} SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/train_${topic}.c
    LIBS mltfr_train)
  target_include_directories(test.train.${topic} PRIVATE ${PROJECT_SOURCE_DIR}/src/train)
endforeach()

foreach(topic timeline bench)
  foreach(np 1 3)
    mltfr_script_test(NAME speed.${topic}.np${np} LABELS cli np${np}
      COMMAND python3 ${PROJECT_SOURCE_DIR}/tests/speed/${topic}.py ${np}
      ${CMAKE_CURRENT_BINARY_DIR}/speed/${topic}.np${np} ${MLTFR_MPIEXEC} ${np}
      $<TARGET_FILE:mltfr_dist>)
  endforeach()
endforeach()
foreach(topic unlike binding dry_run)
  mltfr_script_test(NAME speed.${topic} LABELS cli
    COMMAND bash ${PROJECT_SOURCE_DIR}/tests/speed/${topic}.sh $<TARGET_FILE:mltfr_dist>
    ${CMAKE_CURRENT_BINARY_DIR}/speed/${topic} ${MLTFR_MPIEXEC})
endforeach()

# The formula of a rank's memory against what is held.
mltfr_test_program(test.train.memory ${PROJECT_SOURCE_DIR}/tests/mpi/train_memory.c mltfr_train)
target_include_directories(test.train.memory PRIVATE ${PROJECT_SOURCE_DIR}/src/train)
foreach(model plain experts sampled bce)
  foreach(np 1 2 4)
    set(name train.memory_${model}.np${np})
    add_test(NAME ${name}
      COMMAND ${MLTFR_MPIEXEC} ${np} $<TARGET_FILE:test.train.memory> ${model})
    mltfr_test_properties(${name} "" mpi np${np})
    mltfr_ranks(${name} ${np})
  endforeach()
endforeach()
foreach(ranks 0 2, x 5000)
  mltfr_cli_test(NAME dry_run_${ranks} ARGS train --dry-run=${ranks} STATUS 2
    ERROR "--dry-run: ${ranks} is not allowed: must be at most 32 numbers of ranks from 1 to 4096")
endforeach()
