# What others get: the installed tree, the packages, completion, the module file and the recipe.
mltfr_script_test(NAME install.completion LABELS install
  COMMAND ${PROJECT_SOURCE_DIR}/tests/install/completion.sh ${PROJECT_BINARY_DIR}/completion.bash)
if(MLTFR_WITH_SERVE)
  mltfr_script_test(NAME install.tree LABELS install COMMAND
    ${PROJECT_SOURCE_DIR}/tests/install/install.sh ${PROJECT_BINARY_DIR} ${MLTFR_VERBS_RUN})
  mltfr_script_test(NAME install.deb LABELS install TIMEOUT 120 COMMAND
    ${PROJECT_SOURCE_DIR}/tests/install/deb.sh ${PROJECT_BINARY_DIR} ${MLTFR_VERBS_RUN})
  set_tests_properties(install.tree install.deb PROPERTIES FIXTURES_REQUIRED verbs_run)
endif()
mltfr_script_test(NAME install.modules LABELS install
  COMMAND ${PROJECT_SOURCE_DIR}/tests/install/modules.sh ${PROJECT_BINARY_DIR})
