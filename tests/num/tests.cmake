foreach(topic tree linalg optim softmax ops)
  mltfr_unit_test(NAME num.${topic} SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/num_${topic}.c
    LIBS mltfr_num)
endforeach()
mltfr_unit_test(NAME model.backbone SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/model_backbone.c
  LIBS mltfr_model)

add_executable(bench_backbone EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/bench/bench_backbone.c)
target_link_libraries(bench_backbone PRIVATE mltfr_model)

add_executable(bench_gemm EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/bench/bench_gemm.c)
target_include_directories(bench_gemm PRIVATE ${CBLAS_INCLUDE_DIR})
target_link_libraries(bench_gemm PRIVATE mltfr_num)
