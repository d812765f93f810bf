#!/usr/bin/env bash
# before.sh DOCUMENT: what a document takes for granted, made here: my.yaml and its finished run in run/.
document=$1
case $document in
README.md | docs/tutorial.md) exit ;; # these make all they need
esac

# Users 1 .. 240 walk over films 1 .. 90 in steps of 1 to 3.
awk 'BEGIN {
    print "user_id,item_id,timestamp"
    for (u = 1; u <= 240; u++)
        for (n = 0; n < 12; n++)
            print u "," (u * 7 + n * (1 + u % 3)) % 90 + 1 "," n
}' >my.csv
mltfr_dist data --synthetic --out planted.h5 --quiet
cat >my.yaml <<'END'
data: {path: my.csv, max_len: 12}
tokens: {path: planted.h5}
model: {dim: 16}
filter: {pool: 64, top_m: 8}
train: {epochs: 2, warmup_epochs: 1, batch: 36}
END
mltfr_dist train --config my.yaml --quiet

case $document in
docs/verbs.md)
    printf '%s\n' 7 22 196 >ids.txt
    printf '%s\n' 3 14 15 92 >on_sale.txt
    printf '1 2 3\n40 42\n' >new.txt
    mkdir -p old-run/checkpoints
    cp run/checkpoints/step-00000014.h5 old-run/checkpoints/step-00004560.h5
    sed 's/my\.csv/grown.csv/' my.yaml >grown.yaml
    (cat my.csv && printf '241,91,1\n241,1,2\n241,2,3\n') >grown.csv
    ;;
docs/numerics.md)
    mltfr_dist train --config my.yaml --quiet --set run.dir=a
    mpirun -q -np 3 mltfr_dist train --config my.yaml --quiet --set run.dir=b
    ;;
esac
