# The commands of all documents, in their order.
foreach(folder . data docs docs/results jobs)
  file(GLOB found RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.md)
  list(APPEND documents ${found})
endforeach()
list(LENGTH documents count)
if(count LESS 20)
  message(FATAL_ERROR "tests/docs: ${count} documents were found")
endif()
foreach(document ${documents})
  mltfr_script_test(NAME docs.${document} LABELS docs TIMEOUT 180
    COMMAND ${PROJECT_SOURCE_DIR}/tests/docs/run.sh ${document} $<TARGET_FILE:mltfr_dist>)
  set_tests_properties(docs.${document} PROPERTIES PROCESSORS 2)
endforeach()
mltfr_script_test(NAME docs.planted LABELS docs
  COMMAND ${CMAKE_CURRENT_LIST_DIR}/planted.sh $<TARGET_FILE:mltfr_dist>)
