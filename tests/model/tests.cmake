foreach(topic filter router pool consensus topk)
  mltfr_unit_test(NAME model.${topic} SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/model_${topic}.c
    LIBS mltfr_model)
endforeach()
target_include_directories(test.model.filter PRIVATE ${PROJECT_SOURCE_DIR}/src/model)
