# Recipe for Spack: copy it to packages/mltfr-dist/package.py of a repository of your own, see
# jobs/README.md.  `spack dev-build mltfr-dist@main` builds a checkout.
from spack.package import *


class MltfrDist(CMakePackage):
    """Sequential recommendation from the token embeddings of several LLMs, with the same bits at
    any number of MPI ranks."""

    homepage = "https://arxiv.org/abs/2604.18200"

    license("Apache-2.0")

    version("main")

    depends_on("c", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi@3.1:")
    depends_on("hdf5@1.10:+mpi")
    depends_on("openblas")
    depends_on("scalapack")
    depends_on("libyaml")
    depends_on("cjson")
    depends_on("xxhash")
    depends_on("cmocka", type="test")

    def cmake_args(self):
        # libmltfr wants an HDF5 without MPI beside the other one, which one environment cannot have.
        return [
            self.define("BUILD_TESTING", self.run_tests),
            self.define("MLTFR_SERVE", False),
            self.define("CBLAS_INCLUDE_DIR", self.spec["openblas"].prefix.include),
        ]
