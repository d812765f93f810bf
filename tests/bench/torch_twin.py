#!/usr/bin/env python3
"""The training step of this program in PyTorch, eager, to compare speed: same data, batch, model,
loss and optimiser (docs/method.md E1-E4, E11-E19), the usual way of writing each part, and the
faster one where PyTorch has two.  Prints seconds per epoch and the loss of each epoch.

    torch_twin.py --data beauty.txt --epochs 2                      # SASRec, length-bucketed
    torch_twin.py --data beauty.txt --epochs 2 --padded             # all sequences padded to L
    torch_twin.py --data beauty.txt --epochs 2 --spaces spaces.h5   # with experts and consensus
"""
import argparse
import time

import torch
import torch.nn.functional as F
from torch import nn


def read_sequences(path, length):
    """Training windows: the last L transitions before the validation item."""
    windows = []
    with open(path) as lines:
        for line in lines:
            items = [int(word) for word in line.split()[1:]]
            train = items[:-2] if len(items) >= 3 else items
            if len(train) >= 2:
                windows.append(torch.tensor(train[-(length + 1):]))
    return windows


def batches(windows, users, padded, length, generator):
    """Padded: users in random order, all as long as L.  Else batches of users of like length."""
    order = torch.randperm(len(windows), generator=generator).tolist()
    if not padded:
        order.sort(key=lambda user: len(windows[user]))
    groups = [order[i:i + users] for i in range(0, len(order), users)]
    for group in torch.randperm(len(groups), generator=generator).tolist():
        rows = [windows[user] for user in groups[group]]
        width = length + 1 if padded else max(len(row) for row in rows)
        batch = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            batch[i, :len(row)] = row
        yield batch[:, :-1], batch[:, 1:]


class Block(nn.Module):
    def __init__(self, d, heads, dropout):
        super().__init__()
        self.heads, self.p = heads, dropout
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.inner, self.outer = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.norm1, self.norm2 = nn.LayerNorm(d, 1e-5), nn.LayerNorm(d, 1e-5)

    def forward(self, x):
        B, L, d = x.shape
        q, k, v = self.qkv(x).view(B, L, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        # Sequences begin at column 0, so the causal mask hides the padding behind them too.
        mix = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mix = self.out(mix.transpose(1, 2).reshape(B, L, d))
        x = self.norm1(x + F.dropout(mix, self.p, self.training))
        inner = self.outer(F.gelu(self.inner(x)))
        return self.norm2(x + F.dropout(inner, self.p, self.training))


class SASRec(nn.Module):
    def __init__(self, items, d, length, layers, heads, dropout):
        super().__init__()
        self.length, self.p = length, dropout
        self.item, self.pos = nn.Embedding(items + 1, d), nn.Embedding(length, d)
        self.norm = nn.LayerNorm(d, 1e-5)
        self.blocks = nn.ModuleList(Block(d, heads, dropout) for _ in range(layers))
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, items):
        count = (items > 0).sum(1, keepdim=True)  # right-aligned positions
        at = self.length - count + torch.arange(items.shape[1])
        x = self.item(items) + self.pos(at.clamp(max=self.length - 1))
        x = F.dropout(self.norm(x), self.p, self.training)
        for block in self.blocks:
            x = block(x)
        return x


class Expert(nn.Module):
    """Filter of one token space (E11, E12)."""

    def __init__(self, Z, d, pool, trains_wv):
        super().__init__()
        self.Z, self.Zh, self.M = Z, F.normalize(Z, dim=1), pool
        self.wq = nn.Parameter(nn.init.orthogonal_(torch.empty(d, Z.shape[1])))
        self.wv = nn.Parameter(torch.zeros(Z.shape[1], d), requires_grad=trains_wv)
        self.log_tau = nn.Parameter(torch.zeros(()))
        self.votes = torch.zeros(len(Z))

    @torch.no_grad()
    def refresh(self, q, m):
        """Level A: the whole vocabulary, 1024 tokens at a time."""
        keys = self.Zh @ self.wq.T
        best = torch.full((len(q), m), -torch.inf)
        ids = torch.zeros(len(q), m, dtype=torch.long)
        for first in range(0, len(keys), 1024):
            s, J = (q @ keys[first:first + 1024].T).topk(min(m, len(keys) - first))
            best, pick = torch.cat([best, s], 1).topk(m)
            ids = torch.cat([ids, J + first], 1).gather(1, pick)
        weights = F.softmax(self.log_tau.exp() * best, 1)
        self.votes.mul_(.5).index_add_(0, ids.flatten(), weights.flatten())
        self.pool = self.votes.topk(self.M).indices.sort().values
        self.Z_pool, self.Zh_pool = self.Z[self.pool], self.Zh[self.pool]

    def forward(self, q, m, dropout):
        Kt, Vt = self.Zh_pool @ self.wq.T, self.Z_pool @ self.wv
        with torch.no_grad():
            J = (q @ Kt.T).topk(m).indices
        s = torch.bmm(Kt[J], q.unsqueeze(2)).squeeze(2)
        self.a, self.J = F.softmax(self.log_tau.exp() * s, 1), J
        weights = F.dropout(self.a, dropout, self.training)
        return F.embedding_bag(J, Vt, per_sample_weights=weights, mode="sum")


class MLTFR(nn.Module):
    def __init__(self, backbone, spaces, consensus, d, pool, top):
        super().__init__()
        self.backbone, self.m, self.r_c = backbone, top, consensus.shape[1]
        self.experts = nn.ModuleList(Expert(Z, d, pool, True) for Z in spaces)
        self.consensus = Expert(consensus, d, pool, False)
        self.wg = nn.Parameter(torch.randn(d, len(spaces)) * .02)
        self.gate, self.K = nn.Linear(d, 1), len(spaces)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.bias, self.load = torch.zeros(self.K), torch.ones(self.K)
        self.A, self.sums = torch.zeros(self.K, self.r_c, self.r_c), torch.zeros(self.K, 3)

    def mix(self, h):
        """E14, E15; with two LLMs every row goes to both."""
        q = F.rms_norm(h, h.shape[1:], eps=1e-6)
        kept = (torch.rand(len(q), self.K) >= .1) if self.training else torch.ones(len(q), self.K)
        p = F.softmax(q @ self.wg, 1) * kept
        self.g = p / p.sum(1, keepdim=True).clamp(min=1e-20)
        self.g_c = torch.sigmoid(self.gate(q))
        self.load = kept.float().sum(0)
        query = q.detach()
        y = torch.stack([e(query, self.m, .1) for e in self.experts], 1)
        y_c = self.consensus(query, self.m, .1)
        return h + self.g_c * y_c + (1 - self.g_c) * (self.g.unsqueeze(2) * y).sum(1)

    @torch.no_grad()
    def sample(self, h, E):
        """E17 on about 1024 rows an expert."""
        for k, expert in enumerate(self.experts):
            rows = (torch.rand(len(h)) < min(1., 1024 / len(h))).nonzero().squeeze(1)
            p = F.softmax(h[rows] @ E.T, 1)
            trace = p @ (E * E).sum(1) - (p @ E).square().sum(1)
            omega = ((1 - self.g_c[rows, 0]) * self.g[rows, k]).square()
            x = F.embedding_bag(expert.J[rows], expert.Z_pool[:, :self.r_c].contiguous(),
                                per_sample_weights=expert.a[rows], mode="sum")
            self.A[k] = .95 * self.A[k] + x.T @ (omega.unsqueeze(1) * x)
            new = torch.stack([omega.sum(), omega @ trace, torch.tensor(float(len(rows)))])
            self.sums[k] = .95 * self.sums[k] + new

    @torch.no_grad()
    def update_consensus(self):
        """E18."""
        omega, beta, rows = self.sums.T
        trace = torch.einsum("kii->k", self.A)
        phi = (omega / rows * beta / omega * trace / omega).sqrt()
        phi = (phi / phi.sum()).clamp(.5 / self.K, 2 / self.K)
        phi /= phi.sum()
        A = self.A * (phi * self.r_c / trace).view(-1, 1, 1)
        S = A.sum(0) + .05 * torch.eye(self.r_c)
        right = sum(A[k] @ e.wv[:self.r_c] for k, e in enumerate(self.experts))
        W = torch.linalg.solve(S, right + .05 * self.consensus.wv)
        self.consensus.wv.mul_(.7).add_(.3 * W)

    @torch.no_grad()
    def pull(self, lr):
        """E16, E19."""
        mean = self.load.mean()
        for k, e in enumerate(self.experts):
            rate = lr * .5 * (1 + (self.load[k] < .5 * mean).float())
            e.wv[:self.r_c] -= rate * (e.wv[:self.r_c] - self.consensus.wv)
        self.bias += 1e-3 * torch.sign(mean - self.load)


def read_spaces(path):
    import h5py

    with h5py.File(path) as f:
        K = int(f["spaces"].attrs["K"])
        read = [torch.from_numpy(f[f"spaces/{k}/Z"][:]) for k in [*range(K), "c"]]
    return read[:-1], read[-1]


@torch.no_grad()
def refresh_pools(model, windows):
    """Queries of 4096 users, one position each, then new pools."""
    model.eval()
    queries = []
    voters = torch.randperm(len(windows))[:4096].tolist()
    voters.sort(key=lambda user: len(windows[user]))
    for first in range(0, len(voters), 256):
        rows = [windows[user][:-1] for user in voters[first:first + 256]]
        items = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        last = torch.tensor([int(torch.randint(len(row), (1,))) for row in rows])
        h = model.backbone(items)[torch.arange(len(rows)), last]
        queries.append(F.rms_norm(h, h.shape[1:], eps=1e-6))
    q = torch.cat(queries)
    for expert in [*model.experts, model.consensus]:
        expert.refresh(q, model.m)
    model.train()


def train_step(model, optimiser, inputs, targets, step, args):
    backbone = model.backbone if args.spaces else model
    valid = targets > 0
    h = backbone(inputs)[valid]
    E = backbone.item.weight[1:]
    if args.spaces:
        h = model.mix(h)
    loss = F.cross_entropy(h @ E.T, targets[valid] - 1)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if args.spaces and step % 10 == 0:
        model.sample(h.detach(), E.detach())
    optimiser.step()
    if args.spaces:
        if step % 50 == 49:
            model.update_consensus()
        model.pull(args.lr)
    return loss.item()


def warm_up(model, optimiser, windows, args):
    """Three steps that are not timed."""
    if args.spaces:
        refresh_pools(model, windows)
    generator = torch.Generator().manual_seed(2)
    source = batches(windows, args.batch, args.padded, args.length, generator)
    for step, (inputs, targets) in enumerate(source):
        train_step(model, optimiser, inputs, targets, step, args)
        if step == 2:
            return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--spaces")
    parser.add_argument("--padded", action="store_true")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=0, help="end an epoch early; 0: never")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-3)
    for name, value in [("batch", 256), ("length", 50), ("dim", 64), ("layers", 2), ("heads", 2),
                        ("pool", 2048), ("top", 32)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    windows = read_sequences(args.data, args.length)
    with open(args.data) as lines:
        items = max(int(word) for line in lines for word in line.split()[1:])
    model = SASRec(items, args.dim, args.length, args.layers, args.heads, .5)
    if args.spaces:
        spaces, consensus = read_spaces(args.spaces)
        model = MLTFR(model, spaces, consensus, args.dim, args.pool, args.top)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=args.lr, fused=True)
    model.train()
    warm_up(model, optimiser, windows, args)
    for epoch in range(1, args.epochs + 1):
        start, total, rows = time.perf_counter(), 0., 0
        if args.spaces:
            refresh_pools(model, windows)
        source = batches(windows, args.batch, args.padded, args.length, generator)
        for step, (inputs, targets) in enumerate(source):
            count = int((targets > 0).sum())
            total += train_step(model, optimiser, inputs, targets, step, args) * count
            rows += count
            if step + 1 == args.steps:
                break
        seconds = time.perf_counter() - start
        print(f"epoch {epoch} loss {total / rows:.4f} rows {rows} seconds {seconds:.3f}",
              flush=True)


if __name__ == "__main__":
    main()
