mltfr_unit_test(NAME io.interactions
  SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/io_interactions.c LIBS mltfr_io)
mltfr_mpi_test(NAME io.interactions_mpi
  SOURCE ${PROJECT_SOURCE_DIR}/tests/mpi/io_interactions.c NP 1 2 3 4 LIBS mltfr_io)
