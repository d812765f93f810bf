# The commands of all documents, in their order.
file(GLOB documents RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS *.md data/*.md docs/*.md docs/results/*.md jobs/*.md)
foreach(document ${documents})
  mltfr_script_test(NAME docs.${document} LABELS docs TIMEOUT 180
    COMMAND ${PROJECT_SOURCE_DIR}/tests/docs/run.sh ${document} $<TARGET_FILE:mltfr_dist>)
  set_tests_properties(docs.${document} PROPERTIES PROCESSORS 2)
endforeach()
