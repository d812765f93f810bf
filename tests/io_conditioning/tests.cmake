mltfr_mpi_test(NAME comm.grid SOURCE ${PROJECT_SOURCE_DIR}/tests/mpi/comm_grid.c NP 1 2 3 4 5
  LIBS mltfr_comm)
target_link_options(test.comm.grid PRIVATE -Wl,--wrap=mltfr_alloc)

# Comparison of replayed golden files, for the tests of conditioning and of training.
add_library(mltfr_golden STATIC ${PROJECT_SOURCE_DIR}/tests/support/golden.c)
target_include_directories(mltfr_golden PUBLIC ${PROJECT_SOURCE_DIR}/tests/support)
target_link_libraries(mltfr_golden PUBLIC mltfr_comm)

mltfr_mpi_test(NAME io.conditioning SOURCE ${PROJECT_SOURCE_DIR}/tests/mpi/io_conditioning.c
  NP 1 2 3 4 LIBS mltfr_golden mltfr_io)
mltfr_mpi_test(NAME io.alignment SOURCE ${PROJECT_SOURCE_DIR}/tests/mpi/io_alignment.c
  NP 1 2 3 4 LIBS mltfr_io)
mltfr_unit_test(NAME io.anchors SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/io_anchors.c LIBS mltfr_io)
mltfr_mpi_test(NAME app.tokens SOURCE ${PROJECT_SOURCE_DIR}/tests/mpi/app_tokens.c NP 1 2 3
  LIBS mltfr_app)
