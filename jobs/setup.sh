# shellcheck shell=bash
# Sourced by the scripts of this project: what they need from the system, and the environment in
# which Open MPI behaves on one machine.  Running it does nothing.

# shellcheck disable=SC2034 # the lists are read by the scripts that source this file

program_packages=(
    gcc libc6-dev cmake ninja-build pkg-config
    libopenmpi-dev openmpi-bin libscalapack-openmpi-dev
    libopenblas-dev libopenblas-pthread-dev # the pthread variant, which one thread a rank suits
    libhdf5-openmpi-dev libyaml-dev libcjson-dev libxxhash-dev
    libhdf5-dev # without MPI: for libmltfr
)
test_packages=(
    libcmocka-dev hdf5-tools python3 python3-h5py python3-numpy python3-yaml # read files as a user would
    clang libclang-rt-14-dev clang-format clang-tidy codespell shellcheck valgrind git xz-utils
    slurm-wlm munge # tests/jobs starts them itself
    dpkg-dev file environment-modules python3-pandas # tests/install, tests/docs
    chromium fonts-dejavu-core python3-pil # tests/report looks at a page
)
data_packages=(python3 python3-pip ca-certificates unzip)

# Those of the given packages that are not installed, a line each.
missing_packages() {
    local name
    for name; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] ||
            echo "$name"
    done
}

# ensure_packages PACKAGE...: install what is missing; ends the script with status 2 where that is
# not possible.  Nothing is asked of the network when all are there.
ensure_packages() {
    local missing as_root=()
    if ! command -v dpkg-query >/dev/null; then
        echo "not a Debian system: these packages, or the like, are taken to be there: $*" >&2
        return
    fi
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    if ((EUID)); then
        if ! command -v sudo >/dev/null; then
            echo "these packages are missing, and only root can install them:" >&2
            echo "    apt-get install ${missing[*]}" >&2
            exit 2
        fi
        as_root=(sudo)
    fi
    echo "installing: ${missing[*]}"
    if ! { "${as_root[@]}" apt-get -qq update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
            --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
            install "${missing[@]}"; } >&2; then
        echo "these packages could not be installed: ${missing[*]}" >&2
        exit 2
    fi
}

# One BLAS thread a rank, the parts of Open MPI 4.1 that are known to work, and ranks that yield
# where there are more of them than cores (docs/operations.md).  What is set already stays.
mpi_environment() {
    local pair
    for pair in OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 HDF5_USE_FILE_LOCKING=FALSE \
        OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 \
        OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none \
        OMPI_MCA_sharedfp=^sm OMPI_MCA_fcoll=individual; do
        [[ -v ${pair%%=*} ]] || export "${pair?}"
    done
    ((EUID)) || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    if [[ -v OPENBLAS_CORETYPE ]]; then
        echo "note: OPENBLAS_CORETYPE=$OPENBLAS_CORETYPE is set, so OpenBLAS uses that kernel;" \
            "unset it to let OpenBLAS choose" >&2
    fi
}
