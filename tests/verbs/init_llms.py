"""init_llms.py PROGRAM LAUNCH...: a warm start with LLMs added, removed and in another order: experts and their
columns of the router go by name, a new one is as a fresh start draws it, and what was taken is counted."""
import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

program, launch = os.path.abspath(sys.argv[1]), sys.argv[2:]
example = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../data/make_example.py")
work = tempfile.TemporaryDirectory(prefix="mltfr-llms.")  # removed at the end
os.chdir(work.name)
subprocess.run([sys.executable, example, "example"], check=True, stdout=subprocess.DEVNULL)


def train(name, llms, *words, np_=0):
    """The checkpoint after training with LLMs of these names; each but `large` has the small table."""
    tables = [{"name": x, "path": f"example/{'large' if x == 'large' else 'small'}/table.npy"} for x in llms]
    done = subprocess.run([*(launch + [str(np_)] if np_ else []), program, "train", "--progress=none",
                           "--set", "data.path=example/loans.csv", "--set", "model.dim=16", "--set", "filter.pool=64",
                           "--set", "filter.top_m=8", "--set", "tokens.shared_dim=8", "--set", "tokens.specific_dim=8",
                           "--set", "train.warmup_epochs=0", "--set", "tokens.tables=" + json.dumps(tables),
                           "--set", "run.dir=" + name, *words], check=True, capture_output=True, text=True)
    path = name + "/checkpoints/" + max(os.listdir(name + "/checkpoints"))
    with h5py.File(path) as f:
        assert list(f["llms"].asstr()) == llms
        return done.stdout, path, {k: v[()] for k, v in f["params"].items()}


before = ["small", "large"]
_, path, old = train("old", before, "--set", "train.epochs=1")
for name, llms, tensors in ("added", ["large", "third", "small"], "48 of 51"), ("removed", ["third", "large"], "45 of 48"):
    none = "--set", "train.epochs=0"
    said, _, warm = train(name, llms, *none, "--init", path)
    _, _, fresh = train(name + "_fresh", llms, *none)
    _, _, three = train(name + "_three", llms, *none, "--init", path, np_=3)
    assert f"{tensors} tensors taken" in said and "120 of 120 items taken, 0 are fresh" in said, said
    for k, llm in enumerate(llms):
        taken = llm in before
        assert f"LLM {llm}: {'taken' if taken else 'fresh'}\n" in said, said
        source, at = (old, before.index(llm)) if taken else (fresh, k)
        for part in "wq", "wv", "log_tau":
            assert np.array_equal(warm[f"expert{k}.{part}"], source[f"expert{at}.{part}"]), (llm, part)
        assert np.array_equal(warm["router.w"][:, k], source["router.w"][:, at]), llm
        assert not taken or not np.array_equal(warm[f"expert{k}.wv"], fresh[f"expert{k}.wv"])
    assert all(np.array_equal(warm[k], three[k]) for k in warm)
