#!/usr/bin/env python3
"""Tables of the study, in Markdown, from the runs that jobs/study.sh has made.

Mean and standard deviation over seeds; the difference of each variant from a reference, tested by
user; and for each data set means by popularity of the held-out item and by length of the history.

The tests pair the users of both variants: a user's metric is first averaged over the seeds that both
have.  Interval and p (bootstrap) come from resampling users, two-sided; p (permutation) from swapping
the two variants of users at random.  `seeds` says in how many seeds the difference has its sign, and
`t (seeds)` is its mean over seeds by the standard error of that: Student's t of seeds - 1 degrees of
freedom, above 2.78 (5 seeds) in one of twenty cases by chance."""
import argparse
import csv
import hashlib
import json
import pathlib
import sys

import numpy as np


# ---- reading ------------------------------------------------------------------------------------

class Run:
    """A finished run: its metrics, and the rank of every user's held-out item."""

    def __init__(self, folder):
        self.seed = folder.name
        self.result = json.loads((folder / "result.json").read_text())
        self.bins = json.loads((folder / "evaluate-test.json").read_text())
        with open(folder / "test-users.csv", newline="") as file:
            rows = csv.reader(file)
            head = next(rows)
            user, rank = head.index("user_id"), head.index("rank")
            self.users, ranks = zip(*((row[user], int(row[rank])) for row in rows))
        self.ranks = np.array(ranks)


def finished(folder):
    return all((folder / name).exists() for name in ("result.json", "evaluate-test.json", "test-users.csv"))


def order_of(variants, reference, list_file):
    """The reference, then as in the list of runs, then what it does not have."""
    listed = []
    if list_file.exists():
        listed = [line.split()[1] for line in list_file.read_text().splitlines() if line.startswith("run ")]
    return sorted(variants, key=lambda v: (v != reference, listed.index(v) if v in listed else len(listed), v))


def read_runs(folder, reference, list_file):
    """{variant: [Run of each seed]} of one data set, in the order of the tables."""
    found = {}
    for run in sorted(folder.glob("*/*"), key=lambda path: path.name.zfill(9)):
        if finished(run):
            found.setdefault(run.parent.name, []).append(Run(run))
    return {variant: found[variant] for variant in order_of(found, reference, list_file)}


# ---- statistics ---------------------------------------------------------------------------------

def metric_of(name, ranks):
    """hr@K, ndcg@K or mrr of each user."""
    kind, _, k = name.partition("@")
    if kind == "mrr" and not k:
        return 1 / ranks
    if kind not in ("hr", "ndcg") or not k.isdigit():
        raise SystemExit(f"--metric {name}: hr@K, ndcg@K or mrr is wanted")
    return (ranks <= int(k)) / (np.log2(1 + ranks) if kind == "ndcg" else 1)


def bootstrap_means(d, resamples, rng):
    """Means of d with users drawn with replacement.  Most differences are 0: how many others are
    drawn is binomial, and only those are drawn."""
    values = d[d != 0]
    if len(values) == 0:
        return np.zeros(resamples)
    counts = rng.binomial(len(d), len(values) / len(d), resamples)
    sums = np.zeros(resamples)
    for first in range(0, resamples, 500):
        part = counts[first:first + 500]
        ends = np.cumsum(part)
        running = np.concatenate([[0], np.cumsum(values[rng.integers(0, len(values), ends[-1])])])
        sums[first:first + 500] = running[ends] - running[ends - part]
    return sums / len(d)


def bootstrap(d, resamples, rng):
    """(low, high, p): the 95 % interval of the mean of d, and a two-sided p of mean 0."""
    means = bootstrap_means(d, resamples, rng)
    low, high = np.quantile(means, [.025, .975])
    tail = min(np.sum(means <= 0), np.sum(means >= 0))
    return low, high, min(1, 2 * (tail + 1) / (resamples + 1))


def permutation(d, resamples, rng):
    """Two-sided p of mean 0, the sign of each user's difference being a toss."""
    values = d[d != 0]
    if len(values) == 0:
        return 1.
    seen = abs(values.sum()) * (1 - 1e-12)  # what is equal but for rounding counts
    more = 0
    for first in range(0, resamples, 500):
        bits = rng.integers(0, 2, (min(500, resamples - first), len(values)), dtype=np.int8)
        more += np.sum(abs(2 * (bits @ values) - values.sum()) >= seen)
    return (more + 1) / (resamples + 1)


def t_over(differences):
    """Student's t of mean 0, or None where the differences do not differ."""
    spread = np.std(differences, ddof=1) if len(differences) > 1 else 0
    return np.mean(differences) / (spread / len(differences) ** .5) if spread > 0 else None


def compare(runs, base, metric, resamples, rng):
    """What a row of the table of differences says, or None without a common seed."""
    pairs = [(a, b) for a in runs for b in base if a.seed == b.seed]
    if not pairs:
        return None
    for a, b in pairs:
        if a.users != b.users:
            raise SystemExit(f"seed {a.seed}: the two runs do not have the same users")
    by_seed = np.array([metric_of(metric, a.ranks) - metric_of(metric, b.ranks) for a, b in pairs])
    d = by_seed.mean(0)
    low, high, p = bootstrap(d, resamples, rng)
    return {"seeds": len(pairs), "difference": d.mean(), "low": low, "high": high, "bootstrap": p,
            "relative": d.mean() / np.mean([metric_of(metric, b.ranks).mean() for _, b in pairs]),
            "permutation": permutation(d, resamples, rng), "t": t_over(by_seed.mean(1)),
            "same": int(np.sum(np.sign(by_seed.mean(1)) == np.sign(d.mean())))}


# ---- tables -------------------------------------------------------------------------------------

def figure(x, sign=""):
    return f"{x:{sign}.4f}".replace("0.", ".", 1)


def spread(values, form=figure):
    mean = form(np.mean(values))
    return f"{mean} ({form(np.std(values, ddof=1))})" if len(values) > 1 else mean


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def variants_of(sets):
    """(data set, variant, [Run of each seed]), in the order of the tables."""
    return ((data, variant, seeds) for data, runs in sets.items() for variant, seeds in runs.items())


def print_means(sets, metrics):
    whole = "{:.0f}".format
    rows = []
    for data, v, seeds in variants_of(sets):
        means = [spread([metric_of(m, r.ranks).mean() for r in seeds]) for m in metrics]
        rows.append([data, v, len(seeds), *means,
                     spread([r.result["best_epoch"] for r in seeds], whole),
                     spread([r.result["seconds"] for r in seeds], whole)])
    print("Mean (standard deviation) over seeds, test split:\n")
    table(["data", "variant", "seeds", *metrics, "best epoch", "seconds"], rows)


def print_differences(sets, reference, metric, resamples, seed):
    rows = []
    for data, v, seeds in variants_of(sets):
        # A row does not depend on which other rows there are.
        c = None if v == reference else compare(seeds, sets[data].get(reference, []), metric, resamples,
                                                np.random.default_rng(seed))
        if c:
            rows.append([data, v, figure(c["difference"], "+"), f"{100 * c['relative']:+.1f} %",
                         f"{figure(c['low'], '+')} to {figure(c['high'], '+')}", figure(c["bootstrap"]),
                         figure(c["permutation"]), f"{c['same']} of {c['seeds']}",
                         "" if c["t"] is None else f"{c['t']:+.2f}"])
    if rows:
        print(f"Difference from `{reference}` in {metric}, paired by user:\n")
        table(["data", "variant", "difference", "relative", "95 % interval", "p (bootstrap)", "p (permutation)",
               "seeds", "t (seeds)"], rows)


def bin_name(b):
    if "bin" in b:
        return f"{b['bin']} ({b['items']} items, {b['users']} users)"
    return f"{b['from']}{'-' + str(b['to']) if 'to' in b else '+'} ({b['users']} users)"


def print_split(runs, kind, metric):
    all_bins = next(iter(runs.values()))[0].bins[kind]
    at = [i for i, b in enumerate(all_bins) if b["users"]]
    rows = [[v] + [spread([r.bins[kind][i][metric] for r in seeds]) for i in at] for v, seeds in runs.items()]
    print(f"{metric} by {'popularity of the held-out item, the most popular first' if kind == 'popularity' else 'length of the history'}:\n")
    table(["variant"] + [bin_name(all_bins[i]) for i in at], rows)


def write_csv(sets, path):
    """A line a run; `ranks` is a digest of the ranks of all users: equal where a run is repeated bit by bit."""
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["data", "variant", "seed", "best_epoch", "users", "hr@10", "ndcg@10", "mrr", "ranks"])
        for data, variant, run in ((d, v, run) for d, v, seeds in variants_of(sets) for run in seeds):
            means = (f"{metric_of(m, run.ranks).mean():.6f}" for m in ("hr@10", "ndcg@10", "mrr"))
            digest = hashlib.sha256(" ".join(map(str, run.ranks)).encode()).hexdigest()[:12]
            out.writerow([data, variant, run.seed, run.result["best_epoch"], len(run.ranks), *means, digest])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT_FOLDER", help="the one of study.sh")
    parser.add_argument("--data", action="append", help="only this data set; may be repeated")
    parser.add_argument("--reference", default="sasrec", help="variant that the others are compared with (%(default)s)")
    parser.add_argument("--metric", default="ndcg@10", help="hr@K, ndcg@K or mrr (%(default)s)")
    parser.add_argument("--resamples", type=int, default=10000, help="of the bootstrap and the permutations (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of both (%(default)s)")
    parser.add_argument("--csv", metavar="FILE", help="also write figures and a digest of each run to this file")
    parser.add_argument("--runs", default=pathlib.Path(__file__).parent / "study" / "runs.txt",
                        help="list of runs, for the order of the variants")
    args = parser.parse_args()
    metric_of(args.metric, np.ones(1))
    folders = sorted(pathlib.Path(args.out, "runs").glob("*/"))
    missing = set(args.data or []) - {folder.name for folder in folders}
    if missing or not folders:
        sys.exit(f"study_table.py: no runs in {args.out}/runs/{min(missing, default='')}")
    sets = {folder.name: read_runs(folder, args.reference, pathlib.Path(args.runs))
            for folder in folders if not args.data or folder.name in args.data}
    sets = {data: runs for data, runs in sets.items() if runs}
    if not any(args.reference in runs for runs in sets.values()):
        print(f"study_table.py: no finished run of {args.reference} (--reference): no differences", file=sys.stderr)
    print_means(sets, list(dict.fromkeys(["hr@10", "ndcg@10", args.metric])))
    print_differences(sets, args.reference, args.metric, args.resamples, args.seed)
    for data, runs in sets.items():
        print(f"## {data}\n")
        for kind in ("popularity", "length"):
            print_split(runs, kind, "hr@10" if args.metric == "hr@10" else "ndcg@10")
    if args.csv:
        write_csv(sets, args.csv)


if __name__ == "__main__":
    main()
