# mltfr_unit_test(NAME <layer>.<topic> SOURCE <file> LIBS <library>... [TIMEOUT s]
#                 [LABELS <label>...])
#   A cmocka program without a launcher.
# mltfr_mpi_test(NAME <layer>.<topic> SOURCE <file> NP <p>... LIBS <library>... [TIMEOUT s]
#                [ARGS <arg>...] [LABELS <label>...] [SLOW])
#   One program, and one CTest entry a number of ranks: <layer>.<topic>.np<p>.
# mltfr_script_test(NAME <name> COMMAND <word>... [TIMEOUT s] [LABELS <label>...])
#   Any other program.  It says why and exits with 77 where it cannot run here.
#
# Unit tests and those on one or two ranks also have the label `asan`, if they are not SLOW: the
# presets asan and ubsan run them.  With sanitizers every timeout is three times as long.
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
# The Python that has h5py and NumPy as Debian packages.
find_program(MLTFR_H5PY NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(MLTFR_H5PY)
  execute_process(COMMAND ${MLTFR_H5PY} -c "import h5py, numpy" RESULT_VARIABLE failed ERROR_QUIET)
  if(failed)
    message(STATUS "tests in Python are left out: python3-h5py is missing")
    set(MLTFR_H5PY "")
  endif()
endif()

set(MLTFR_TEST_ENV OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
  OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none
  OMPI_MCA_sharedfp=^sm OMPI_MCA_fcoll=individual OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
  HDF5_USE_FILE_LOCKING=FALSE MLTFR_SOURCE_DIR=${PROJECT_SOURCE_DIR}
  UBSAN_OPTIONS=print_stacktrace=1
  LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp:print_suppressions=0)
set(MLTFR_MPIEXEC ${MPIEXEC_EXECUTABLE} -q --oversubscribe ${MPIEXEC_NUMPROC_FLAG})

function(mltfr_test_program target source)
  add_executable(${target} ${source})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
  target_link_libraries(${target} PRIVATE ${ARGN} PkgConfig::CMOCKA)
endfunction()

function(mltfr_mpi_program target source)
  mltfr_test_program(${target} ${source} ${ARGN} MPI::MPI_C)
  if(MLTFR_SANITIZE)
    target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/mpi_leaks.c)
  endif()
endfunction()

# A rank keeps a core busy; with more ranks than two a test has the machine for itself.
function(mltfr_ranks name np)
  if(np GREATER 2)
    set(np 2)
  endif()
  set_tests_properties(${name} PROPERTIES PROCESSORS ${np})
endfunction()

# What all tests have; TIMEOUT may be empty.
function(mltfr_test_properties name timeout)
  if(NOT timeout)
    set(timeout 60)
  endif()
  if(MLTFR_SANITIZE)
    math(EXPR timeout "3 * ${timeout}")
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARGN}" TIMEOUT ${timeout}
    ENVIRONMENT "${MLTFR_TEST_ENV}" SKIP_RETURN_CODE 77)
endfunction()

function(mltfr_unit_test)
  cmake_parse_arguments(PARSE_ARGV 0 T "" "NAME;SOURCE;TIMEOUT" "LIBS;LABELS")
  mltfr_test_program(test.${T_NAME} ${T_SOURCE} ${T_LIBS})
  add_test(NAME ${T_NAME} COMMAND test.${T_NAME})
  mltfr_test_properties(${T_NAME} "${T_TIMEOUT}" unit asan ${T_LABELS})
endfunction()

function(mltfr_mpi_test)
  cmake_parse_arguments(PARSE_ARGV 0 T "SLOW" "NAME;SOURCE;TIMEOUT" "NP;LIBS;ARGS;LABELS")
  mltfr_mpi_program(test.${T_NAME} ${T_SOURCE} ${T_LIBS})
  foreach(np IN LISTS T_NP)
    set(name ${T_NAME}.np${np})
    add_test(NAME ${name}
      COMMAND ${MLTFR_MPIEXEC} ${np} $<TARGET_FILE:test.${T_NAME}> ${T_ARGS})
    set(labels mpi np${np} ${T_LABELS})
    if(np LESS_EQUAL 2 AND NOT T_SLOW)
      list(APPEND labels asan)
    endif()
    mltfr_test_properties(${name} "${T_TIMEOUT}" ${labels})
    mltfr_ranks(${name} ${np})
  endforeach()
endfunction()

function(mltfr_script_test)
  cmake_parse_arguments(PARSE_ARGV 0 T "" "NAME;TIMEOUT" "COMMAND;LABELS")
  add_test(NAME ${T_NAME} COMMAND ${T_COMMAND})
  mltfr_test_properties(${T_NAME} "${T_TIMEOUT}" ${T_LABELS})
endfunction()
