"""init.py PROGRAM RUN LAUNCH...: warm starts on grown data: rows by id, experts by name, the rest as a
fresh start draws it, and the same on three ranks."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy as np

program, run, launch = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3:]
work = tempfile.TemporaryDirectory(prefix="mltfr-init.")  # removed at the end
os.chdir(work.name)
small = ["--set", "train.epochs=0", "--set", "model.dim=16", "--set", "data.max_len=20",
         "--set", "filter.pool=64", "--set", "filter.top_m=8", "--progress=none",
         "--set", "model.backbone=" + re.search(r"backbone: (\w+)", open(run + "/run/config.yaml").read())[1]]

# New users and an unknown item come first, so that every item has another number.
with open(run + "/data.csv") as old, open("grown.csv", "w") as new:
    new.write(old.readline() + "5,newcomer,brand new\n6,newcomer,i7\n7,newcomer,brand new\n")
    new.write("8,newcomer,i7\n" + old.read())


def start(name, *words, np_=0):
    done = subprocess.run([*(launch + [str(np_)] if np_ else []), program, "train", *small,
                           "--set", "data.path=grown.csv", "--set", "run.dir=" + name,
                           "--set", f"tokens.path={run}/planted.h5", *words],
                          check=True, capture_output=True, text=True)
    return done.stdout, read(name + "/checkpoints/step-00000000.h5")


def read(path):
    with h5py.File(path) as f:
        out = {"params/" + k: v[()] for k, v in f["params"].items()}
        out["ids"] = list(f["items"].asstr())
        out["llms"] = list(f["llms"].asstr())
    return out


_, fresh = start("fresh")
best = run + "/run/checkpoints/" + max(os.listdir(run + "/run/checkpoints"))
old = read(best)
said, warm = start("warm", "--init", best)
assert "90 of 91 items taken, 1 are fresh" in said and "LLM synthetic1: taken" in said, said
assert warm["ids"] == fresh["ids"] and warm["ids"][0] == "brand new" and old["ids"] != warm["ids"][1:]
for i, name in enumerate(warm["ids"]):
    row = old["params/item.weight"][old["ids"].index(name)] if name in old["ids"] else fresh["params/item.weight"][i]
    assert np.array_equal(warm["params/item.weight"][i], row), name
for k in old:
    if k.startswith("params/") and k != "params/item.weight":
        assert np.array_equal(warm[k], old[k]), k
assert any(not np.array_equal(fresh[k], warm[k]) for k in old if "expert" in k)
_, three = start("three", "--init", best, np_=3)
assert all(np.array_equal(three[k], warm[k]) for k in warm if k.startswith("params/"))

# From a checkpoint of the same directory, which goes with the old run.
shutil.copytree("three", "again")
_, again = start("again", "--init", "again/checkpoints/step-00000000.h5", "--resume=no")
assert all(np.array_equal(again[k], warm[k]) for k in warm if k.startswith("params/"))

# Another width: items cannot be taken over.
wrong = subprocess.run([program, "train", *small, "--set", "data.path=grown.csv", "--init", best,
                        "--set", "model.dim=32", "--set", f"tokens.path={run}/planted.h5"],
                       capture_output=True, text=True)
assert wrong.returncode == 2 and "vectors of 16 numbers, model.dim is 32" in wrong.stderr, wrong.stderr

# item.init: vectors in any order, from a file of h5py's or NumPy's.
ids = ["i7", "unheard of", "brand new"]
vectors = np.random.default_rng(1).normal(size=(3, 16)).astype("f4")
with h5py.File("v.h5", "w") as f:
    f["vectors"] = vectors
    f["ids"] = ids
with h5py.File("s.h5", "w") as f: # of one length, and ASCII
    f["vectors"] = vectors.astype("f8")
    f["ids"] = np.array(ids, dtype="S")
np.save("w.npy", vectors)
with open("w.txt", "w") as f:
    f.write("\n".join(ids) + "\n")
for name in "v.h5", "s.h5", "w.npy":
    said, given = start("given_" + name[0], "--set", "item.init=" + name)
    assert "2 of 91 items taken, 89 are fresh, 1 are no longer in the data" in said, said
    expected = fresh["params/item.weight"].copy()
    expected[fresh["ids"].index("i7")] = vectors[0]
    expected[0] = vectors[2]
    assert np.array_equal(given["params/item.weight"], expected)

# Arrays with more in a row than there is room for.
shutil.copy(f"{run}/planted.h5", "hostile.h5")
with h5py.File("hostile.h5", "a") as f:
    f.attrs.pop("checksums")
    n = len(f["spaces/0/strings_offsets"])
    del f["spaces/0/strings_offsets"]
    f["spaces/0/strings_offsets"] = np.zeros((n, 4096), "i8")
wrong = subprocess.run([program, "explain", "--set", f"run.dir={run}/run", "--set", "tokens.path=hostile.h5",
                        "--users", "all"], capture_output=True, text=True)
assert wrong.returncode == 1 and "has 2 dimensions, needed is 1" in wrong.stderr, wrong.stderr
