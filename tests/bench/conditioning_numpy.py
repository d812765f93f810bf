#!/usr/bin/env python3
"""E5-E10 in plain NumPy and SciPy, from the files of the tables to a token-space file.

    OPENBLAS_NUM_THREADS=2 conditioning_numpy.py --out X.h5 NAME=FILE NAME=FILE [...]

What `mltfr_dist tokens` is measured against: the same tables, strings, anchors, held-out report and
output, written the straightforward way, on the threads that BLAS is given.  FILE is a GGUF file
whose token_embd.weight is F32, F16 or Q8_0, or a safetensors file (F32) with vocab.txt beside it.
Needs numpy, scipy and h5py.  --dtype float32 does the products in single precision."""
import argparse
import hashlib
import json
import re
import resource
import struct
import time
from pathlib import Path

import h5py
import numpy as np
from scipy.linalg import eigh, solve

SPECIAL_WORDS = {"[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"}
GGUF_SCALARS = dict(zip(range(13), "BbHhIif?sAQqd"))


# ---------------------------------------------------------------- files
class Gguf:
    """Just enough of GGUF v2 and v3 for the token table and the strings."""

    def __init__(self, path):
        self.data, self.at = np.memmap(path, np.uint8, "r"), 4
        version, = self.take("I")
        assert version in (2, 3)
        tensors, keys = self.take("QQ")
        self.meta = {}
        for _ in range(keys):
            name = self.string()
            self.meta[name] = self.value(self.take("I")[0])
        self.tensors = {}
        for _ in range(tensors):
            name = self.string()
            dims = self.take("%dQ" % self.take("I")[0])
            self.tensors[name] = (dims, *self.take("IQ"))
        align = self.meta.get("general.alignment", 32)
        self.start = -(-self.at // align) * align

    def take(self, form):
        size = struct.calcsize("<" + form)
        self.at += size
        return struct.unpack("<" + form, self.data[self.at - size:self.at].tobytes())

    def string(self):
        n, = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at].tobytes().decode("utf-8", "replace")

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind != 9:
            return self.take(GGUF_SCALARS[kind])[0]
        kind, count = self.take("IQ")
        if kind == 8:
            return [self.string() for _ in range(count)]
        return list(self.take("%d%s" % (count, GGUF_SCALARS[kind])))

    def table(self):
        (width, rows), kind, offset = self.tensors["token_embd.weight"]
        data = self.data[self.start + offset:]
        if kind in (0, 1):
            form = np.float32 if kind == 0 else np.float16
            size = rows * width * form().itemsize
            return data[:size].view(form).reshape(rows, width).astype(np.float32)
        assert kind == 8, "token_embd.weight is neither F32, F16 nor Q8_0"
        blocks = data[:rows * width // 32 * 34].reshape(-1, 34)
        scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        return (blocks[:, 2:].view(np.int8) * scale).reshape(rows, width)


def load(path):
    """Table [V][D], strings, mask of the special ones."""
    if path.suffix == ".gguf":
        file = Gguf(path)
        special = np.isin(file.meta["tokenizer.ggml.token_type"], (2, 3, 4, 5, 6))
        return file.table(), file.meta["tokenizer.ggml.tokens"], special
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        head = json.loads(f.read(size))
    entry, = (v for k, v in head.items() if k.endswith("word_embeddings.weight"))
    assert entry["dtype"] == "F32"
    first, last = entry["data_offsets"]
    T = np.fromfile(path, np.float32, (last - first) // 4, offset=8 + size + first)
    strings = (path.parent / "vocab.txt").read_text().split("\n")[:entry["shape"][0]]
    return T.reshape(entry["shape"]), strings, np.array([s in SPECIAL_WORDS for s in strings])


# ---------------------------------------------------------------- E5, E6
def clean(T, strings, special):
    odd = re.compile(r"<0x[0-9A-Fa-f]{2}>|[\[<]unused_?\d+[\]>]")
    keep = np.array([i for i, s in enumerate(strings) if not special[i] and not odd.fullmatch(s)])
    order = np.argsort(np.linalg.norm(T[keep], axis=1), kind="stable")
    return np.sort(keep[order[len(keep) // 100:]])


def forms_of(strings, kept):
    """Surface form -> its token ids; in a vocabulary that marks words, of marked tokens only."""
    marked = np.mean([strings[i][:1] in ("\u0120", "\u2581") for i in kept]) > .1
    out = {}
    for i in kept:
        s = strings[i]
        start = s[:1] in ("\u0120", "\u2581", " ")
        if start:
            s = s[1:]
        if (start or not marked) and re.fullmatch("[A-Za-z]{2,}", s):
            out.setdefault(s.lower(), []).append(i)
    return out


def find_anchors(tables):
    forms = [forms_of(strings, kept) for _, strings, kept in tables]
    words = sorted(f for f in set().union(*forms) if sum(f in d for d in forms) >= 2)
    ids = [[d.get(w, []) for w in words] for d in forms]
    held = np.array([hashlib.blake2b(w.encode(), digest_size=4).digest() < b"\x33\x33\x33\x33" for w in words])
    return words, ids, held


def mean_rows(X, ids):
    """For each anchor the mean of its tokens' rows; zero where there is none."""
    count = np.array([len(i) for i in ids])
    have = count > 0
    out = np.zeros((len(ids), X.shape[1]), X.dtype)
    out[have] = np.add.reduceat(X[np.concatenate(ids).astype(int)], (np.cumsum(count) - count)[have])
    return out / np.maximum(count, 1)[:, None].astype(X.dtype)


# ---------------------------------------------------------------- E7, E8, C19
def eig(S):
    lam, U = eigh(np.asarray(S, np.float64), driver="evd")
    lam, U = lam[::-1], U[:, ::-1]
    return lam, U * np.sign(U[np.abs(U).argmax(0), np.arange(U.shape[1])])


def gcca(tables, ids, held, eps, real):
    have, fit, K = np.array([[len(i) > 0 for i in k] for k in ids]).T, ~held, len(ids)
    C, Q = [], []
    for k, (T, _, _) in enumerate(tables):
        anchors = mean_rows(T, ids[k])
        rows = anchors[fit & have[:, k]].astype(real)
        mean = rows.mean(0)
        rows -= mean
        lam, U = eig(rows.T @ rows / len(rows))
        C.append(U * (lam + eps * lam.mean()) ** -.5)
        Q.append(np.where(have[:, k:k + 1], anchors - mean, 0).astype(real) @ C[k].astype(real))
    Qf, weight = np.hstack(Q)[fit], K / have[fit].sum(1)
    _, E = eig((Qf * weight[:, None].astype(real)).T @ Qf / fit.sum())
    narrow = min(q.shape[1] for q in Q)
    E = np.split(E[:, :narrow], np.cumsum([q.shape[1] for q in Q])[:-1])
    return C, Q, E, have


def unit(Z):
    return Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-30)


def judge(Q, E, have, held, r_c):
    G = [q @ e.astype(q.dtype) for q, e in zip(Q, E)]
    corr, found = [], []
    for j in range(len(G)):
        for l in range(j + 1, len(G)):
            both = have[:, j] & have[:, l] & held
            a, b = (g[both] - g[both].mean(0) for g in (G[j], G[l]))
            corr.append((a * b).sum(0) / np.sqrt((a * a).sum(0) * (b * b).sum(0)))
            a, b = (unit(G[t][both, :r_c] / G[t][~held & have[:, t], :r_c].std(0)) for t in (j, l))
            scores = a @ b.T
            me = np.arange(len(a))
            found += [(scores.argmax(1) == me).mean(), (scores.argmax(0) == me).mean()]
    return np.mean(corr, axis=0), np.mean(found)


# ---------------------------------------------------------------- E9, E10
def finish(T, kept, U, r_s, real):
    X = T[kept].astype(real)
    X -= X.mean(0)
    S = np.asarray(X.T @ X / len(X), np.float64)
    B = solve(U.T @ S @ U, U.T @ S, assume_a="pos")
    _, V = eig(S - S @ U @ B)
    V = V[:, :r_s] - U @ (B @ V[:, :r_s])
    Z = X @ np.hstack([U, V]).astype(real)
    Z /= Z.std(0) * Z.shape[1] ** .5
    norm = np.linalg.norm(Z, axis=1)
    Z *= np.minimum(1, np.quantile(norm, .99) / norm)[:, None]
    return Z.astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--out", required=True)
    parser.add_argument("--dtype", default="float64", choices=("float32", "float64"))
    args = parser.parse_args()
    real, r_c, r_s, start = np.dtype(args.dtype), 128, 128, time.perf_counter()

    def phase(name):
        nonlocal start
        print("seconds %s %.2f" % (name, time.perf_counter() - start), flush=True)
        start = time.perf_counter()

    begin, tables = start, []
    for spec in args.tables:
        T, strings, special = load(Path(spec.partition("=")[2]))
        tables.append((T, strings, clean(T, strings, special)))
    phase("read")
    words, ids, held = find_anchors(tables)
    phase("anchors")
    C, Q, E, have = gcca(tables, ids, held, 1e-2, real)
    phase("align")
    corr, found = judge(Q, E, have, held, r_c)
    del Q
    phase("judge")
    Z = [finish(T, kept, c @ e[:, :r_c], r_s, real) for (T, _, kept), c, e in zip(tables, C, E)]
    Zc = np.zeros((len(words), r_c), np.float32)
    for k, (T, _, kept) in enumerate(tables):
        row = np.full(len(T), -1)
        row[kept] = np.arange(len(kept))
        Zc += mean_rows(Z[k][:, :r_c], [row[i] for i in ids[k]])
    Zc /= have.sum(1)[:, None]
    phase("finish")
    with h5py.File(args.out, "w") as f:
        for k, (spec, (_, strings, kept)) in enumerate(zip(args.tables, tables)):
            group = f.create_group("spaces/%d" % k)
            group.attrs["name"] = spec.partition("=")[0]
            group["Z"], group["ids"] = Z[k], kept
            chars = [strings[i].encode() for i in kept]
            group["strings_bytes"] = np.frombuffer(b"".join(chars), np.uint8)
            group["strings_offsets"] = np.cumsum([0] + [len(c) for c in chars])
        f["spaces/c/Z"] = Zc
    phase("write")
    print("anchors %d, held out %d" % (len(words), held.sum()))
    print("held-out correlation", " ".join("%d: %.3f" % (i, corr[i - 1]) for i in (1, 16, 64, 128)))
    print("P@1 %.3f" % found)
    print("seconds %.2f" % (time.perf_counter() - begin))
    print("memory %.0f MiB" % (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


main()
