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
foreach(topic unlike binding)
  mltfr_script_test(NAME speed.${topic} LABELS cli
    COMMAND bash ${PROJECT_SOURCE_DIR}/tests/speed/${topic}.sh $<TARGET_FILE:mltfr_dist>
    ${CMAKE_CURRENT_BINARY_DIR}/speed/${topic} ${MLTFR_MPIEXEC})
endforeach()
