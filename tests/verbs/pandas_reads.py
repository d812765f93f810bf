"""pandas_reads.py PROGRAM RUN: every file that the verbs write is read by pandas, NumPy or h5py, and has what the
documents say."""
import json
import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
    import pandas as pd
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

program, run = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
example = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../data/make_example.py")
work = tempfile.TemporaryDirectory(prefix="mltfr-pandas.")  # removed at the end
os.chdir(work.name)


def call(verb, *words):
    subprocess.run([program, verb, *words], check=True, stdout=subprocess.DEVNULL)


def ask(verb, *words):
    call(verb, "--set", "run.dir=" + run + "/run", *words)


# Interactions: the HDF5 form has the rows of the CSV file, by its ids.
rows = pd.read_csv(run + "/data.csv")
call("data", run + "/data.csv", "--out", "d.h5")
with h5py.File("d.h5") as f:
    g = f["interactions"]
    numbers = {name: g[name][()] for name in g if isinstance(g[name], h5py.Dataset)}
assert any(len(x) == len(rows) for x in numbers.values())

# Lists: the same as CSV and as JSON lines; ids are those of the data.
ask("recommend", "--users", "all", "--out", "l.csv")
ask("recommend", "--users", "all", "--out", "l.jsonl")
lists, lines = pd.read_csv("l.csv"), pd.read_json("l.jsonl", lines=True)
assert list(lists.columns) == ["user_id", "item_id", "rank", "score"]
assert set(lists.user_id) == set(rows.user_id) and set(lists.item_id) <= set(rows.item_id)
long = lines.explode(["items", "scores"])
assert (lists.item_id.values == long["items"].values).all()
assert np.allclose(lists.score, long.scores.astype(float))

# A line a user, and the metrics of all.
ask("evaluate", "--per-user", "u.csv", "--out", "m.json")
users, metrics = pd.read_csv("u.csv"), json.load(open("m.json"))
assert abs(users["ndcg@10"].mean() - metrics["ndcg@10"]) < 1e-9 and users.user_id.is_unique

# Vectors, explanations, token spaces.
ask("export", "--out", "v.h5")
ask("export", "--out", "v")
with h5py.File("v.h5") as f:
    items = pd.DataFrame(f["items/vectors"][()], index=f["items/ids"].asstr()[()])
assert set(items.index) == set(rows.item_id) and np.isfinite(items.values).all()
assert np.array_equal(items.values, np.load("v/items-vectors.npy"))
ask("explain", "--users", "user 7", "--out", "e.json")
experts = pd.json_normalize(json.load(open("e.json"))["users"], "experts")
assert abs(experts.part.sum() - 1) < 1e-5

# Token spaces and their report.
subprocess.run([sys.executable, example, "example"], check=True, stdout=subprocess.DEVNULL)
tables = [{"name": x, "path": f"example/{x}/table.npy"} for x in ("small", "large")]
small = ["--set", "tokens.shared_dim=8", "--set", "tokens.specific_dim=8", "--set", "tokens.tables=" + json.dumps(tables)]
call("tokens", "--out", "t.h5", *small)
report = json.load(open("t.json"))
with h5py.File("t.h5") as f:
    assert f["spaces"].attrs["K"] == len(tables) == len(report["llms"])
    assert all(np.isfinite(f[f"spaces/{k}/Z"][()]).all() for k in ("0", "1", "c"))
assert [x["name"] for x in report["llms"]] == ["small", "large"]

# A step played again: its golden file has the numbers that the program writes anew.
golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden/golden_small.h5")
call("replay", golden, "r.h5")
with h5py.File("r.h5") as f, h5py.File(golden) as g:
    replayed = []
    f.visititems(lambda name, x: replayed.append(name) if isinstance(x, h5py.Dataset) else None)
    assert len(replayed) > 20 and all(np.isfinite(f[x][()]).all() for x in replayed if f[x].dtype.kind == "f")
    assert any(x in g for x in replayed)

# A run with a timeline, and measured rates.
call("train", "--progress=none", "--set", "data.path=example/loans.csv", "--set", "tokens.path=t.h5", "--set",
     "run.trace=true", "--set", "train.max_steps=2", "--set", "model.dim=16", "--set", "filter.pool=64", "--set", "filter.top_m=8",
     "--set", "train.warmup_epochs=0", "--set", "run.dir=traced")
trace = json.load(open("traced/trace.json"))
spans = pd.DataFrame(x for x in trace if x["ph"] == "X")
assert {"name", "ts", "dur", "pid"} <= set(spans) and (spans.dur >= 0).all()
call("report", "traced", "--out", "p.html")  # the names of the LLMs are those of t.json, beside tokens.path
assert all(f"</i>{name}</li>" in open("p.html").read() for name in ("small", "large", "consensus"))
call("bench", "--quick", "--out", "b.json", "--set", "data.path=example/loans.csv", "--set", "model.experts=false", "--set", "model.dim=16",
     "--set", "run.dir=traced")
bench = json.load(open("b.json"))
rates = pd.DataFrame(bench["lines"])
assert rates.seconds.gt(0).all() and rates.name.str.startswith("step").any() and bench["rates"]["backbone"] > 0

# The run itself: metrics by kind, the result, every array of the checkpoint.
lines = pd.read_json(run + "/run/metrics.jsonl", lines=True)
assert {"step", "epoch", "valid", "test", "experts", "time"} <= set(lines.kind)
assert lines[lines.kind == "step"].loss.notna().all()
result = json.load(open(run + "/run/result.json"))
with h5py.File(os.path.join(run, "run", "checkpoints", os.path.basename(result["best_checkpoint"]))) as f:
    arrays = []
    f.visititems(lambda name, x: arrays.append(x[()]) if isinstance(x, h5py.Dataset) else None)
    assert len(arrays) > 20 and set(f["params"]) and "config" in f.attrs
print("read:", len(lines), "lines of metrics,", len(arrays), "arrays of a checkpoint,", len(lists), "entries of lists")
