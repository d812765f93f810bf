"""data.py PROGRAM: what `data` keeps and cuts, against the rules done literally in Python."""
import os
import random
import subprocess
import sys
import tempfile

import h5py

program = os.path.abspath(sys.argv[1])
work = tempfile.TemporaryDirectory(prefix="mltfr-data.")  # removed at the end
os.chdir(work.name)
random.seed(5)
rows = [(f"u{random.randrange(60)}", f"i{int(80 * random.random() ** 2)}", random.randrange(150))
        for _ in range(900)]
with open("d.csv", "w") as f:
    f.write("user_id,item_id,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))


def convert(*sets, source="d.csv", status=0):
    words = [x for s in sets for x in ("--set", "data." + s)]
    done = subprocess.run([program, "data", source, "--out", "d.h5", *words], text=True,
                          capture_output=True)
    assert done.returncode == status, done.stderr
    if status:
        return done.stderr
    with h5py.File("d.h5") as f:
        g = f["interactions"]

        def strings(what):
            text, at = g[what + "_bytes"][()].tobytes(), g[what + "_offsets"][()]
            return [text[a:b].decode() for a, b in zip(at, at[1:])]
        users, items, at = strings("user_names"), strings("item_names"), g["offsets"][()]
        cuts = g["cuts"][()].reshape(-1, 2).tolist() if "cuts" in g else None
        return done.stdout, [(u, [items[i - 1] for i in g["ids"][a:b]])
                             for u, a, b in zip(users, at, at[1:])], items, cuts


def plain():
    """Sequences by first appearance of the users, with times; repetitions dropped."""
    out = {}
    for r in rows:
        out.setdefault(r[0], [])
        if (r[1], r[2]) not in out[r[0]]:
            out[r[0]].append((r[1], r[2]))
    return [(u, sorted(s, key=lambda x: x[1])) for u, s in out.items()]


def items_of(sequences):
    return [(u, [i for i, _ in s]) for u, s in sequences]


said, kept, items, cuts = convert()
assert kept == items_of(plain()) and cuts is None and "dropped=" not in said

# k-core: drop until nothing changes; numbers of what is left rise as before.
for min_user, min_item in (5, 5), (1, 12), (20, 1), (8, 10):
    sequences, before = plain(), None
    while sequences != before:
        before = sequences
        sequences = [(u, s) for u, s in sequences if len(s) >= min_user]
        count = {}
        for _, s in sequences:
            for i, _ in s:
                count[i] = count.get(i, 0) + 1
        sequences = [(u, [x for x in s if count[x[0]] >= min_item]) for u, s in sequences]
        sequences = [(u, s) for u, s in sequences if s]
    said, core, names, _ = convert(f"min_user={min_user}", f"min_item={min_item}")
    assert core == items_of(sequences)
    left = {i for _, s in core for i in s}
    assert names == [i for i in items if i in left]
    gone = sum(len(s) for _, s in kept) - sum(len(s) for _, s in core)
    assert f" dropped={gone} dropped_users={len(kept) - len(core)} " in said, said
    # The same from the HDF5 form.
    convert()
    os.rename("d.h5", "all.h5")
    assert convert(f"min_user={min_user}", f"min_item={min_item}", source="all.h5")[1:3] == (core, names)

# Ties: the same items at the same times in another order, another one for another seed.
_, shuffled, _, _ = convert("ties=shuffled")
assert shuffled != kept
for (u, s), (v, t), (_, timed) in zip(kept, shuffled, plain()):
    assert u == v
    times = [x for _, x in timed]
    assert sorted(zip(times, s)) == sorted(zip(times, t))

# Split by time: the cuts are the same two moments for all.
said, split, _, cuts = convert("split=time", "split_share=.15")
assert split == kept
times = sorted(x for _, s in plain() for _, x in s)
held = int(.15 * len(times))
valid, test = times[-2 * held], times[-held]
assert cuts == [[sum(x < valid for _, x in s), sum(x < test for _, x in s)] for _, s in plain()]
assert f"train={sum(a for a, _ in cuts)} " in said
assert f"valid_users={sum(0 < a < b for a, b in cuts)} " in said
assert f"test_users={sum(0 < b < len(s) for (_, b), (_, s) in zip(cuts, kept))}\n" in said
os.rename("d.h5", "split.h5")
assert convert(source="split.h5")[3] == cuts
again = subprocess.run([program, "data", "split.h5", "--set", "data.ties=shuffled"], capture_output=True, text=True)
assert again.returncode == 0 and "shuffled has no effect on this form" in again.stderr, again

# What cannot be.
with open("s.txt", "w") as f:
    f.write("a x y z w\nb x y\n")
assert "needs times, and this file has none" in convert("split=time", source="s.txt", status=1)
assert "needs times, and this file has none" in convert("ties=shuffled", source="s.txt", status=1)
assert "needs times, which this form does not keep" in convert("split=time", source="all.h5", status=1)
assert "leave none of" in convert("min_user=500", status=1)
