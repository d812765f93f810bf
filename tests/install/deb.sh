#!/usr/bin/env bash
# deb.sh BUILD RUN: make the Debian packages, install them with dpkg in a root directory of their own
# beside this machine's list of packages, run what they brought, and remove them: nothing is left.
set -euo pipefail
build=$1 run=$2 here=$(dirname "$(realpath "$0")")
for tool in cpack dpkg dpkg-shlibdeps file; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "$*"; exit 1; }
CMAKE_BUILD_PARALLEL_LEVEL=1 cpack -G DEB --config "$build/CPackConfig.cmake" -B out >cpack.log 2>&1 ||
    fail "$(cat cpack.log)"
program=$(echo out/mltfr-dist_*.deb) library=$(echo out/libmltfr_*.deb)

# What they need: the program MPI, the library none.
dpkg-deb -f "$program" Depends | grep -E 'libopenmpi3.*|libhdf5-openmpi' >/dev/null || fail "no MPI: $(dpkg-deb -f "$program")"
dpkg-deb -f "$program" Depends | tr , '\n' | grep -q scalapack || fail "no ScaLAPACK: $(dpkg-deb -f "$program")"
! dpkg-deb -f "$library" Depends | grep -E 'mpi|scalapack' || fail "libmltfr depends on MPI"
dpkg-deb -f "$library" Depends | grep -q 'libhdf5-103' || fail "no HDF5: $(dpkg-deb -f "$library")"

mkdir -p root/var/lib/dpkg/{info,updates} root/var/log
cp /var/lib/dpkg/status root/var/lib/dpkg/
cp /var/lib/dpkg/arch root/var/lib/dpkg/ 2>/dev/null || :
dpkg=(dpkg --root="$work/root" --force-not-root --force-script-chrootless --log="$work/dpkg.log")
"${dpkg[@]}" -i "$program" "$library" >dpkg.out 2>&1 || fail "$(cat dpkg.out)"
best=$(find "$run/run/checkpoints" -name 'step-*.h5' | sort | tail -1)
root/usr/bin/mltfr_dist recommend --checkpoint "$best" --users all --top-k 7 --out users.csv --quiet >/dev/null
cc -std=c11 "$here/consumer/lists.c" -o lists -Iroot/usr/include -Lroot/usr/lib -lmltfr
LD_LIBRARY_PATH=root/usr/lib ./lists "$best" 7 - >lists.csv
cmp users.csv lists.csv || fail "other lists than recommend"

"${dpkg[@]}" -P mltfr-dist libmltfr >dpkg.out 2>&1 || fail "$(cat dpkg.out)"
left=$(find root -not -path '*/var/*' -type f -o -not -path '*/var/*' -type l -o -path '*mltfr*')
[[ -z $left ]] || fail "left behind: $left"
echo "installed, used and removed: ${program##*/} ${library##*/}"
