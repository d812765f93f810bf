# The commands of these documents, in their order.
foreach(document README.md docs/tutorial.md)
  mltfr_script_test(NAME docs.${document} LABELS docs TIMEOUT 180
    COMMAND ${PROJECT_SOURCE_DIR}/tests/docs/run.sh ${document} $<TARGET_FILE:mltfr_dist>)
  set_tests_properties(docs.${document} PROPERTIES PROCESSORS 2)
endforeach()
