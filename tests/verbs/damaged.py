"""damaged.py PROGRAM RUN: files that another program wrote, or that lost bytes, and tables that lack dimensions: one line
and status 1; a run that ends all the same where only its best checkpoint is gone; a second run in its directory."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

program, run = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden/")
work = tempfile.TemporaryDirectory(prefix="mltfr-damaged.")  # removed at the end
os.chdir(work.name)


def call(status, *words):
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, (words, done)
    return done.stdout + done.stderr


def refused(says, *words):
    said = call(1, *words)
    assert re.search(says, said) and said.count("\n") == 1, said


# ---- attributes of other sizes than one

for name in "format", "kind", "program":
    with h5py.File("list.h5", "w") as f:
        f.attrs[name] = ["a list"] * 1000
    assert "arrays: 0" in call(0, "inspect", "list.h5")
with h5py.File("fixed.h5", "w") as f:
    f.attrs["format"] = np.array(["mltfr-golden"] * 1000, dtype="S")
refused("fixed.h5: not a golden file", "replay", "fixed.h5", "o.h5")
with h5py.File("null.h5", "w") as f:
    f.attrs["format"] = h5py.Empty("S8")
refused("null.h5: not a golden file", "replay", "null.h5", "o.h5")
call(0, "data", run + "/data.csv", "--out", "d.h5")
with h5py.File("d.h5", "a") as f:
    f.attrs.pop("checksums")
    f["interactions"].attrs["version"] = np.ones(1000, "i8")
refused("'interactions' has no attribute 'version' of the right type", "data", "d.h5")

# ---- golden files whose arrays do not fit


def spoil(source, name, change, says):
    shutil.copy(golden + source, "g.h5")
    with h5py.File("g.h5", "a") as f:
        values = change(f[name][()])
        del f[name]
        f[name] = values
    refused(says, "replay", "g.h5", "o.h5")
    assert not [x for x in os.listdir() if x.startswith("o.h5")]


def lift(x):
    x[1] = 1 << 40
    return x


spoil("golden_small.h5", "spaces/0/Z", lambda x: np.tile(x, 9), "g.h5: spaces/0/Z: [0-9]+ columns are needed")
spoil("golden_small.h5", "level_a/0/explore_ids", lambda x: x[:3], "g.h5: level_a/0/explore_ids: 3 of .* tokens")
spoil("golden_conditioning.h5", "conditioning/0/strings_offsets", lift, "golden table table0: arrays do not fit together")

# ---- a run whose best checkpoint is damaged: nothing is learned, so that the first validation stays the best

start = ["train", "--set", f"data.path={run}/data.csv", "--set", "model.experts=false", "--set", "model.dim=16",
         "--set", "train.epochs=3", "--set", "train.lr=1e-30", "--set", "train.warmup_steps=0", "--progress=none"]
call(0, *start)
with open("run/result.json") as f:
    result = json.load(f)
assert result["best_epoch"] == 1, result
best = "run/" + result["best_checkpoint"]
with open("run/result.json", "w"):
    pass  # as a file system may leave it after a loss of power: the run has not ended
assert "this run has ended" not in call(0, *start)
with open("run/result.json") as f:
    assert json.load(f)["test"] == result["test"]
os.remove("run/result.json")
with open(best, "r+b") as f:
    f.seek(os.path.getsize(best) // 2)
    byte = f.read(1)[0]
    f.seek(-1, 1)
    f.write(bytes([byte ^ 16]))
said = call(0, *start)
assert f"{best}: " in said and "it was the best: the last step is the result" in said, said
with open("run/result.json") as f:
    last = json.load(f)
assert last["best_epoch"] == 3 and last["best_step"] == 3 * result["best_step"], last
assert "this run has ended" in call(0, *start)
call(0, "evaluate")

# ---- two runs in one directory: the second is refused, the first goes on

busy = start + ["--set", "run.dir=busy", "--set", "train.epochs=1000000", "--set", "eval.every=0"]
first = subprocess.Popen([program, *busy], stdout=subprocess.DEVNULL)
while not glob.glob("busy/checkpoints/*.h5"):
    time.sleep(.1)
refused("busy: another train is at work on this run", *busy, "--resume=no")
open("busy/stop", "w").close()
assert first.wait(60) == 75
assert glob.glob("busy/checkpoints/*.h5")

# ---- a copy of a run is another run; a line that a full disk cut short

shutil.copytree("run", "copy")
os.remove("run/evaluate-test.json")
with open("copy/result.json") as f:
    call(0, "evaluate", "--checkpoint", "copy/" + json.load(f)["best_checkpoint"])
assert os.path.exists("copy/evaluate-test.json") and not os.path.exists("run/evaluate-test.json")
os.chdir("copy/checkpoints")
call(0, "evaluate", "--checkpoint", max(glob.glob("*.h5")), "--set", "run.dir=..")
os.chdir("../..")
with open("copy/metrics.jsonl") as f:
    lines = f.readlines()
with open("copy/metrics.jsonl", "w") as f:
    f.writelines([lines[0][:9], *lines[1:]])
assert "metrics.jsonl:1: not a JSON object: passed over" in call(0, "report", "copy")

# ---- tables with fewer dimensions than the spaces are to have: the others would be rounding, blown up

example = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../data/make_example.py")
subprocess.run([sys.executable, example, "example"], check=True)
table = np.load("example/small/table.npy").astype("f8")
plane = np.linalg.svd(table - table.mean(0), full_matrices=False)[2][:12]
np.save("example/small/table.npy", (table.mean(0) + (table - table.mean(0)) @ plane.T @ plane).astype("f4"))
both = "[{name: small, path: example/small/table.npy}, {name: large, path: example/large/table.npy}]"
for tables in both, "[{name: small, path: example/small/table.npy}]":
    words = ["tokens", "--quiet", "--set", "tokens.shared_dim=8", "--set", "tokens.tables=" + tables, "--out", "few.h5"]
    refused("small has no variance in some of 16 dimensions: smaller", *words, "--set", "tokens.specific_dim=8")
    call(0, *words, "--set", "tokens.specific_dim=4")
