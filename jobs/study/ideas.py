#!/usr/bin/env python3
"""Ideas beside the method, tried in PyTorch on one thread before any is written in C: SASRec (docs/method.md
E1-E4) on packed rows with the full softmax, and one change at a time.  docs/results/study.md has the figures.

    ideas.py IDEA --data beauty.txt [--spaces spaces.h5] [--epochs 16] [--set NAME=VALUE ...]

IDEA is a class at the end of this file; its docstring says what it changes.  Validation is printed after
epoch 6 and every second one from 12 on, and the last line has the test figures of the epoch that validated best.
"""
import argparse
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

L, DIM, HEADS, LAYERS, BATCH, RATE = 50, 64, 2, 2, 256, 1e-3


# ---- data ------------------------------------------------------------------------------------------------


class Batch:
    """Histories one after the other: no padded row.  Attention works on groups of like length."""

    def __init__(self, users, histories, targets=None):
        lengths = np.array([len(h) for h in histories])
        self.user = torch.tensor(np.repeat(users, lengths))
        ends = np.cumsum(lengths)
        self.items = torch.tensor(np.concatenate(histories)) - 1
        self.at = torch.tensor(np.concatenate([np.arange(L - n, L) for n in lengths]))
        self.last = torch.tensor(ends - 1)
        self.groups = list(self.make_groups(lengths, ends - lengths))
        if targets is not None:
            self.y = torch.tensor(np.concatenate(targets)) - 1

    @staticmethod
    def make_groups(lengths, begins):
        """Row numbers [users, longest]; one behind the last row where a user is shorter."""
        order, i = np.argsort(lengths, kind="stable"), 0
        while i < len(order):
            most = max(4, 2 * lengths[order[i]])
            group = order[i:][lengths[order[i:]] <= most]
            rows = np.full((len(group), lengths[group].max()), lengths.sum())
            for row, user in zip(rows, group):
                row[:lengths[user]] = begins[user] + np.arange(lengths[user])
            yield torch.tensor(rows)
            i += len(group)


class Data:
    def __init__(self, path):
        with open(path) as lines:
            self.sequences = [[int(word) for word in line.split()[1:]] for line in lines]
        self.items = max(map(max, self.sequences))
        self.windows = [(u, s[:-2][-(L + 1):]) for u, s in enumerate(self.sequences) if len(s) >= 4]
        self.ranked = {}

    def epoch(self, rng):
        order = rng.permutation(len(self.windows))
        for first in range(0, len(order), BATCH):
            group = [self.windows[i] for i in order[first:first + BATCH]]
            yield Batch([u for u, _ in group], [w[:-1] for _, w in group], [w[1:] for _, w in group])

    def held_out(self, split):
        """Batches of histories with their target and the items seen before."""
        if split not in self.ranked:
            cut = {"valid": -2, "test": -1}[split]
            users = [u for u, s in enumerate(self.sequences) if len(s) >= 3]
            self.ranked[split] = []
            for first in range(0, len(users), 512):
                some = users[first:first + 512]
                group = [self.sequences[u] for u in some]
                batch = Batch(some, [s[:cut][-L:] for s in group])
                batch.target = torch.tensor([s[cut] for s in group])[:, None] - 1
                rows = np.repeat(np.arange(len(group)), [len(s[:cut]) for s in group])
                seen = np.concatenate([s[:cut] for s in group]) - 1
                batch.seen = torch.tensor(rows), torch.tensor(seen)
                self.ranked[split].append(batch)
        return self.ranked[split]


# ---- model -----------------------------------------------------------------------------------------------


class LogSumExp(torch.autograd.Function):
    """log sum_i exp(h.E_i) of each row, for logits below 88.  Tiles stay in the cache; sum_i p_i E_i, which the
    gradient needs, is kept in `mean`."""

    ROWS, ITEMS = 256, 1024
    rooms = []  # [floats, taken]: tiles are kept until release(), for backward

    @classmethod
    def room(cls, floats):
        for room in cls.rooms:
            if not room[1] and len(room[0]) >= floats:
                room[1] = True
                return room[0]
        cls.rooms.append([torch.empty(floats * 5 // 4), True])
        return cls.rooms[-1][0]

    @classmethod
    def release(cls):
        for room in cls.rooms:
            room[1] = False

    @classmethod
    def tiles(cls, rows, items):
        for a in range(0, rows, cls.ROWS):
            for c in range(0, items, cls.ITEMS):
                yield slice(a, min(rows, a + cls.ROWS)), slice(c, min(items, c + cls.ITEMS))

    @classmethod
    def compute(cls, h, E, more=None):
        """(tiles of e^logit, their sums, mean); `more` adds to a tile's logits."""
        at, room, kept = 0, cls.room(len(h) * len(E)), []
        total, mean = torch.zeros(len(h)), torch.zeros_like(h)
        for rows, items in cls.tiles(len(h), len(E)):
            shape = rows.stop - rows.start, items.stop - items.start
            z = room[at:at + shape[0] * shape[1]].view(shape)
            at += z.numel()
            torch.mm(h[rows], E[items].T, out=z)
            if more is not None:
                more(z, rows, items)
            total[rows] += z.exp_().sum(1)
            mean[rows].addmm_(z, E[items])
            kept.append((rows, items, z))
        return kept, total, mean / total[:, None]

    @staticmethod
    def forward(ctx, h, E):
        ctx.h, ctx.E = h.detach().contiguous(), E.detach().contiguous()
        ctx.tiles, ctx.total, ctx.mean = LogSumExp.compute(ctx.h, ctx.E)
        return ctx.total.log()

    @staticmethod
    def backward(ctx, g):
        scaled, dE = ctx.h * (g / ctx.total)[:, None], torch.zeros_like(ctx.E)
        for rows, items, z in ctx.tiles:
            dE[items].addmm_(z.T, scaled[rows])
        return ctx.mean * g[:, None], dE


def cross_entropy(h, E, y):
    return LogSumExp.apply(h, E) - (h * E[y]).sum(1)


def rms_norm(h):
    return F.rms_norm(h, h.shape[1:], eps=1e-6)


class Block(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.p = dropout
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.inner, self.outer = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)

    def attend(self, x, groups):
        rows, out = self.qkv(F.pad(x, (0, 0, 0, 1))), x.new_zeros(len(x) + 1, DIM)
        for index in groups:
            users, longest = index.shape
            q, k, v = rows[index.flatten()].view(users, longest, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
            out = out.index_copy(0, index.flatten(), mixed.reshape(-1, DIM))
        return out[:-1]

    def forward(self, x, groups):
        x = self.norm1(x + F.dropout(self.out(self.attend(x, groups)), self.p, self.training))
        return self.norm2(x + F.dropout(self.outer(F.gelu(self.inner(x))), self.p, self.training))


class SASRec(nn.Module):
    def __init__(self, items, dropout):
        super().__init__()
        self.p = dropout
        self.E = nn.Parameter(torch.randn(items, DIM) * .02)
        self.pos = nn.Parameter(torch.randn(L, DIM) * .02)
        self.norm = nn.LayerNorm(DIM)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(LAYERS))
        for name, weight in self.blocks.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, batch, hidden=0, E=None):
        """`hidden`: share of inputs that are set to zero; E: other vectors of the items."""
        x = (self.E if E is None else E)[batch.items]
        if hidden:
            x = x * (torch.rand(len(x), 1) >= hidden)
        x = F.dropout(self.norm(x + self.pos[batch.at]), self.p, self.training)
        for block in self.blocks:
            x = block(x, batch.groups)
        return x


class Expert(nn.Module):
    """Filter of one token space: pool by votes (E11), mixture of its best tokens (E12)."""

    def __init__(self, Z, pool, top):
        super().__init__()
        self.Z, self.Zh, self.size, self.top, self.votes = Z, F.normalize(Z, dim=1), pool, top, None
        self.wq = nn.Parameter(nn.init.orthogonal_(torch.empty(DIM, Z.shape[1])))
        self.wv = nn.Parameter(torch.zeros(Z.shape[1], DIM))
        self.log_tau = nn.Parameter(torch.zeros(()))

    def calibrate(self, scores):
        """tau such that the mean entropy of the weights is .7 log m."""
        low, high = -3., 8.
        for _ in range(40):
            middle = (low + high) / 2
            a = torch.softmax(math.exp(middle) * scores, 1)
            entropy = -(a * (a + 1e-20).log()).sum(1).mean()
            low, high = (middle, high) if entropy > .7 * math.log(self.top) else (low, middle)
        self.log_tau.data.fill_(low)

    @torch.no_grad()
    def refresh(self, q):
        keys = self.Zh @ self.wq.T
        if self.votes is None:
            self.calibrate((q[:512] @ keys.T).topk(self.top).values)
            self.votes = torch.zeros(len(keys))
        self.votes *= .5
        for part in q.split(512):
            scores, best = (part @ keys.T).topk(self.top)
            weights = torch.softmax(self.log_tau.exp() * scores, 1)
            self.votes.index_add_(0, best.flatten(), weights.flatten())
        self.pool = self.votes.topk(self.size).indices.sort().values

    def weigh(self, q):
        """Weights [n, m] and their places in the pool."""
        scores, best = (q @ (self.Zh[self.pool] @ self.wq.T).T).topk(self.top)
        return torch.softmax(self.log_tau.exp() * scores, 1), best

    def forward(self, q):
        a, best = self.weigh(q)
        a = F.dropout(a, .1, self.training)
        return F.embedding_bag(best, self.Z[self.pool] @ self.wv, per_sample_weights=a, mode="sum")


def read_spaces(path):
    import h5py

    with h5py.File(path) as f:
        names = [*range(int(f["spaces"].attrs["K"])), "c"]
        return [torch.from_numpy(f[f"spaces/{name}/Z"][:]) for name in names]


# ---- ideas -----------------------------------------------------------------------------------------------


class Idea(nn.Module):
    """The plain backbone."""

    defaults = {}

    def __init__(self, data, spaces, options):
        super().__init__()
        self.data = data
        self.o = {"dropout": .5, **self.defaults, **options}
        self.backbone = SASRec(data.items, self.o["dropout"])
        self.prepare(spaces)

    def prepare(self, spaces):
        pass

    @property
    def E(self):
        return self.backbone.E

    def begin(self, epoch):
        """Before an epoch."""

    def after(self, epoch):
        """After a step."""

    def state(self, batch):
        return self.backbone(batch)

    def loss(self, batch, epoch):
        return cross_entropy(self.state(batch), self.E, batch.y).mean()

    def scores(self, batch):
        return self.state(batch)[batch.last] @ self.E.T


class Hidden(Idea):
    """A tenth of the inputs is hidden."""

    defaults = {"share": .1}

    def state(self, batch):
        return self.backbone(batch, self.o["share"] if self.training else 0)


class Unit(Idea):
    """Logits are cosines times a trained scale."""

    defaults = {"scale": 15.}

    def prepare(self, spaces):
        self.log_scale = nn.Parameter(torch.tensor(math.log(self.o["scale"])))

    def state(self, batch):
        return F.normalize(self.backbone(batch), dim=1) * self.log_scale.exp()

    def loss(self, batch, epoch):
        return cross_entropy(self.state(batch), F.normalize(self.E, dim=1), batch.y).mean()

    def scores(self, batch):
        return self.state(batch)[batch.last] @ F.normalize(self.E, dim=1).T


class LowPass(Idea):
    """h' = h + g W x, x a mean of the history's E that fades: what BSARec's averages add, outside the backbone."""

    defaults = {"decay": .8}

    def prepare(self, spaces):
        self.g, self.W = nn.Parameter(torch.zeros(DIM)), nn.Parameter(torch.eye(DIM))

    def average(self, batch):
        rows = F.pad(self.E[batch.items], (0, 0, 0, 1))
        out = torch.zeros_like(rows)
        for index in batch.groups:
            t = torch.arange(index.shape[1])
            weights = self.o["decay"] ** (t[:, None] - t).clamp(min=0).float() * (t[:, None] >= t)
            mean = weights / weights.sum(1, keepdim=True) @ rows[index]
            out = out.index_copy(0, index.flatten(), mean.reshape(-1, DIM))
        return out[:-1]

    def state(self, batch):
        x = F.dropout(self.average(batch) @ self.W.T, self.backbone.p, self.training)
        return self.backbone(batch) + self.g * x


class Contrast(Idea):
    """Two views by dropout of a user's last state attract each other, those of other targets repel (DuoRec)."""

    defaults = {"weight": .1, "tau": .1}

    def loss(self, batch, epoch):
        one, two = self.state(batch), self.state(batch)
        a, b = (F.normalize(h[batch.last], dim=1) for h in (one, two))
        y, own = batch.y[batch.last], torch.arange(len(a))
        z = (a @ b.T / self.o["tau"]).masked_fill((y[:, None] == y) & (own[:, None] != own), -1e9)
        contrast = F.cross_entropy(z, own) + F.cross_entropy(z.T, own)
        return cross_entropy(one, self.E, batch.y).mean() + self.o["weight"] * contrast / 2


class FisherViews(Idea):
    """Two views by dropout agree in the Fisher metric: their KL is about (h1 - h2) Cov_p(E) (h1 - h2) / 2."""

    defaults = {"weight": 1.}
    metric = None

    @torch.no_grad()
    def update_metric(self, h):
        """Running mean of Cov_p(E), from 64 rows."""
        p = torch.softmax(h[torch.randint(len(h), (64,))] @ self.E.T, 1)
        mean = p @ self.E
        new = (self.E * p.mean(0)[:, None]).T @ self.E - mean.T @ mean / len(p)
        self.metric = new if self.metric is None else .95 * self.metric + .05 * new

    def distance(self, a, b):
        return (((a - b) @ self.metric) * (a - b)).sum(1).mean() / 2

    def loss(self, batch, epoch):
        one, two = self.state(batch), self.state(batch)
        self.update_metric(one.detach())
        return cross_entropy(one, self.E, batch.y).mean() + self.o["weight"] * self.distance(one, two)


class Teacher(Idea):
    """Part of the target is what a running mean of the weights predicts without dropout; that mean is what ranks."""

    defaults = {"decay": .995, "share": .3, "first": 4}

    def prepare(self, spaces):
        object.__setattr__(self, "teacher", SASRec(self.data.items, 0.).eval())
        self.teacher.load_state_dict(self.backbone.state_dict())
        self.steps = 0

    @torch.no_grad()
    def after(self, epoch):
        self.steps += 1
        part = 1 - min(self.o["decay"], self.steps / (self.steps + 1))
        for mean, weight in zip(self.teacher.parameters(), self.backbone.parameters()):
            mean.lerp_(weight, part)

    def loss(self, batch, epoch):
        h = self.state(batch)
        right = self.E[batch.y]
        if epoch > self.o["first"]:
            with torch.no_grad():
                mean = LogSumExp.compute(self.teacher(batch), self.teacher.E)[2]
            right = (1 - self.o["share"]) * right + self.o["share"] * mean
        return (LogSumExp.apply(h, self.E) - (h * right).sum(1)).mean()

    def scores(self, batch):
        return self.teacher(batch)[batch.last] @ self.teacher.E.T


class Neighbours(Idea):
    """Part of the target goes to the items whose vectors are nearest to its own."""

    defaults = {"share": .1, "count": 10, "first": 4}

    @torch.no_grad()
    def begin(self, epoch):
        e = F.normalize(self.E, dim=1)
        count = int(self.o["count"]) + 1
        self.near = torch.cat([(part @ e.T).topk(count).indices[:, 1:] for part in e.split(1024)])

    def loss(self, batch, epoch):
        h, right = self.state(batch), self.E[batch.y]
        if epoch > self.o["first"]:
            near = self.E[self.near[batch.y]].mean(1)
            right = (1 - self.o["share"]) * right + self.o["share"] * near
        return (LogSumExp.apply(h, self.E) - (h * right).sum(1)).mean()


class TokenStart(Idea):
    """E starts in the span of the consensus tokens: a random token an item, turned to the model's width."""

    def prepare(self, spaces):
        Z = spaces[-1][torch.randperm(len(spaces[-1]))[:self.data.items]]
        X = Z @ nn.init.orthogonal_(torch.empty(Z.shape[1], DIM))
        self.E.data = X / X.std() * .02


class Tokens(Idea):
    """Experts of E11-E15 with equal gates; every expert takes gradients."""

    defaults = {"warmup": 5, "pool": 2048, "top": 32, "refresh": 2}
    on = False

    def prepare(self, spaces):
        size, top = int(self.o["pool"]), int(self.o["top"])
        self.experts = nn.ModuleList(Expert(Z, size, top) for Z in spaces)

    @torch.no_grad()
    def queries(self):
        """States of training positions, some of each user."""
        found, rng = [], np.random.default_rng(7)
        self.eval()
        for batch in self.data.epoch(rng):
            h = self.backbone(batch)
            found.append(rms_norm(h[torch.randperm(len(h))[:len(batch.last) // 4]]))
            if sum(map(len, found)) >= 4096:
                break
        self.train()
        return torch.cat(found)

    def is_refresh(self, epoch):
        return epoch > self.o["warmup"] and (epoch - self.o["warmup"] - 1) % self.o["refresh"] == 0

    def begin(self, epoch):
        if self.is_refresh(epoch):
            q = self.queries()
            for expert in self.experts:
                expert.refresh(q)
            self.on = True

    def state(self, batch):
        h = self.backbone(batch)
        if not self.on:
            return h
        q = rms_norm(h).detach()
        return h + sum(expert(q) for expert in self.experts) / 2


class MixtureOfSoftmaxes(Tokens):
    """A softmax for the backbone and one for each expert's state; the router weighs probabilities, not states."""

    def prepare(self, spaces):
        super().prepare(spaces)
        self.router = nn.Linear(DIM, 1 + len(self.experts))
        self.router.weight.data *= .1
        self.router.bias.data = torch.tensor([2.] + [0.] * len(self.experts))

    def parts(self, batch):
        h = self.backbone(batch)
        q = rms_norm(h)
        return [h] + [h + expert(q.detach()) for expert in self.experts], F.log_softmax(self.router(q), 1)

    def loss(self, batch, epoch):
        if not self.on:
            return super().loss(batch, epoch)
        states, weights = self.parts(batch)
        each = [weights[:, k] - cross_entropy(h, self.E, batch.y) for k, h in enumerate(states)]
        return -torch.logsumexp(torch.stack(each), 0).mean()

    def scores(self, batch):
        if not self.on:
            return super().scores(batch)
        states, weights = self.parts(batch)
        weights = weights[batch.last].exp()
        return sum(torch.softmax(h[batch.last] @ self.E.T, 1) * weights[:, k:k + 1] for k, h in enumerate(states))


class ExpertViews(Tokens, FisherViews):
    """Each LLM's expert sees a view of its own by dropout and follows the consensus in the Fisher metric."""

    defaults = {**Tokens.defaults, **FisherViews.defaults}

    def mix(self, h):
        q = rms_norm(h).detach()
        return h + self.experts[-1](q) + sum(e(q) for e in self.experts[:-1]) / (len(self.experts) - 1)

    def state(self, batch):
        h = self.backbone(batch)
        return self.mix(h) if self.on else h

    def loss(self, batch, epoch):
        if not self.on:
            return Idea.loss(self, batch, epoch)
        one, two = self.state(batch), self.backbone(batch)
        self.update_metric(one.detach())
        q = rms_norm(two).detach()
        apart = sum(self.distance(two + e(q), one) for e in self.experts[:-1]) / (len(self.experts) - 1)
        return cross_entropy(one, self.E, batch.y).mean() + self.o["weight"] * apart


class TokenPrior(Tokens):
    """After each step an item's vector moves a little towards the mixture of tokens nearest to it."""

    defaults = {**Tokens.defaults, "rate": 2e-3}

    @torch.no_grad()
    def begin(self, epoch):
        if not self.is_refresh(epoch):
            return
        q, expert = rms_norm(self.E), self.experts[-1]
        expert.refresh(q[torch.randperm(len(q))[:4096]])
        mixed = torch.cat([torch.einsum("nm,nmd->nd", a, (expert.Zh[expert.pool] @ expert.wq.T)[best])
                           for a, best in map(expert.weigh, q.split(2048))])
        self.prior = F.normalize(mixed, dim=1) * self.E.norm(dim=1, keepdim=True)

    def after(self, epoch):
        if epoch > self.o["warmup"]:
            self.E.data.lerp_(self.prior, self.o["rate"])


class ProfileExperts(Tokens, LowPass):
    """The experts filter by LowPass's mean of the history's E, not by h: a user state that the backbone has not."""

    defaults = {**Tokens.defaults, **LowPass.defaults}

    def prepare(self, spaces):
        Tokens.prepare(self, spaces)

    def state(self, batch):
        h = self.backbone(batch)
        if not self.on:
            return h
        q = rms_norm(self.average(batch))
        return h + sum(expert(q) for expert in self.experts) / 2

    def queries(self):
        """The pools are chosen by the items' own vectors, which the means are made of."""
        return rms_norm(self.E.detach())[torch.randperm(len(self.E))[:4096]]


class Bottleneck(Tokens):
    """The next item is also predicted from the mixture of tokens alone, with gradients through its weights: states
    that few tokens can tell.  Both predictions rank, as a product."""

    defaults = {**Tokens.defaults, "weight": .3}

    def parts(self, batch):
        h = self.backbone(batch)
        q = rms_norm(h)
        return h, sum(expert(q) for expert in self.experts)

    def loss(self, batch, epoch):
        if not self.on:
            return super().loss(batch, epoch)
        each = [cross_entropy(x, self.E, batch.y).mean() for x in self.parts(batch)]
        return each[0] + self.o["weight"] * each[1]

    def scores(self, batch):
        if not self.on:
            return super().scores(batch)
        h, y = self.parts(batch)
        return (h + self.o["weight"] * y)[batch.last] @ self.E.T


class Codes(Tokens):
    """Semantic ids: after the warm-up an item gets, of each space, the token nearest to it; items of one token share
    a trained vector that is added to their own."""

    def prepare(self, spaces):
        super().prepare(spaces)
        self.shared = nn.Parameter(torch.zeros(len(self.experts), int(self.o["pool"]), DIM))

    @torch.no_grad()
    def begin(self, epoch):
        if epoch != self.o["warmup"] + 1:
            return
        q = rms_norm(self.E)
        for expert in self.experts:
            expert.refresh(q[torch.randperm(len(q))[:4096]])
        self.codes = [torch.cat([e.weigh(part)[1][:, 0] for part in q.split(2048)]) for e in self.experts]
        self.on = True

    def vectors(self):
        if not self.on:
            return self.E
        return self.E + sum(table[code] for table, code in zip(self.shared, self.codes))

    def loss(self, batch, epoch):
        E = self.vectors()
        return cross_entropy(self.backbone(batch, E=E), E, batch.y).mean()

    def scores(self, batch):
        E = self.vectors()
        return self.backbone(batch, E=E)[batch.last] @ E.T


class Profiles(Tokens):
    """Token bridge: an item's profile is the mean token mixture of the user states that chose it in training; the score
    gets g times its overlap with the user's own mixture.  Users are in folds; a fold sees profiles made by the others."""

    defaults = {**Tokens.defaults, "warmup": 8, "folds": 4}
    WIDTH = 32

    def prepare(self, spaces):
        super().prepare(spaces)
        self.g = nn.Parameter(torch.zeros(len(self.experts)))
        self.turn = [torch.randn(int(self.o["pool"]), self.WIDTH) / math.sqrt(self.WIDTH) for _ in self.experts]

    def sketches(self, q):
        """Mixtures over each pool, turned at random to a few numbers: overlaps become products."""
        weighed = [expert.weigh(q) for expert in self.experts]
        return torch.cat([torch.einsum("nm,nmd->nd", a, turn[best]) for (a, best), turn in zip(weighed, self.turn)], 1)

    def fold(self, batch):
        return batch.user % int(self.o["folds"])

    @torch.no_grad()
    def begin(self, epoch):
        super().begin(epoch)
        if not self.on:
            return
        self.eval()
        folds = int(self.o["folds"])
        total, count = torch.zeros(folds, self.data.items, self.WIDTH * len(self.experts)), torch.zeros(folds, self.data.items)
        for batch in self.data.epoch(np.random.default_rng(9)):
            at = self.fold(batch) * self.data.items + batch.y
            count.view(-1).index_add_(0, at, torch.ones(len(at)))
            total.view(-1, total.shape[2]).index_add_(0, at, self.sketches(rms_norm(self.backbone(batch))))
        self.train()
        self.profiles = (total.sum(0) - total) / (count.sum(0) - count + 2)[:, :, None]

    def by_fold(self, h, fold):
        """(rows, states, items) of each fold, with the part of the mixtures behind their own."""
        own = self.sketches(rms_norm(h)).detach() * (100 * self.g).repeat_interleave(self.WIDTH)
        for f, profile in enumerate(self.profiles):
            rows = (fold == f).nonzero()[:, 0]
            yield rows, torch.cat([h[rows], own[rows]], 1), torch.cat([self.E, profile], 1)

    def loss(self, batch, epoch):
        if not self.on:
            return super().loss(batch, epoch)
        parts = self.by_fold(self.backbone(batch), self.fold(batch))
        return sum(cross_entropy(wide, items, batch.y[rows]).sum() for rows, wide, items in parts) / len(batch.y)

    def scores(self, batch):
        h = self.backbone(batch)[batch.last]
        if not self.on:
            return h @ self.E.T
        z = torch.empty(len(h), len(self.E))
        for rows, wide, items in self.by_fold(h, self.fold(batch)[batch.last]):
            z[rows] = wide @ items.T
        return z


# ---- training --------------------------------------------------------------------------------------------


@torch.no_grad()
def rank(idea, data, split):
    """How many items are before the target; equal scores count against it."""
    idea.eval()
    ranks = []
    for batch in data.held_out(split):
        z = idea.scores(batch)
        right = z.gather(1, batch.target)
        z[batch.seen] = -torch.inf
        z.scatter_(1, batch.target, -torch.inf)
        ranks.append((z >= right).sum(1))
    idea.train()
    ranks = torch.cat(ranks).double()
    hit = ranks < 10
    return hit.double().mean().item(), (hit / (ranks + 2).log2()).mean().item()


def train_epoch(idea, data, optimiser, rng, epoch):
    idea.train()
    idea.begin(epoch)
    total = rows = 0
    for batch in data.epoch(rng):
        loss = idea.loss(batch, epoch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        LogSumExp.release()
        idea.after(epoch)
        total, rows = total + loss.item() * len(batch.y), rows + len(batch.y)
    return total / rows


def fit(idea, data, name, seed, epochs, patience):
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(idea.parameters(), lr=RATE, fused=True)
    best, bad, begun = {"valid": -1}, 0, time.time()
    for epoch in range(1, epochs + 1):
        loss = train_epoch(idea, data, optimiser, rng, epoch)
        line = f"{name} epoch {epoch} loss {loss:.4f} seconds {time.time() - begun:.0f}"
        if epoch < epochs and (epoch % 2 or epoch < 12 and epoch != 6):
            print(line, flush=True)
            continue
        hr, ndcg = rank(idea, data, "valid")
        print(f"{line} valid hr@10 {hr:.4f} ndcg@10 {ndcg:.4f}", flush=True)
        bad += 1
        if ndcg > best["valid"]:
            best, bad = {"valid": ndcg, "epoch": epoch, "test": rank(idea, data, "test")}, 0
        if bad >= patience:
            break
    hr, ndcg = best["test"]
    print(f"{name} seed {seed} best epoch {best['epoch']} valid ndcg@10 {best['valid']:.4f} "
          f"test hr@10 {hr:.4f} ndcg@10 {ndcg:.4f}")


def main():
    ideas = {c.__name__: c for c in globals().values() if isinstance(c, type) and issubclass(c, Idea)}
    parser = argparse.ArgumentParser(epilog="ideas: " + " ".join(ideas))
    parser.add_argument("idea", choices=ideas, metavar="IDEA")
    parser.add_argument("--data", required=True)
    parser.add_argument("--spaces", help="token spaces, of `mltfr_dist tokens`")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--patience", type=int, default=2, help="validations without a gain")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    data = Data(args.data)
    options = {name: float(value) for name, value in (word.split("=") for word in args.set)}
    idea = ideas[args.idea](data, read_spaces(args.spaces) if args.spaces else None, options)
    fit(idea, data, args.idea, args.seed, args.epochs, args.patience)


if __name__ == "__main__":
    main()
