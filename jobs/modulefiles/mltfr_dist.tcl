#%Module1.0
# Module file, for Environment Modules and Lmod: copy it to modulefiles/mltfr_dist/VERSION, and set
# `root` to the directory of `cmake --install build --prefix`, or MLTFR_ROOT when it is loaded.
set root /opt/mltfr_dist
if {[info exists ::env(MLTFR_ROOT)]} { set root $::env(MLTFR_ROOT) }

proc ModulesHelp {} {
    puts stderr "mltfr_dist: recommendation from the token embeddings of several LLMs. See man mltfr_dist."
}
module-whatis "Sequential recommendation from the token embeddings of several LLMs"
conflict mltfr_dist

# What it was built with, as the site calls it:
# module load gcc openmpi hdf5 openblas scalapack

# An unset XDG_DATA_DIRS stands for the system's directories, an empty entry of MANPATH too.
if {![info exists ::env(XDG_DATA_DIRS)]} { append-path XDG_DATA_DIRS /usr/local/share:/usr/share }
if {![info exists ::env(MANPATH)]} { append-path MANPATH "" }
prepend-path PATH            $root/bin
prepend-path MANPATH         $root/share/man
prepend-path XDG_DATA_DIRS   $root/share
foreach lib {lib lib64} {
    if {[file isdirectory $root/$lib]} {
        prepend-path LD_LIBRARY_PATH $root/$lib
        prepend-path PKG_CONFIG_PATH $root/$lib/pkgconfig
    }
}
prepend-path CMAKE_PREFIX_PATH $root
setenv OPENBLAS_NUM_THREADS 1
setenv OMP_NUM_THREADS 1
