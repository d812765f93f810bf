#!/usr/bin/env bash
# Includes may only go down the layers, and never in a circle:
#
#                 app
#                  |
#                train
#               /     \
#           model     io
#             |      /  \
#            num    /   comm (mpi/)
#              \---/     /
#               base ---/
#
# A source belongs to the layer of its folder, a public header to the one in its line `Layer: X`
# (`Layers: X and Y` where two layers implement it; reaching one of them is enough to use it).
# MPI, HDF5 and ScaLAPACK are seen in mpi/ and tests/ only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

declare -A below=(
    [base]=''
    [num]='base'
    [comm]='base'
    [model]='num base'
    [io]='num comm base'
    [train]='model io num comm base'
    [app]='train model io num comm base'
)
declare -A header_layers # mltfr/x.h -> its layers
faults=0
fault() {
    echo "$*"
    faults=$((faults + 1))
}

# layers_in HEADER: the known layers that its sentence "Layer: ..." or "Layers: ..." names.
layers_in() {
    local word words
    read -ra words < <(sed -nE '/Layers?: /{s/.*Layers?: //;N;p;q}' "$1" |
        tr '\n' ' ' | sed -E 's/\. .*//; s/[^a-z]+/ /g')
    for word in "${words[@]}"; do
        if [[ -v below[$word] ]]; then echo "$word"; fi
    done
}

for header in include/mltfr/*.h; do
    header_layers[${header#include/}]=$(layers_in "$header" | xargs)
    [[ ${header_layers[${header#include/}]} ]] || fault "$header: no line 'Layer: X'"
done

# may LAYER TARGETS: may a file of LAYER include a header of one of the TARGETS?
may() {
    local target
    for target in $2; do
        [[ " $1 ${below[$1]} " == *" $target "* ]] && return
    done
    return 1
}

# edge FILE HEADER: one include, for tsort (which takes a file before itself for a mere name).
edge() {
    [[ $1 != "$2" ]] || fault "$1 includes itself"
    echo "$1 $2" >&3
}

# check FILE LAYER: its includes.
check() {
    local file=$1 layer=$2 line name target
    while IFS=: read -r line name; do
        case $name in
        '<mpi.h>' | '<hdf5.h>')
            [[ $layer == comm ]] || fault "$file:$line: $name is for mpi/ only, this is $layer"
            ;;
        '<mltfr/'*.h'>')
            name=${name//[<>]/}
            target=${header_layers[$name]-}
            if [[ ! -f include/$name ]]; then
                fault "$file:$line: there is no include/$name"
            elif ! may "$layer" "$target"; then
                fault "$file:$line: $layer may not include $name, which is ${target:-of no layer}"
            fi
            edge "$file" "include/$name"
            ;;
        '"'*)
            name=$(realpath -m --relative-to=. "${file%/*}/${name//\"/}")
            if [[ $(folder_layer "$name") != "$layer" || ! -f $name ]]; then
                fault "$file:$line: $name is not a private header of $layer"
            fi
            edge "$file" "$name"
            ;;
        esac
    done < <(sed -nE 's/^ *# *include *([<"][^>"]*[>"]).*/\1/;T;=;p' "$file" | paste -d: - -)
}

folder_layer() {
    case $1 in
    mpi/*) echo comm ;;
    src/*) cut -d/ -f2 <<<"$1" ;;
    esac
}

edges=$(mktemp)
trap 'rm -f "$edges"' EXIT
exec 3>"$edges"
for header in include/mltfr/*.h; do
    for layer in ${header_layers[${header#include/}]}; do
        check "$header" "$layer"
    done
done
while IFS= read -r file; do
    layer=$(folder_layer "$file")
    if [[ -v below[$layer] ]]; then
        check "$file" "$layer"
    else
        fault "$file: src/$layer is not a layer"
    fi
done < <(find mpi src -name '*.[ch]' | sort)
exec 3>&-

if ! loop=$(tsort "$edges" 2>&1 >/dev/null); then
    fault "includes go in a circle:"$'\n'"${loop//tsort: /    }"
fi
routines='Cblacs_|Csys2blacs|Cfree_blacs|\b(blacs_|p[sd](sy|po|ge|la|or|tr|gemm|gemr)[a-z0-9]+)_? *\('
while IFS= read -r hit; do
    fault "$hit (BLACS and ScaLAPACK are for mpi/ only)"
done < <(grep -rnE "$routines" include src || :)

((faults == 0)) || exit 1
echo "layers: $(wc -l <"$edges") includes, all of them downward"
