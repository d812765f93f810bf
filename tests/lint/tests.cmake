# Checks of the text of the project; those that need a tool are skipped where it is missing.
foreach(topic layers style format spelling shell planted)
  mltfr_script_test(NAME lint.${topic} LABELS lint
    TIMEOUT 180 COMMAND bash ${PROJECT_SOURCE_DIR}/tests/lint/${topic}.sh)
endforeach()
mltfr_script_test(NAME lint.tidy LABELS lint TIMEOUT 600
  COMMAND bash ${PROJECT_SOURCE_DIR}/tests/lint/tidy.sh ${PROJECT_BINARY_DIR})
set_tests_properties(lint.tidy PROPERTIES PROCESSORS 2)
