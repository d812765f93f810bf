#!/usr/bin/env bash
# modules.sh BUILD: the module file of jobs/ is loaded, brings the installed program and is unloaded
# without a trace; the recipe for Spack runs against a stand-in for Spack.
set -euo pipefail
build=$1 source=${MLTFR_SOURCE_DIR:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 - "$source/jobs/spack/package.py" "$source/CMakeLists.txt" <<'END'
import sys, types
calls, spack = [], types.ModuleType("spack")
stub = types.ModuleType("spack.package")
class CMakePackage:
    run_tests = False
    def define(self, name, value): return f"-D{name}={value}"
stub.CMakePackage = CMakePackage
for name in "license", "version", "depends_on":
    setattr(stub, name, lambda *words, _name=name, **named: calls.append((_name, *words)))
stub.__all__ = ["CMakePackage", "license", "version", "depends_on"]
sys.modules.update({"spack": spack, "spack.package": stub})
scope = {}
exec(compile(open(sys.argv[1]).read(), "package.py", "exec"), scope)
package = scope["MltfrDist"]()
class Spec(dict):
    def __missing__(self, name): return types.SimpleNamespace(prefix=types.SimpleNamespace(include="/" + name))
package.spec = Spec()
arguments, cmake = package.cmake_args(), open(sys.argv[2]).read()
needed = {c[1].split("@")[0].split("+")[0] for c in calls if c[0] == "depends_on"}
assert {"mpi", "hdf5", "openblas", "scalapack", "libyaml", "cjson", "xxhash", "cmake"} <= needed, needed
for option in arguments:
    assert option[2:].split("=")[0] in cmake, option
END

init=/usr/share/modules/init/bash
[[ -r $init ]] || { echo "the recipe is right; skipped: no environment-modules"; exit 77; }
cmake --install "$build" --prefix "$work/root" >/dev/null
mkdir -p modulefiles/mltfr_dist
cp "$source/jobs/modulefiles/mltfr_dist.tcl" modulefiles/mltfr_dist/0.1.0
export MLTFR_ROOT=$work/root
set +eu
# shellcheck source=/dev/null
. "$init"
module use "$work/modulefiles"
before=$PATH
unset XDG_DATA_DIRS MANPATH
module load mltfr_dist/0.1.0
[[ $(command -v mltfr_dist) == "$work/root/bin/mltfr_dist" ]] || { echo "not on PATH: $PATH"; exit 1; }
mltfr_dist --version | grep -q '^mltfr_dist 0' || exit 1
[[ $OPENBLAS_NUM_THREADS == 1 && $MANPATH == "$work/root/share/man"* ]] || { echo "environment"; exit 1; }
[[ :$XDG_DATA_DIRS: == *:/usr/share:* && :$MANPATH: == *::* ]] || { echo "the system's directories are lost"; exit 1; }
module unload mltfr_dist
[[ $PATH == "$before" ]] || { echo "PATH is $PATH after the unload"; exit 1; }
