"""Writes golden_bsarec.h5 and golden_gru4rec.h5: one step of these backbones in float64, by PyTorch.
    make_backbones.py [DIRECTORY]
Everything but the backbone's own tensors (batch, spaces, experts, state, evaluation) is that of golden_mixed.h5, which has
experts, injection and an attached query.  Expected: losses, states, the gradients of all tensors, the backbone after
Adam, scores.  The recurrent units are torch.nn.GRU itself.  The first seed is taken where no choice of a token or an
expert, and no rank, hangs on a hair.  Needs numpy, h5py and torch; the tests need only the files."""
import os
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))
KEEP = ("spaces/{}/Z", "spaces/{}/pool_ids", "level_a/{}/cbar_before", "level_a/{}/pool_before", "level_a/{}/explore_ids")
MARGIN = 3e-4


# ---- what is taken over --------------------------------------------------------------------------
def read_mixed():
    with h5py.File(os.path.join(HERE, "golden_mixed.h5")) as f:
        data = {}
        f.visititems(lambda n, x: data.__setitem__(n, x[()]) if isinstance(x, h5py.Dataset) else None)
        attrs = {n: x for n, x in f.attrs.items() if not n.startswith("margin")}
    inputs = {n: x for n, x in data.items() if "expect" not in n.split("/")}
    spaces = [str(k) for k in range(attrs["K"])] + ["c"]
    own = [n.format(k) for k in spaces for n in KEEP] + [n for n in inputs if n.split("/")[0] in ("batch", "eval", "state")]
    shared = [n for n in inputs if n.split("/")[0] in ("params", "adam") and not n.split("/")[-1].startswith(("block", "pos", "emb"))]
    return {n: inputs[n] for n in own + shared}, attrs


# ---- backbones -----------------------------------------------------------------------------------
def shapes(c):
    """The backbone's tensors."""
    d, s = c["d"], {"emb_ln.weight": (c["d"],), "emb_ln.bias": (c["d"],)}
    if c["backbone"] == "gru4rec":
        for b in range(c["n_layers"]):
            s |= {f"block{b}.gru.w_{x}": (3 * d, d) for x in ("ih", "hh")}
            s |= {f"block{b}.gru.b_{x}": (3 * d,) for x in ("ih", "hh")}
        return s | {"dense.weight": (d, d), "dense.bias": (d,)}
    s["pos.weight"] = (c["L"], d)
    for b in range(c["n_layers"]):
        s |= {f"block{b}.{n}.{x}": (d,) for n in ("ln1", "ln2", "ln_freq") for x in ("weight", "bias")}
        s |= {f"block{b}.attn.w{x}": (d, d) for x in "qkvo"} | {f"block{b}.attn.b{x}": (d,) for x in "qkvo"}
        s |= {f"block{b}.ffn.w1": (4 * d, d), f"block{b}.ffn.b1": (4 * d,), f"block{b}.ffn.w2": (d, 4 * d), f"block{b}.ffn.b2": (d,)}
        s[f"block{b}.freq.sqrt_beta"] = (d,)
    return s


def draw(c, rng):
    data = {}
    for n, s in shapes(c).items():
        x = rng.standard_normal(s)
        gain = "ln" in n and n.endswith("weight")
        wide = n.endswith("sqrt_beta")
        x = 1 + .1 * x if gain else x if wide else .3 * x if n == "pos.weight" else (.1 if len(s) == 1 else .7 / s[-1] ** .5) * x
        data |= {f"params/{n}": x, f"adam/m/{n}": 1e-3 * rng.standard_normal(s), f"adam/v/{n}": 1e-5 * rng.uniform(.2, 2, s)}
    return data


def norm(c, p, x, n):
    return F.layer_norm(x, (c["d"],), p[n + ".weight"], p[n + ".bias"], c["ln_eps"])


def attention(c, p, x, n):
    split = lambda t: (x @ p[n + "attn.w" + t].T + p[n + "attn.b" + t]).view(len(x), c["n_heads"], -1).transpose(0, 1)
    o = F.scaled_dot_product_attention(split("q"), split("k"), split("v"), is_causal=True)
    return o.transpose(0, 1).reshape(len(x), c["d"]) @ p[n + "attn.wo"].T + p[n + "attn.bo"]


def bsarec(c, p, e):
    x = norm(c, p, e + p["pos.weight"][c["L"] - len(e):], "emb_ln")
    for b in range(c["n_layers"]):
        n = f"block{b}."
        low = torch.stack([x[max(0, t + 1 - c["average"]):t + 1].mean(0) for t in range(len(x))])
        f = norm(c, p, x + low + p[n + "freq.sqrt_beta"] ** 2 * (x - low), n + "ln_freq")
        a = norm(c, p, x + attention(c, p, x, n), n + "ln1")
        x = c["alpha"] * f + (1 - c["alpha"]) * a
        inner = F.gelu(x @ p[n + "ffn.w1"].T + p[n + "ffn.b1"])
        x = norm(c, p, x + inner @ p[n + "ffn.w2"].T + p[n + "ffn.b2"], n + "ln2")
    return x


def gru4rec(c, p, e):
    gru = torch.nn.GRU(int(c["d"]), int(c["d"]), int(c["n_layers"]))
    names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    weights = {f"{t}_l{b}": p[f"block{b}.gru.{n}"] for t, n in names.items() for b in range(c["n_layers"])}
    x = torch.func.functional_call(gru, weights, (norm(c, p, e, "emb_ln"),))[0]
    return x @ p["dense.weight"].T + p["dense.bias"]


# ---- the rest of the step: E12, E14, E15, E4 -----------------------------------------------------
def rmsnorm(c, h):
    return h / torch.sqrt((h * h).mean(-1, keepdim=True) + c["rms_eps"])


def gap(x, m):
    """Between the m-th and the next largest of each row."""
    t = torch.sort(x.detach(), descending=True).values
    return float((t[:, m - 1] - t[:, m]).min())


def forward(c, p, data, off, items):
    space = lambda k: torch.as_tensor(data[f"spaces/{k}/Z"][data[f"spaces/{k}/pool_ids"]])
    E = p["item.weight"] + torch.as_tensor(data["state/X_I"]) @ p["inject.w"]
    model = {"bsarec": bsarec, "gru4rec": gru4rec}[c["backbone"]]
    h = torch.cat([model(c, p, E[torch.as_tensor(items[a:b]).long() - 1]) for a, b in zip(off[:-1], off[1:])])
    q, margins = rmsnorm(c, h), []

    def expert(k, name):
        Z = space(k)
        s = q @ (F.normalize(Z) @ p[name + ".wq"].T).T
        top = torch.sort(s, dim=-1, descending=True, stable=True)
        a = torch.softmax(torch.exp(p[name + ".log_tau"]) * top.values[:, :c["m"]], -1)
        margins.append(s)
        return (a[..., None] * Z[top.indices[:, :c["m"]]]).sum(1) @ (p[name + ".wv"].detach() if k == "c" else p[name + ".wv"])

    z = q @ p["router.w"]
    biased = (z + torch.as_tensor(data["state/router_bias"])).detach()
    chosen = torch.zeros_like(z).scatter_(1, torch.sort(biased, descending=True, stable=True).indices[:, :c["k_r"]], 1.)
    g = torch.softmax(z, -1) * chosen
    g = g / g.sum(-1, keepdim=True)
    gate = torch.sigmoid(q @ p["consensus.gate.w"] + p["consensus.gate.b"])[:, None]
    routed = [expert(str(k), f"expert{k}") for k in range(c["K"])]
    h_out = h + gate * expert("c", "consensus") + (1 - gate) * sum(g[:, k:k + 1] * y for k, y in enumerate(routed))
    rows = [chosen[:, k] > 0 for k in range(c["K"])] + [slice(None)]
    least = min([gap(biased, c["k_r"])] + [gap(s[r], c["m"]) for s, r in zip(margins, rows)])
    return dict(h=h, q=q, h_out=h_out, logits=h_out @ E.T), least


def expect(c, data):
    """All that is expected, and the narrowest choice."""
    p = {n[7:]: torch.as_tensor(x) for n, x in data.items() if n.startswith("params/")}
    trained = [n for n in p if n != "consensus.wv"]
    for n in trained:
        p[n].requires_grad_()
    out, least = forward(c, p, data, data["batch/offsets"], data["batch/items"])
    losses = F.cross_entropy(out["logits"], torch.as_tensor(data["batch/targets"]).long() - 1, reduction="none")
    grads = dict(zip(trained, torch.autograd.grad(losses.mean(), [p[n] for n in trained])))
    e = {f"expect/{n}": out[n] for n in ("h", "q", "h_out")}
    e |= {"expect/loss": losses.mean(), "expect/row_loss": losses, "expect/grad_norm": sum((g * g).sum() for g in grads.values()) ** .5}
    for n, g in grads.items():
        e[f"expect/grads/{n}"] = g
        if n in shapes(c):
            m, v = (c[b] * torch.as_tensor(data[f"adam/{t}/{n}"]) + (1 - c[b]) * x for b, t, x in (("beta1", "m", g), ("beta2", "v", g * g)))
            m, v = m / (1 - c["beta1"] ** c["step"]), v / (1 - c["beta2"] ** c["step"])
            e[f"expect/params_after/{n}"] = p[n] - c["lr"] * m / (v.sqrt() + c["adam_eps"])
    off = data["eval/offsets"]
    ranked, narrow = forward(c, p, data, off, data["eval/items"])
    scores = e["eval/expect/scores"] = ranked["logits"][off[1:] - 1]
    target = scores.gather(1, torch.as_tensor(data["eval/targets"]).long()[:, None] - 1)
    e["eval/expect/ranks_unfiltered"] = (scores >= target).sum(1)
    apart = (scores - target).abs().detach()
    return {n: x.detach().numpy() for n, x in e.items()}, min(least, narrow, float(apart[apart > 0].min()))


# ---- files ---------------------------------------------------------------------------------------
def write(path, data, attrs):
    with h5py.File(path, "w", libver=("v108", "v108")) as f:
        f.attrs.update(attrs)
        for n, x in data.items():
            f.create_dataset(n, data=np.asarray(x, dtype="f4") if x.dtype.kind == "f" and not n.startswith("expect/loss") else x)


def build(backbone, seed):
    data, attrs = read_mixed()
    c = attrs | dict(backbone=backbone, n_layers=np.int64(1 if backbone == "bsarec" else 2), average=np.int64(3), alpha=.7)
    data |= draw(c, np.random.default_rng(seed))
    data = {n: x.astype("f4").astype("f8") if x.dtype.kind == "f" else x for n, x in data.items()}  # as stored
    expected, least = expect(c, data)
    return (data | expected, c | dict(seed=np.int64(seed), margin=least)) if least >= MARGIN else build(backbone, seed + 1)


if __name__ == "__main__":
    for number, word in enumerate(("bsarec", "gru4rec")):
        content, about = build(word, 1000 * (number + 1))
        name = os.path.join(sys.argv[1] if len(sys.argv) > 1 else HERE, f"golden_{word}.h5")
        write(name, content, about)
        print(f"{name}: {len(content)} arrays, {os.path.getsize(name)} bytes, seed {about['seed']}, margin {about['margin']:.2g}")
