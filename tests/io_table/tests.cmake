foreach(name table table_bad)
  mltfr_unit_test(NAME io.${name} SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/io_${name}.c
    LIBS mltfr_io)
endforeach()
