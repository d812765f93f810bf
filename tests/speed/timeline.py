#!/usr/bin/env python3
"""A run with run.trace, and what its timeline and its lines of kind time say.

timeline.py RANKS DIRECTORY COMMAND...: the command line of mltfr_dist with its launcher."""
import json
import os
import shutil
import subprocess
import sys

ranks, directory, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
PHASES = ["items", "backbone", "gather", "experts", "loss", "experts_back", "backbone_back",
          "optimise", "fisher", "pools"]
SIZES = ["train.epochs=2", "train.warmup_epochs=1", "model.dim=16", "filter.pool=64"]


def train(run, *more):
    words = [w for s in SIZES + ["run.dir=" + run, *more] for w in ("--set", s)]
    status = subprocess.run([*command, "train", *words], check=False, cwd=directory,
                            stdout=subprocess.DEVNULL).returncode
    assert status == (75 if "run.stop_after=4" in more else 0), status


def inside(events):
    """Events of one rank are nested: each ends before what was open when it began."""
    open_until = []
    for e in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
        while open_until and open_until[-1] <= e["ts"] + .002:
            open_until.pop()
        assert not open_until or e["ts"] + e["dur"] <= open_until[-1] + .002, e
        open_until.append(e["ts"] + e["dur"])


def check_timeline(path):
    with open(path, encoding="utf-8") as f:
        timeline = json.load(f)
    assert {e["pid"] for e in timeline} == set(range(ranks))
    for p in range(ranks):
        mine = [e for e in timeline if e["pid"] == p and e["ph"] == "X"]
        phases = [e["name"] for e in mine if e["cat"] == "phase"]
        assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in mine)
        assert set(phases) <= set(PHASES) and phases.count("loss") == 2 * phases.count(
            "backbone_back") == 12, phases  # 6 steps; the mean loss is timed apart
        assert {e["cat"] for e in mine} == {"phase", "mpi"}
        inside(mine)


def check_time(path):
    with open(path, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    times = [x for x in lines if x["kind"] == "time"]
    assert [x["epoch"] for x in times] == [1, 2]
    for x in times:
        for phase in PHASES:
            assert 0 <= x["wait"][phase] <= x[phase] + 1e-6 <= x["train"] + 2e-6, (phase, x)
        assert ranks > 1 or .3 * x["train"] < sum(x[p] for p in PHASES) <= x["train"] + 1e-4, x
        assert 0 < x["mpi"] < x["train"] and 0 <= x["hidden"] < 1, x
        assert (x["hidden"] > 0) == (ranks > 1), x
        assert x["peak"] > 0 and x["imbalance"] >= 1 - 1e-6, x
        steps = x["train"] - x["pools"]
        assert abs(x["gflops"] * steps / x["gflop"] - 1) < .01, x
        assert abs(x["share"] - x["gflops"] / x["peak"]) < .001, x
    return times


def write_sequences(path):
    """40 users of 5 to 12 items out of 50; what they train on: two items are held out and the third
    last is a target only."""
    with open(path, "w", encoding="utf-8") as f:
        lengths = [5 + u % 8 for u in range(40)]
        for u, n in enumerate(lengths):
            f.write(" ".join([f"u{u}"] + [f"i{(3 * u + i) % 50}" for i in range(n)]) + "\n")
    return [n - 3 for n in lengths]


shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
train("on", "run.trace=true")
check_timeline(directory + "/on/trace.json")
first, second = check_time(directory + "/on/metrics.jsonl")
assert second["gflop"] > first["gflop"]
assert first["load"] == 0 and 1 <= second["load"] <= 2, second

train("named", "run.trace=here.json", "run.stop_after=4")
with open(directory + "/here.json", encoding="utf-8") as here:
    assert {e["pid"] for e in json.load(here)} == set(range(ranks))

# Without experts and in numbers: d 16, 2 layers, 50 items.
lengths = write_sequences(directory + "/sequences.txt")
train("plain", "data.path=sequences.txt", "model.experts=false")
assert not os.path.exists(directory + "/plain/trace.json")
positions, pairs = sum(lengths), sum(n * (n + 1) // 2 for n in lengths)
flop = 6 * positions * 50 * 16 + 6 * (24 * 16 * 16 * positions + 4 * 16 * pairs)
for x in check_time(directory + "/plain/metrics.jsonl"):
    assert abs(x["gflop"] * 1e9 / flop - 1) < 1e-4, (x["gflop"], flop)
