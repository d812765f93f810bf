#!/usr/bin/env python3
"""jobs/study_table.py on made runs: a planted difference is found, none is not, intervals cover."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parent.parent / "jobs" / "study_table.py"
sys.dont_write_bytecode = True
sys.path.insert(0, str(TABLE.parent))
import study_table as table  # noqa: E402

rng = np.random.default_rng(7)


def check(true, *words):
    if not true:
        sys.exit(" ".join(map(str, words)))


# ---- statistics ---------------------------------------------------------------------------------

# Ranks as a recommender gives them: few users are in the first ten.
def ranks(n):
    return np.minimum(1 + np.floor(10 ** rng.uniform(0, 4, n)), 10000).astype(int)


check(np.allclose(table.metric_of("ndcg@10", np.array([1, 3, 10, 11])), [1, .5, 1 / np.log2(11), 0]), "ndcg@10")
check(np.allclose(table.metric_of("hr@5", np.array([1, 5, 6])), [1, 1, 0]), "hr@5")
check(np.allclose(table.metric_of("mrr", np.array([1, 4])), [1, .25]), "mrr")

# Drawing only what is not 0 is resampling of all.
d = table.metric_of("ndcg@10", ranks(3000)) - table.metric_of("ndcg@10", ranks(3000))
means = table.bootstrap_means(d, 10000, np.random.default_rng(1))
plain = d[rng.integers(0, len(d), (4000, len(d)))].mean(1)
check(abs(means.std() / (d.std() / len(d) ** .5) - 1) < .03, "spread", means.std())
check(abs(means.mean() - d.mean()) < .05 * means.std(), "mean", means.mean(), d.mean())
check(np.allclose(np.quantile(means, [.025, .975]), np.quantile(plain, [.025, .975]), atol=.1 * means.std()), "tails")
none = np.zeros(50)
check(table.t_over(none) is None and table.t_over(none[:1]) is None, "t of what does not differ")
check(table.bootstrap(none, 1000, rng) == (0, 0, 1) and table.permutation(none, 1000, rng) == 1, "no difference")

# Over many samples of a known difference 95 % of the intervals hold it; without one p is uniform.
inside, small = 0, np.zeros(2)
for i in range(300):
    noise = rng.choice([-1., 0, 1], 800, p=[.1, .75, .15])
    low, high, _ = table.bootstrap(noise, 1000, rng)
    inside += low <= .05 <= high
    noise = rng.choice([-1., 0, 1], 800, p=[.1, .8, .1])
    small += [table.bootstrap(noise, 1000, rng)[2] < .1, table.permutation(noise, 1000, rng) < .1]
check(.91 <= inside / 300 <= .98, "intervals that cover:", inside / 300)
check(all(.05 <= small / 300) and all(small / 300 <= .15), "p below .1:", small / 300)


# ---- the whole ----------------------------------------------------------------------------------

def write_run(out, name, ranks):
    folder = out / "runs" / name
    folder.mkdir(parents=True)
    json.dump({"best_epoch": 4, "seconds": 10.5}, open(folder / "result.json", "w"))
    bins = {"popularity": [{"bin": 1, "items": 9, "users": 3, "hr@10": .5, "ndcg@10": .25},
                           {"bin": 2, "items": 1, "users": 0, "hr@10": 0, "ndcg@10": 0}],
            "length": [{"from": 1, "to": 5, "users": 3, "hr@10": .5, "ndcg@10": .25}]}
    json.dump(bins, open(folder / "evaluate-test.json", "w"))
    with open(folder / "test-users.csv", "w") as file:
        file.write("user_id,item_id,history,rank,hr@10,ndcg@10\n")
        file.writelines(f'"u,{i}",x,9,{r},0,0\n' for i, r in enumerate(ranks))


def tables(out, *words):
    done = subprocess.run([sys.executable, TABLE, out, *words], capture_output=True, text=True,
                          env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    return done.returncode, done.stdout, done.stderr


def row(text, name, after):
    lines = text[text.index(after):].splitlines()
    return next([c.strip() for c in line.split("|")[1:-1]] for line in lines if line.startswith(f"| {name} |"))


with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder)
    means = [] # NDCG@10 of `better` and of `sasrec`
    for seed in range(1, 4):
        base = ranks(22000)
        better = np.where(rng.random(22000) < .05, np.maximum(base // 2, 1), base)
        other = base.copy() # as good: some users trade places
        some = rng.permutation(22000)[:3000]
        other[some] = base[np.roll(some, 1)]
        means.append([table.metric_of("ndcg@10", r).mean() for r in (better, base)])
        for variant, r in ("sasrec", base), ("better", better), ("same", other):
            write_run(out, f"made/{variant}/{seed}", r)
    (out / "runs/made/open/1").mkdir(parents=True)
    begin = time.monotonic()
    status, text, error = tables(out)
    check(status == 0, error)
    check(time.monotonic() - begin < 30, "seconds:", time.monotonic() - begin)
    check("open" not in text, "a run that is not finished is in the table")
    got = row(text, "made | better", "Difference")
    low, high = (float(x) for x in got[4].split(" to "))
    check(float(got[5]) < .001 and float(got[6]) < .001 and 0 < low < float(got[2]) < high, got)
    by_seed = np.subtract(*zip(*means))
    t = statistics.mean(by_seed) / (statistics.stdev(by_seed) / 3 ** .5)
    check(got[7] == "3 of 3" and abs(float(got[8]) - t) < .006, got, "t:", t)
    got = row(text, "made | same", "Difference")
    low, high = (float(x) for x in got[4].split(" to "))
    check(float(got[5]) > .05 and float(got[6]) > .05 and low < 0 < high, got)
    got = row(text, "made | sasrec", "Mean")
    check(got[2] == "3" and got[5:] == ["4 (0)", "10 (0)"], got)
    check(row(text, "better", "by popularity") == ["better", ".2500 (.0000)"], "a bin without users is shown")
    check(text == tables(out, "--data", "made")[1], "another time other figures")
    check("in hr@5, paired" in tables(out, "--metric", "hr@5", "--resamples", "100")[1], "hr@5")
    tables(out, "--csv", out / "runs.csv", "--resamples", "100")
    lines = [line.split(",") for line in (out / "runs.csv").read_text().splitlines()[1:]]
    check([line[:3] for line in lines] == [["made", v, s] for v in ("sasrec", "better", "same") for s in "123"], lines)
    check(len({line[-1] for line in lines}) == len(lines), "a digest for each run")
    write_run(out, "alone/better/1", ranks(9)) # a data set without the reference
    both = tables(out)[1]
    check(row(both, "alone | better", "Mean")[2] == "1" and both.count("| alone |") == 1, both)
    check(row(both, "made | better", "Difference") == row(text, "made | better", "Difference"), "depends on other data")
    check(tables(out, "--data", "made")[1] == text, "--data lets other data in")
    check("Difference" not in tables(out, "--data", "alone")[1], "a table of differences without a row")
    for words in ("--data", "none"), ("--metric", "map"):
        check(tables(out, *words)[0] != 0, words)
