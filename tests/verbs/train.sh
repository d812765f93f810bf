#!/usr/bin/env bash
# train.sh PROGRAM DIRECTORY [WORD...]: a small finished run, of these settings, in DIRECTORY/run, on
# interactions whose ids need quotes and on the planted token spaces; and files that name users,
# items and sequences.
set -euo pipefail
program=$1 directory=$2
shift 2
rm -rf "$directory"
mkdir -p "$directory"
cd "$directory"

# Item ids are `i 1`, `i,2`, `i"3`, `i4`, ...; a user walks over them with steps of 1 to 3.
awk 'function item(i) { return "\"i" substr(" ,x", i % 4 + 1, i % 4 < 2) (i % 4 == 2 ? "\"\"" : "") i "\"" }
     function random(n) { seed = (seed * 1103515245 + 12345) % 2147483648; return int(seed / 65536) % n }
     BEGIN {
         seed = 7
         print "timestamp,user_id,item_id"
         for (u = 1; u <= 150; u++) {
             at = random(90)
             for (n = u % 50 ? 2 + random(25) : 1; n > 0; n--) {
                 at = (at + 1 + random(3)) % 90
                 print 1000 - n ",\"user " u "\"," item(at)
             }
         }
     }' >data.csv
"$program" data --synthetic --out planted.h5 --quiet
"$program" train --set data.path="$directory/data.csv" --set tokens.path="$directory/planted.h5" \
    --set run.dir="$directory/run" --set train.epochs=4 --set train.batch=32 --set data.max_len=20 \
    --set train.warmup_epochs=1 --set model.dim=16 --set filter.pool=64 --set filter.top_m=8 \
    --set fisher.start=4 --set fisher.every=4 --set fisher.sample_every=2 --progress=none "$@"
printf 'user 7\nuser 150\n\nuser 7\n' >users.txt
printf '%s\n' 'i 4' 'i,5' 'i"6' i7 'i 8' 'i,9' nowhere >items.txt
printf 'i 4\ti,5\ni7\ti"6\ti,9\ti 8\n' >known.txt
printf 'i 4\ti,5\tnowhere\n\nnobody\ni7\n\ti"6\ti,9\ti 8\n' >sequences.txt
