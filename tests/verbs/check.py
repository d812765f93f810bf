"""check.py PROGRAM RUN: what the verbs write, read with NumPy and h5py as a user would, against
what follows from it: lists from exported vectors, ids from the data."""
import csv
import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

program, run = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
work = tempfile.TemporaryDirectory(prefix="mltfr-verbs.")  # removed at the end
os.chdir(work.name)


def call(verb, *words):
    subprocess.run([program, verb, "--set", "run.dir=" + run + "/run", *words], check=True,
                   stdout=subprocess.DEVNULL)


def histories():
    """What the data file says: users and items by first appearance, sequences in order of time."""
    rows = list(csv.DictReader(open(run + "/data.csv", newline="")))
    items = list(dict.fromkeys(r["item_id"] for r in rows))
    seen = {}
    for r in sorted(rows, key=lambda r: int(r["timestamp"])):
        seen.setdefault(r["user_id"], []).append(items.index(r["item_id"]))
    return list(dict.fromkeys(r["user_id"] for r in rows)), items, seen


users, items, seen = histories()

# Vectors: one HDF5 file, and the same numbers as .npy.
call("export", "--out", "v.h5")
call("export", "--out", "v")
with h5py.File("v.h5") as f:
    E, H = f["items/vectors"][()], f["users/vectors"][()]
    assert list(f["items/ids"].asstr()) == items
    assert list(f["users/ids"].asstr()) == users
    for name in "items/vectors", "users/vectors", "tokens/0/keys", "tokens/1/vectors", "tokens/c/rows":
        assert np.array_equal(f[name][()], np.load("v/" + name.replace("/", "-") + ".npy")), name
    assert open("v/items-ids.txt").read().split("\n")[:-1] == items
    strings = [json.loads(x) for x in open("v/tokens-0-strings.txt")]
    assert list(f["tokens/0/strings"].asstr()) == strings and all(strings)
    with h5py.File(run + "/planted.h5") as planted:
        at = planted["spaces/0/strings_offsets"][()]
        text = planted["spaces/0/strings_bytes"][()].tobytes()
        rows = f["tokens/0/rows"][()]
        assert [text[at[i]:at[i + 1]].decode() for i in rows] == strings
        assert np.array_equal(f["tokens/0/ids"][()], planted["spaces/0/ids"][()][rows])
assert H.dtype == E.dtype == np.float32 and len(E) == len(items) and len(H) == len(users)

# Lists: those that the vectors give, but for the last digits.
scores = H.astype(float) @ E.astype(float).T


def check_list(row, gone, names, values):
    row = row.copy()
    row[list(gone)] = -np.inf
    best = np.argsort(-row, kind="stable")[:len(names)]
    assert np.allclose(row[best], values, rtol=1e-4, atol=1e-5)
    assert np.allclose(row[[items.index(n) for n in names]], values, rtol=1e-4, atol=1e-5)
    assert len(names) == len(set(names)) and values == sorted(values, reverse=True)


call("recommend", "--users", "all", "--top-k", "9", "--out", "l.csv")
lists = {}
for r in csv.DictReader(open("l.csv", newline="")):
    lists.setdefault(r["user_id"], []).append(r)
assert list(lists) == users
for u, name in enumerate(users):
    assert [int(r["rank"]) for r in lists[name]] == list(range(1, 10))
    check_list(scores[u], seen[name], [r["item_id"] for r in lists[name]],
               [float(r["score"]) for r in lists[name]])

call("recommend", "--users", run + "/users.txt", "--items", run + "/items.txt", "--out", "l.jsonl",
     "--set", "eval.exclude_seen=false")
lists = [json.loads(x) for x in open("l.jsonl")]
allowed = [x for x in open(run + "/items.txt").read().split("\n") if x in items]
assert [x["user"] for x in lists] == ["user 7", "user 150", "user 7"]
for x in lists:
    assert sorted(x["items"]) == sorted(allowed)
    gone = [i for i in range(len(items)) if items[i] not in allowed]
    check_list(scores[users.index(x["user"])], gone, x["items"], x["scores"])

# A sequence that is a user's own is answered as the user is.
with open("s.txt", "w") as f:
    f.write("\t".join(items[i] for i in seen["user 7"]) + "\n")
call("recommend", "--sequences", "s.txt", "--out", "s.jsonl")
answer = json.loads(open("s.jsonl").read())
check_list(scores[users.index("user 7")], seen["user 7"], answer["items"], answer["scores"])

# Explanations: parts and weights sum up to 1, tokens are the pool's, and the mean over all users
# is the mean over each.
call("explain", "--users", ",".join(users), "--tokens", "1000", "--out", "each.json")
call("explain", "--users", "all", "--tokens", "1000", "--out", "all.json")
each, mean = json.load(open("each.json"))["users"], json.load(open("all.json"))
assert [x["user"] for x in each] == users and mean["users"] == len(users)
weights = {}
for x in each:
    assert abs(sum(e["part"] for e in x["experts"]) - 1) < 1e-5
    assert abs(sum(e["router"] for e in x["experts"][:-1]) - 1) < 1e-5
    assert x["experts"][-1]["name"] == "consensus" and x["experts"][-1]["part"] == x["gate"]
    for k, e in enumerate(x["experts"]):
        w = [t["weight"] for t in e["tokens"]]
        assert len(w) == 8 and w == sorted(w, reverse=True) and abs(sum(w) - 1) < 1e-5
        for t in e["tokens"]:
            weights.setdefault((k, t["token"]), []).append(t["weight"])
for k, e in enumerate(mean["experts"]):
    assert abs(e["part"] - np.mean([x["experts"][k]["part"] for x in each])) < 1e-6
    assert len(e["tokens"]) == sum(i == k for i, _ in weights)
    for t in e["tokens"]:
        w = weights[k, t["token"]]
        assert t["users"] == len(w) and abs(t["weight"] - sum(w) / len(users)) < 1e-6
assert {t["token"] for t in mean["experts"][0]["tokens"]} <= set(strings)

# Metrics: means and bins of the file with a line a user; coverage by lists for the same histories.
call("evaluate", "--metrics", "coverage,popularity,length", "--per-user", "u.csv", "--out", "m.json")
metrics, rows = json.load(open("m.json")), list(csv.DictReader(open("u.csv", newline="")))
long = [u for u in users if len(seen[u]) >= 3]
assert [r["user_id"] for r in rows] == long and metrics["users"] == len(long)
ranks = np.array([int(r["rank"]) for r in rows])
ndcg = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)
assert np.allclose([float(r["ndcg@10"]) for r in rows], ndcg)
assert abs(ndcg.mean() - metrics["ndcg@10"]) < 1e-12 and abs((1 / ranks).mean() - metrics["mrr"]) < 1e-12
for r in rows:
    assert r["item_id"] == items[seen[r["user_id"]][-1]]
    assert int(r["history"]) == len(seen[r["user_id"]]) - 1
lengths = np.array([len(seen[u]) - 1 for u in long])
for b in metrics["length"]:
    chosen = (lengths >= b["from"]) & (lengths <= b.get("to", 10**9))
    assert b["users"] == chosen.sum()
    assert abs(b["ndcg@10"] - (ndcg[chosen].mean() if chosen.any() else 0)) < 1e-12
trained = np.bincount(sum((seen[u][:-2] if len(seen[u]) >= 3 else seen[u] for u in users), []),
                      minlength=len(items))
order = np.argsort(-trained, kind="stable")
before = np.cumsum(trained[order]) - trained[order]
bins = np.empty(len(items), int)
bins[order] = np.where(trained[order] > 0, before * 5 // trained.sum(), 5)
targets = bins[[seen[u][-1] for u in long]]
for b, x in enumerate(metrics["popularity"]):
    assert x["items"] == (bins == b).sum() and x["users"] == (targets == b).sum()
    assert abs(x["hr@10"] - (np.mean(ranks[targets == b] <= 10) if x["users"] else 0)) < 1e-12
with open("h.txt", "w") as f:
    for u in long:
        f.write("\t".join(items[i] for i in seen[u][:-1]) + "\n")
call("recommend", "--sequences", "h.txt", "--out", "h.jsonl")
lists = [json.loads(x)["items"] for x in open("h.jsonl")]
assert abs(len(set(sum(lists, []))) / len(items) - metrics["coverage@10"]) < 1e-12
for x, u, rank in zip(lists, long, ranks):
    again = seen[u][-1] in seen[u][:-1]
    assert again or rank > 10 or x[rank - 1] == items[seen[u][-1]]
