#!/usr/bin/env python3
"""The verb bench on small sizes: its lines, and the same as JSON.

bench.py RANKS DIRECTORY COMMAND...: the command line of mltfr_dist with its launcher."""
import json
import os
import re
import shutil
import subprocess
import sys

ranks, directory, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
SIZES = ["bench.items=300", "bench.tokens=1500", "model.dim=16", "train.batch=64",
         "filter.pool=64", "filter.users=64", "tokens.shared_dim=16", "tokens.specific_dim=16"]
PARTS = ["gemm 512x512x512", "memory copy, one rank", "linear 256x16x16 nt", "logits 256x16x16 nt",
         "tokens 256x1024x16 nt", "backbone", "softmax", "step SASRec", "evaluation",
         "disk, a plain file", "checkpoint write", "checkpoint read"]
EXPERTS = ["filter A", "filter B", "experts", "step MLTFR"]


def bench(*more):
    words = [w for s in SIZES + list(more) for w in ("--set", s)]
    out = subprocess.run([*command, "bench", "--quick", "--out", "bench.json", *words], check=True,
                         cwd=directory, capture_output=True, text=True).stdout
    with open(directory + "/bench.json", encoding="utf-8") as f:
        return out, json.load(f)


def check(out, x, parts):
    lines = {line["name"]: line for line in x["lines"]}
    assert x["ranks"] == ranks and x["items"] == 300 and x["dim"] == 16, x
    assert set(parts) <= set(lines), (parts, sorted(lines))
    for name, line in lines.items():
        rate, unit = (line["gflops"], "GF/s") if "gflops" in line else (line["gbs"], "GB/s")
        assert line["seconds"] > 0 and rate > 0 and line["share"] > 0, line
        pattern = re.escape(name) + rf" +[0-9.]+ ms +[0-9.]+ {unit} +[0-9.]+ %\n"
        assert re.search(pattern, out), (name, out)
    peak = lines["gemm 512x512x512"]
    assert abs(peak["share"] - 1) < 1e-3 and peak["gflops"] > .1, peak
    assert abs(peak["gflops"] * 1e9 * peak["seconds"] / (2 * 512**3 * ranks) - 1) < 1e-3, peak
    for name in "backbone", "softmax", "step SASRec":
        line = lines[name]
        assert abs(line["share"] * peak["gflops"] / line["gflops"] - 1) < .02, line
    assert lines["step SASRec"]["seconds"] > lines["softmax"]["seconds"]
    assert ("exchange 4096 KiB a rank" in lines) == (ranks > 1)
    rates = x["rates"]
    assert all(rates[r] > 0 for r in ("backbone", "loss", "adam", "latency", "bandwidth")), rates


shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
report, result = bench()
check(report, result, PARTS + EXPERTS)
assert result["llms"] == 2 and result["rates"]["experts"] > 0
assert os.listdir(directory) == ["bench.json"], os.listdir(directory)  # run.dir is gone again

report, result = bench("model.experts=false")
check(report, result, [p for p in PARTS if not p.startswith("tokens")])
assert not set(EXPERTS) & {line["name"] for line in result["lines"]}
