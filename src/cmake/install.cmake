# What `cmake --install` installs, in two components: the program, and libmltfr with what is needed
# to build on it.  Both are relocatable.
install(TARGETS mltfr_dist RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
foreach(section 1 5)
  file(GLOB pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.${section})
  install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT program)
endforeach()

add_custom_command(OUTPUT completion.bash DEPENDS mltfr_dist VERBATIM
  COMMAND ${CMAKE_COMMAND} -E env ASAN_OPTIONS=detect_leaks=0 # Open MPI leaves things behind
    $<TARGET_FILE:mltfr_dist> --completion=bash > completion.bash)
if(NOT CMAKE_CROSSCOMPILING)
  add_custom_target(mltfr_completion ALL DEPENDS completion.bash)
endif()
install(FILES ${PROJECT_BINARY_DIR}/completion.bash RENAME mltfr_dist COMPONENT program OPTIONAL
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

if(MLTFR_WITH_SERVE)
  include(CMakePackageConfigHelpers)
  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/mltfr)
  file(RELATIVE_PATH MLTFR_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  configure_file(src/cmake/mltfr.pc.in mltfr.pc @ONLY)
  configure_package_config_file(src/cmake/mltfrConfig.cmake.in mltfrConfig.cmake
    INSTALL_DESTINATION ${package})
  write_basic_package_version_file(mltfrConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(TARGETS mltfr EXPORT mltfr LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT serve)
  install(EXPORT mltfr NAMESPACE mltfr:: FILE mltfrTargets.cmake DESTINATION ${package}
    COMPONENT serve)
  install(FILES ${PROJECT_BINARY_DIR}/mltfrConfig.cmake
    ${PROJECT_BINARY_DIR}/mltfrConfigVersion.cmake DESTINATION ${package} COMPONENT serve)
  install(FILES ${PROJECT_BINARY_DIR}/mltfr.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
    COMPONENT serve)
  install(FILES include/mltfr/serve.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mltfr
    COMPONENT serve)
endif()

# Two packages for Debian: cpack -G DEB --config BUILD/CPackConfig.cmake.
set(CPACK_PACKAGE_NAME mltfr-dist)
set(CPACK_PACKAGE_VENDOR mltfr)
set(MLTFR_PACKAGER "local build <root@localhost>" CACHE STRING "Maintainer named in packages: NAME <ADDRESS>")
set(CPACK_PACKAGE_CONTACT "${MLTFR_PACKAGER}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME mltfr-dist)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS openmpi-bin) # the launcher; one rank needs none
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION "${PROJECT_DESCRIPTION}")
set(CPACK_DEBIAN_SERVE_PACKAGE_NAME libmltfr)
set(CPACK_COMPONENT_SERVE_DESCRIPTION "Recommendations from a checkpoint of mltfr-dist, without MPI")
set(CPACK_DEBIAN_SERVE_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/src/cmake/triggers)
include(CPack)
