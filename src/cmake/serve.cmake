# libmltfr: mltfr/serve.h for one process.  It has the layers of the program, but for comm: that is
# built again with the MPI of mpi/one, which is no library, and with HDF5 without MPI.  ScaLAPACK
# is not needed to serve, so what calls it stays out.
set(sources comm exchange file file_array file_attr file_later
  file_seal file_strings file_sums message reduce watch)
list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/mpi/)
list(TRANSFORM sources APPEND .c)
add_library(mltfr_comm_one STATIC ${sources})
target_include_directories(mltfr_comm_one BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/mpi/one)
target_link_libraries(mltfr_comm_one PUBLIC mltfr_base PRIVATE PkgConfig::HDF5_SERIAL)

add_library(mltfr SHARED ${PROJECT_SOURCE_DIR}/src/app/serve.c)
set_target_properties(mltfr PROPERTIES MLTFR_ONE_PROCESS ON VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR})
target_link_libraries(mltfr PRIVATE mltfr_app)
target_include_directories(mltfr INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_options(mltfr PRIVATE -Wl,--as-needed -Wl,-z,defs
  -Wl,--exclude-libs,ALL) # the compiler forgets that functions with clones are hidden
