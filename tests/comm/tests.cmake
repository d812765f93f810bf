foreach(topic exchange reduce file seal agree)
  mltfr_mpi_test(NAME comm.${topic} SOURCE ${PROJECT_SOURCE_DIR}/tests/mpi/comm_${topic}.c
    NP 1 2 3 4 5 LIBS mltfr_comm)
endforeach()
target_include_directories(test.comm.seal PRIVATE ${HDF5_C_INCLUDE_DIRS})
add_executable(bench_reduce EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/bench/bench_reduce.c)
target_link_libraries(bench_reduce PRIVATE mltfr_comm)
