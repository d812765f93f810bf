add_library(mltfr_planted STATIC ${PROJECT_SOURCE_DIR}/tests/support/planted.c)
target_include_directories(mltfr_planted PUBLIC ${PROJECT_SOURCE_DIR}/tests/support)
target_link_libraries(mltfr_planted PUBLIC mltfr_io)

mltfr_unit_test(NAME base.core SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/base_core.c LIBS mltfr_base)
mltfr_unit_test(NAME model.params SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/model_params.c
  LIBS mltfr_model)
mltfr_unit_test(NAME train.place SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/train_place.c
  LIBS mltfr_train)
target_include_directories(test.train.place PRIVATE ${PROJECT_SOURCE_DIR}/src/train)
mltfr_mpi_test(NAME train.golden SOURCE ${PROJECT_SOURCE_DIR}/tests/mpi/train_golden.c
  NP 1 2 3 4 LIBS mltfr_golden mltfr_train)

# The same bits: the run on one rank is the fixture that the others are compared with.
mltfr_mpi_program(test.train.bits ${PROJECT_SOURCE_DIR}/tests/mpi/train_bits.c mltfr_planted
  mltfr_train)
set(bits_directory ${CMAKE_CURRENT_BINARY_DIR}/train_bits)
file(MAKE_DIRECTORY ${bits_directory})

#   mltfr_bits_test(<name> NP <p> VARIANT <variant> ARGS train|stop|again|finish <directory> [<last>]
#                   [MAKES <fixture>] [NEEDS <fixture>...])
# Directories and fixtures are those of the variant.
function(mltfr_bits_test topic)
  cmake_parse_arguments(PARSE_ARGV 1 T "" "NP;VARIANT;MAKES" "ARGS;NEEDS")
  set(name train.bits_${T_VARIANT}.${topic})
  list(TRANSFORM T_ARGS REPLACE "^(np|cut)" "${bits_directory}/${T_VARIANT}.\\1")
  list(TRANSFORM T_NEEDS PREPEND ${T_VARIANT}_)
  set(labels mpi np${T_NP})
  if(T_NP LESS_EQUAL 2)
    list(APPEND labels asan)
  endif()
  add_test(NAME ${name}
    COMMAND ${MLTFR_MPIEXEC} ${T_NP} $<TARGET_FILE:test.train.bits> ${T_VARIANT} ${T_ARGS})
  mltfr_test_properties(${name} "" ${labels})
  mltfr_ranks(${name} ${T_NP})
  set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED "${T_NEEDS}")
  if(T_MAKES)
    set_tests_properties(${name} PROPERTIES FIXTURES_SETUP ${T_VARIANT}_${T_MAKES})
  endif()
endfunction()

foreach(variant few many sampled binary lone)
  mltfr_bits_test(np1 NP 1 VARIANT ${variant} ARGS train np1 MAKES whole)
  foreach(np 2 3 4 5 8)
    mltfr_bits_test(np${np} NP ${np} VARIANT ${variant} ARGS train np${np} np1 NEEDS whole)
  endforeach()
endforeach()
foreach(variant bsarec gru4rec bsarec_alone gru4rec_alone)
  mltfr_bits_test(np1 NP 1 VARIANT ${variant} ARGS train np1 MAKES whole)
  foreach(np 2 3 4 5)
    mltfr_bits_test(np${np} NP ${np} VARIANT ${variant} ARGS train np${np} np1 NEEDS whole)
  endforeach()
endforeach()
# Stopped in the warm-up, and again right after a consensus, in the middle of an epoch.
foreach(variant few many sampled lone bsarec gru4rec gru4rec_alone)
  mltfr_bits_test(stop.np2 NP 2 VARIANT ${variant} ARGS stop cut 2 MAKES early)
  mltfr_bits_test(again.np3 NP 3 VARIANT ${variant} ARGS again cut 5 NEEDS early MAKES late)
  mltfr_bits_test(finish.np1 NP 1 VARIANT ${variant} ARGS finish cut np1 NEEDS late whole)
endforeach()

# These see the inside of the layer.
mltfr_mpi_test(NAME train.finite SOURCE ${PROJECT_SOURCE_DIR}/tests/mpi/train_finite.c NP 1 3
  LIBS mltfr_planted mltfr_train ARGS ${CMAKE_CURRENT_BINARY_DIR}/train_finite)
target_include_directories(test.train.finite PRIVATE ${PROJECT_SOURCE_DIR}/src/train)
# SLOW: gradient runs the code of train.golden a hundred times.
set(slow_gradient SLOW)
foreach(topic gradient method steady diagnose)
  mltfr_mpi_test(NAME train.${topic} SOURCE ${PROJECT_SOURCE_DIR}/tests/mpi/train_${topic}.c
    NP 1 2 3 LIBS mltfr_golden mltfr_planted mltfr_train ${slow_${topic}})
  target_include_directories(test.train.${topic} PRIVATE ${PROJECT_SOURCE_DIR}/src/train)
endforeach()
mltfr_unit_test(NAME train.stop SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/train_stop.c LIBS mltfr_train)
target_include_directories(test.train.stop PRIVATE ${PROJECT_SOURCE_DIR}/src/train)

add_executable(bench.checkpoint EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/bench/bench_checkpoint.c)
target_include_directories(bench.checkpoint PRIVATE ${PROJECT_SOURCE_DIR}/src/train)
target_link_libraries(bench.checkpoint PRIVATE mltfr_train)

mltfr_script_test(NAME train.resume TIMEOUT 120 LABELS cli
  COMMAND bash ${PROJECT_SOURCE_DIR}/tests/train/resume.sh $<TARGET_FILE:mltfr_dist>
  ${CMAKE_CURRENT_BINARY_DIR}/train_resume)
mltfr_script_test(NAME train.ends TIMEOUT 120 LABELS cli
  COMMAND bash ${PROJECT_SOURCE_DIR}/tests/train/ends.sh $<TARGET_FILE:mltfr_dist>
  ${CMAKE_CURRENT_BINARY_DIR}/train_ends)
