#!/usr/bin/env bash
# completion.sh FILE: what the completion for bash offers.
set -uo pipefail
# shellcheck source=/dev/null
. "$1" || exit 1
faults=0
# shellcheck disable=SC2317 # called by what is sourced
compopt() { :; } # bash has it inside a completion only

# offers LINE WORD...: LINE, with the cursor at its end, is completed by these words.
offers() {
    local line=$1 got
    shift
    COMP_LINE=$line COMP_POINT=${#line}
    read -ra COMP_WORDS <<<"${line//=/ = }"
    [[ $line != *' ' ]] || COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    _mltfr_dist
    got=$(printf '%s\n' "${COMPREPLY[@]}" | sort | xargs -d '\n')
    [[ $got == "$*" ]] || { echo "'$line': offered '$got', expected '$*'"; faults=$((faults + 1)); }
}

cd "$(mktemp -d)" || exit 1
touch a.yaml 'b c.yaml'
offers 'mltfr_dist t' tokens train
offers 'mltfr_dist rec' recommend
offers 'mltfr_dist train --res' --resume=
offers 'mltfr_dist recommend --users' --users=
offers 'mltfr_dist inspect --v' --verify --version
offers 'mltfr_dist --prog' --progress=
offers 'mltfr_dist evaluate --progress=b' bar
offers 'mltfr_dist evaluate --split ' test valid
offers 'mltfr_dist train --config ' a.yaml 'b c.yaml'
offers 'mltfr_dist train --config=a' a.yaml
offers 'mltfr_dist inspect b' 'b c.yaml'
offers 'mltfr_dist train --set fisher.ru' fisher.rule=
offers 'mltfr_dist evaluate --set fisher.ru'
offers 'mltfr_dist train --set model.norm=p' post pre
offers 'mltfr_dist train --quiet --set=model.experts=f' false
offers 'mltfr_dist evaluate --quiet a' a.yaml
COMP_WORDBREAKS=' '
offers 'mltfr_dist train --set model.norm=pr' model.norm=pre
[[ $(complete -p mltfr_dist) == 'complete -F _mltfr_dist mltfr_dist' ]] || faults=1
rm -r "$PWD"
exit "$((faults > 0))"
