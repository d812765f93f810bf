foreach(topic filter router pool consensus topk)
  mltfr_unit_test(NAME model.${topic} SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/model_${topic}.c
    LIBS mltfr_model)
endforeach()
target_include_directories(test.model.filter PRIVATE ${PROJECT_SOURCE_DIR}/src/model)

# The unit tests of all kernels again, on an AVX2 processor.
if(NOT MLTFR_SANITIZE)
  set(programs)
  foreach(test num.linalg num.optim num.softmax num.ops model.backbone model.filter model.router
      model.topk)
    list(APPEND programs $<TARGET_FILE:test.${test}>)
  endforeach()
  mltfr_script_test(NAME model.avx2 COMMAND ${PROJECT_SOURCE_DIR}/tests/num/avx2.sh ${programs}
    TIMEOUT 300)
endif()
