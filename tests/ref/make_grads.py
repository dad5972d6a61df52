#!/usr/bin/env python3
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Gradients of tiny networks by PyTorch's autograd, in f64 on the CPU, for
# tests/check_train.c:
#   dit.safetensors        UMT5 into the DiT, its second block linear
#   dit_mixed.safetensors  the same, its second block mixed, r = 0.7
#   tae.safetensors        encoder and decoder of the autoencoder
# Weights have the names of a bundle; beside them stand in.*, out.* and grad.<weight>,
# all f32 or i32. Usage: make_grads.py FOLDER. Made with PyTorch 2.

import json
import math
import struct
import sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)

# Every eps is large enough to be seen.
DIT = dict(dim=48, ffn_dim=50, num_heads=2, num_layers=2, text_dim=24, text_len=6,
           freq_dim=16, in_channels=4, patch=[1, 2, 2], eps=1e-3,
           feature_map="hedgehog", feature_dim=16, feature_eps=0.02)
TEXT = dict(vocab=24, dim=24, dim_attn=32, dim_ffn=32, num_heads=2, num_layers=2,
            num_buckets=8, max_distance=6, eps=2e-3)
VAE = dict(latent_channels=4, patch_size=2,
           stages=[dict(width=8, blocks=1), dict(width=12, blocks=2, frames=2)])
REST = dict(video=dict(width=16, height=16, frames=7, fps=8),
            sampler=dict(solver="euler", steps=4, shift=3.0, guidance=3.0))
SIZE = [2, 4, 6]         # frames, rows, columns of the latents
PROMPTS = [[3, 17, 5, 1], [9, 1]]
CLIP = [8, 16, 16]


# Weights: values of f32, made when they are first asked for.
class Weights(dict):
    def __init__(self, seed):
        super().__init__()
        self.random = torch.Generator().manual_seed(seed)

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.random).float().double()

    def make(self, name, shape, scale, mean=0.0):
        if name not in self:
            value = mean + scale * self.normal(*shape)
            self[name] = value.float().double().requires_grad_()
        return self[name]

    def matrix(self, name, *shape):
        return self.make(name, shape, 1 / math.sqrt(math.prod(shape[1:])))

    def bias(self, name, n):
        return self.make(name, [n], 0.1)

    def gain(self, name, n):
        return self.make(name, [n], 0.1, 1.0)

    def linear(self, name, x, n):
        return x @ self.matrix(name + ".weight", n, x.shape[-1]).T + \
            self.bias(name + ".bias", n)


def rms(x, w, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w


def layer_norm(x, eps):
    x = x - x.mean(-1, keepdim=True)
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def split(x, heads):     # [B, L, C] to [B, heads, L, D]
    b, l, c = x.shape
    return x.view(b, l, heads, c // heads).transpose(1, 2)


def join(x):
    b, h, l, d = x.shape
    return x.transpose(1, 2).reshape(b, l, h * d)


# Text encoder

def bucket(d):           # of T5, bidirectional; d is key minus query
    half, far = TEXT["num_buckets"] // 2, TEXT["max_distance"]
    exact, at = half // 2, half if d > 0 else 0
    d = abs(d)
    if d < exact:
        return at + d
    d = exact + int(math.log(d / exact) / math.log(far / exact) * (half - exact))
    return at + min(d, half - 1)


def text_attention(w, p, x, mask):
    c, n = TEXT, x.shape[1]
    inner, heads = c["dim_attn"], c["num_heads"]
    q, k, v = (split(x @ w.matrix(f"{p}attn.{i}.weight", inner, c["dim"]).T, heads)
               for i in "qkv")
    table = w.make(p + "pos_embedding.embedding.weight", [c["num_buckets"], heads], 0.5)
    at = torch.tensor([[bucket(j - i) for j in range(n)] for i in range(n)])
    score = q @ k.transpose(2, 3) + table[at].permute(2, 0, 1) + mask[:, None, None, :]
    o = join(torch.softmax(score, -1) @ v)
    return o @ w.matrix(p + "attn.o.weight", c["dim"], inner).T


def umt5(w, ids, mask):
    c, dim, wide = TEXT, TEXT["dim"], TEXT["dim_ffn"]
    x = w.make("text.token_embedding.weight", [c["vocab"], dim], 1.0)[ids]
    for i in range(c["num_layers"]):
        p = f"text.blocks.{i}."
        x = x + text_attention(w, p, rms(x, w.gain(p + "norm1.weight", dim), c["eps"]),
                               mask)
        y = rms(x, w.gain(p + "norm2.weight", dim), c["eps"])
        gate = gelu(y @ w.matrix(p + "ffn.gate.0.weight", wide, dim).T)
        y = gate * (y @ w.matrix(p + "ffn.fc1.weight", wide, dim).T)
        x = x + y @ w.matrix(p + "ffn.fc2.weight", dim, wide).T
    return rms(x, w.gain("text.norm.weight", dim), c["eps"])


# Diffusion transformer

def angles():            # [tokens, pairs of a head]
    pairs = DIT["dim"] // DIT["num_heads"] // 2
    third = pairs // 3
    parts = [pairs - 2 * third, third, third]
    n = [s // p for s, p in zip(SIZE, DIT["patch"])]
    place = torch.cartesian_prod(*(torch.arange(k) for k in n)).double()
    return torch.cat([place[:, a, None] * 10000 ** (-torch.arange(k) / k)
                      for a, k in enumerate(parts)], 1)


def rotate(x):           # [B, heads, L, D], adjacent pairs
    a = angles()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * a.cos() - odd * a.sin(),
                        even * a.sin() + odd * a.cos()], -1).flatten(-2)


def softmax_attention(q, k, v):
    return torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), -1) @ v


def feature(x, m):       # Hedgehog; m [heads, D, P]
    y = x @ m
    return torch.cat([torch.softmax(y, -1), torch.softmax(-y, -1)], -1)


def linear_attention(w, p, q, k, v):
    d, n = q.shape[-1], q.shape[2]
    shape = [DIT["num_heads"], d, DIT["feature_dim"]]
    fq = feature(q, w.make(p + "map_q.weight", shape, 2 / math.sqrt(d)))
    fk = feature(k, w.make(p + "map_k.weight", shape, 2 / math.sqrt(d)))
    score = fq @ fk.transpose(2, 3)
    return score @ v / (score.sum(-1, keepdim=True) + n * DIT["feature_eps"])


def attention(w, p, x, context, kind, turn):
    dim, heads, eps = DIT["dim"], DIT["num_heads"], DIT["eps"]
    q = rms(w.linear(p + "q", x, dim), w.gain(p + "norm_q.weight", dim), eps)
    k = rms(w.linear(p + "k", context, dim), w.gain(p + "norm_k.weight", dim), eps)
    v = split(w.linear(p + "v", context, dim), heads)
    q, k = turn(split(q, heads)), turn(split(k, heads))
    if kind == "softmax":
        o = softmax_attention(q, k, v)
    else:
        o = linear_attention(w, p, q, k, v)
    if kind == "mixed":
        r = w.make(p + "mix", [1], 0.0, 0.7)
        o = r * softmax_attention(q, k, v) + (1 - r) * o
    return w.linear(p + "o", join(o), dim)


def block(w, p, x, time, text, kind):
    dim, eps = DIT["dim"], DIT["eps"]
    m = (time + w.make(p + "modulation", [1, 6, dim], 0.3)).split(1, 1)
    y = layer_norm(x, eps) * (1 + m[1]) + m[0]
    x = x + attention(w, p + "self_attn.", y, y, kind, rotate) * m[2]
    y = layer_norm(x, eps) * w.gain(p + "norm3.weight", dim)
    y = y + w.bias(p + "norm3.bias", dim)
    x = x + attention(w, p + "cross_attn.", y, text, "softmax", lambda z: z)
    y = layer_norm(x, eps) * (1 + m[4]) + m[3]
    y = gelu(w.linear(p + "ffn.0", y, DIT["ffn_dim"]))
    return x + w.linear(p + "ffn.2", y, dim) * m[5]


def patches(x):          # [B, C, F, Y, X] to [B, F, Y', X', C, 1, 2, 2]
    b, c = x.shape[:2]
    (f, i, j), (pt, ph, pw) = SIZE, DIT["patch"]
    x = x.view(b, c, f // pt, pt, i // ph, ph, j // pw, pw)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7)


def dit(w, latent, t, features, kinds):
    dim, half = DIT["dim"], DIT["freq_dim"] // 2
    a = t[:, None] * 10000 ** (-torch.arange(half) / half)
    e = F.silu(w.linear("dit.time_embedding.0", torch.cat([a.cos(), a.sin()], 1), dim))
    e = w.linear("dit.time_embedding.2", e, dim)
    time = w.linear("dit.time_projection.1", F.silu(e), 6 * dim).view(-1, 6, dim)
    text = gelu(w.linear("dit.text_embedding.0", features, dim))
    text = w.linear("dit.text_embedding.2", text, dim)
    x = patches(latent)
    grid, shape = x.shape[:4], x.shape[4:]
    x = x.reshape(x.shape[0], math.prod(grid[1:]), -1)
    x = x @ w.matrix("dit.patch_embedding.weight", dim, *shape).view(dim, -1).T + \
        w.bias("dit.patch_embedding.bias", dim)
    for i, kind in enumerate(kinds):
        x = block(w, f"dit.blocks.{i}.", x, time, text, kind)
    m = e[:, None] + w.make("dit.head.modulation", [1, 2, dim], 0.3)
    x = layer_norm(x, DIT["eps"]) * (1 + m[:, 1:]) + m[:, :1]
    x = w.linear("dit.head.head", x, math.prod(shape)).view(*grid, *shape[1:], shape[0])
    return x.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(latent.shape)


def flow(kinds, seed):
    w = Weights(seed)
    batch, length = len(PROMPTS), DIT["text_len"]
    ids = torch.tensor([p + [0] * (length - len(p)) for p in PROMPTS])
    real = torch.tensor([[i < len(p) for i in range(length)] for p in PROMPTS])
    mask = torch.zeros(batch, length).masked_fill(~real, -math.inf)
    latent = w.normal(batch, DIT["in_channels"], *SIZE)
    target = w.normal(*latent.shape)
    t, weight = torch.tensor([812.5, 133.25]), torch.tensor([0.75, 0.5])
    features = torch.where(real[..., None], umt5(w, ids, mask), 0.0)
    velocity = dit(w, latent, t, features, kinds)
    loss = weight * ((velocity - target) ** 2).flatten(1).mean(1)
    loss.sum().backward()
    rows = torch.arange(batch * length).view(batch, length).masked_fill(~real, -1)
    given = {"in.ids": ids.int().flatten(), "in.rows": rows.int().flatten(),
             "in.key_bias": mask.flatten(), "in.latent": latent, "in.t": t,
             "in.target": target, "in.weight": weight}
    return w, given, {"out.velocity": velocity, "out.loss": loss}


# Autoencoder: pictures [frames, channels, rows, columns]

def conv(w, p, x, n, stride=1, bias=True):
    return F.conv2d(x, w.matrix(p + ".weight", n, x.shape[1], 3, 3),
                    w.bias(p + ".bias", n) if bias else None, stride, 1)


def mem_block(w, p, x):
    n = x.shape[1]
    before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    y = F.relu(conv(w, p + ".conv.0", torch.cat([x, before], 1), n))
    y = F.relu(conv(w, p + ".conv.2", y, n))
    return F.relu(conv(w, p + ".conv.4", y, n) + x)


def point(w, p, x, n):   # 1x1
    return F.conv2d(x, w.matrix(p + ".conv.weight", n, x.shape[1], 1, 1))


def encoder(w, x):
    i, stages = 0, VAE["stages"]

    def name():
        nonlocal i
        i += 1
        return f"vae.encoder.{i - 1}"

    x = F.relu(conv(w, name(), F.pixel_unshuffle(x, VAE["patch_size"]),
                    stages[0]["width"]))
    name()               # the ReLU
    for k, s in enumerate(stages):
        if k:
            f, c, y, z = x.shape
            x = x.reshape(f // s["frames"], s["frames"] * c, y, z)
            x = point(w, name(), x, c)
            x = conv(w, name(), x, s["width"], 2, False)
        for _ in range(s["blocks"]):
            x = mem_block(w, name(), x)
    return conv(w, name(), x, VAE["latent_channels"])


def decoder(w, x):
    i, stages = 1, VAE["stages"]

    def name():
        nonlocal i
        i += 1
        return f"vae.decoder.{i - 1}"

    x = F.relu(conv(w, name(), 3 * torch.tanh(x / 3), stages[-1]["width"]))
    name()               # the ReLU
    for k in range(len(stages) - 1, -1, -1):
        s = stages[k]
        for _ in range(s["blocks"]):
            x = mem_block(w, name(), x)
        if k:
            name()       # the upsampling
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            f, c, y, z = x.shape
            x = point(w, name(), x, s["frames"] * c).reshape(f * s["frames"], c, y, z)
            x = conv(w, name(), x, stages[k - 1]["width"], 1, False)
    name()
    x = conv(w, name(), F.relu(x), 3 * VAE["patch_size"] ** 2)
    return F.pixel_shuffle(x, VAE["patch_size"])


def last(x):             # channels last
    return x.permute(0, 2, 3, 1)


def autoencoder(seed):
    w = Weights(seed)
    frames, rows, cols = CLIP
    x = torch.sigmoid(w.normal(frames, 3, rows, cols)).float().double()
    weight = (1 + torch.arange(frames) % 3).double() / 16
    z = encoder(w, x)
    y = decoder(w, z)
    loss = weight * ((y - x) ** 2).flatten(1).mean(1)
    loss.sum().backward()
    return (w, {"in.frames": last(x), "in.weight": weight},
            {"out.latents": last(z), "out.frames": last(y), "out.loss": loss})


# Files

def save(path, parts, kinds):
    w, given, results = parts
    tensors = {**given, **results, **w,
               **{"grad." + name: value.grad for name, value in w.items()}}
    config = dict(dit=dict(DIT, attention=kinds), text=TEXT, vae=VAE, **REST)
    head, data = {"__metadata__": {"linvideo.config": json.dumps(config)}}, b""
    for name, value in tensors.items():
        value = value.detach()
        is_int = value.dtype == torch.int32
        flat = value.flatten().tolist()
        raw = struct.pack(f"<{len(flat)}{'i' if is_int else 'f'}", *flat)
        head[name] = dict(dtype="I32" if is_int else "F32", shape=list(value.shape),
                          data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    head = json.dumps(head, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)
    print(path, len(data) + len(head) + 8, "bytes; loss", results["out.loss"].tolist())


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_grads.py FOLDER")
    folder = sys.argv[1]
    linear, mixed = ["softmax", "linear"], ["softmax", "mixed"]
    save(folder + "/dit.safetensors", flow(linear, 1), linear)
    save(folder + "/dit_mixed.safetensors", flow(mixed, 2), mixed)
    save(folder + "/tae.safetensors", autoencoder(3), linear)


main()
