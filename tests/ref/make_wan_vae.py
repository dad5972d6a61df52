#!/usr/bin/env python3
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A tiny autoencoder of Wan2.1's kind by PyTorch, in f64 on the CPU, over whole clips at
# once (section 9 of the specification of Wan2.1): weights.*, latents z and the pictures
# decoded of them, pictures x and the latents encoded of them, for tests/check_model.c.
# Usage: make_wan_vae.py FILE. Made with PyTorch 2.

import json
import math
import struct
import sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)

WIDTH, Z = 4, 4
FRAMES, ROWS, COLS = 4, 4, 6  # of the latents


class Weights(dict):
    def __init__(self, seed):
        super().__init__()
        self.random = torch.Generator().manual_seed(seed)

    def get(self, name, *shape):
        if name not in self:
            fan = math.prod(shape[1:]) if len(shape) > 1 else 1
            x = torch.randn(*shape, generator=self.random) / math.sqrt(fan)
            if name.endswith("gamma"):
                x = 1 + 0.2 * torch.randn(*shape, generator=self.random)
            elif name.endswith("bias"):
                x = 0.1 * x
            self[name] = x.float().double()
        return self[name]


def norm(w, x, name):                     # x [C,T,Y,X]
    gamma = w.get(name, x.shape[0], 1, 1, 1)
    length = x.norm(dim=0, keepdim=True).clamp(min=1e-12)
    return x / length * math.sqrt(x.shape[0]) * gamma


def causal(w, x, name, out, kernel=3):    # 3x3x3, zeros before the clip
    weight = w.get(name + ".weight", out, x.shape[0], kernel, kernel, kernel)
    bias = w.get(name + ".bias", out)
    p = kernel // 2
    x = F.pad(x[None], (p, p, p, p, kernel - 1, 0))
    return F.conv3d(x, weight, bias)[0]


def residual(w, x, name, out):
    y = causal(w, F.silu(norm(w, x, name + "residual.0.gamma")), name + "residual.2", out)
    y = causal(w, F.silu(norm(w, y, name + "residual.3.gamma")), name + "residual.6", out)
    return y + (x if x.shape[0] == out else causal(w, x, name + "shortcut", out, 1))


def attention(w, x, name):
    c = x.shape[0]
    gamma = w.get(name + "norm.gamma", c, 1, 1)
    n = x / x.norm(dim=0, keepdim=True).clamp(min=1e-12) * math.sqrt(c) * gamma[..., None]
    qkv = F.conv2d(n.transpose(0, 1), w.get(name + "to_qkv.weight", 3 * c, c, 1, 1),
                   w.get(name + "to_qkv.bias", 3 * c))
    q, k, v = qkv.flatten(2).transpose(1, 2).chunk(3, dim=2)     # [T,YX,C]
    y = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(c), dim=2) @ v
    y = y.transpose(1, 2).reshape(x.shape[1], c, *x.shape[2:])
    y = F.conv2d(y, w.get(name + "proj.weight", c, c, 1, 1), w.get(name + "proj.bias", c))
    return x + y.transpose(0, 1)


def frames2d(f, x):                       # a 2-D function of every frame
    return f(x.transpose(0, 1)).transpose(0, 1)


def up(w, x, name, time):
    c = x.shape[0]
    if time:
        weight = w.get(name + "time_conv.weight", 2 * c, c, 3, 1, 1)
        bias = w.get(name + "time_conv.bias", 2 * c)
        rest = F.pad(x[None, :, 1:], (0, 0, 0, 0, 2, 0))
        pair = F.conv3d(rest, weight, bias)[0].reshape(2, c, -1, *x.shape[2:])
        pair = pair.permute(1, 2, 0, 3, 4).reshape(c, -1, *x.shape[2:])
        x = torch.cat([x[:, :1], pair], dim=1)
    weight, bias = w.get(name + "resample.1.weight", c // 2, c, 3, 3), \
        w.get(name + "resample.1.bias", c // 2)
    return frames2d(lambda y: F.conv2d(F.interpolate(y, scale_factor=2, mode="nearest"),
                                       weight, bias, padding=1), x)


def down(w, x, name, time):
    c = x.shape[0]
    weight, bias = w.get(name + "resample.1.weight", c, c, 3, 3), \
        w.get(name + "resample.1.bias", c)
    x = frames2d(lambda y: F.conv2d(F.pad(y, (0, 1, 0, 1)), weight, bias, stride=2), x)
    if not time:
        return x
    weight = w.get(name + "time_conv.weight", c, c, 3, 1, 1)
    rest = F.conv3d(x[None], weight, w.get(name + "time_conv.bias", c), stride=(2, 1, 1))[0]
    return torch.cat([x[:, :1], rest], dim=1)


def middle(w, x, name):
    c = x.shape[0]
    x = residual(w, x, name + "middle.0.", c)
    x = attention(w, x, name + "middle.1.")
    return residual(w, x, name + "middle.2.", c)


def decode(w, z):
    x = causal(w, z, "conv2", Z, 1)
    x = causal(w, x, "decoder.conv1", 4 * WIDTH)
    x = middle(w, x, "decoder.")
    i = 0
    for level, out in enumerate([4 * WIDTH, 4 * WIDTH, 2 * WIDTH, WIDTH]):
        for _ in range(3):
            x = residual(w, x, f"decoder.upsamples.{i}.", out)
            i += 1
        if level < 3:
            x = up(w, x, f"decoder.upsamples.{i}.", level < 2)
            i += 1
    x = F.silu(norm(w, x, "decoder.head.0.gamma"))
    return causal(w, x, "decoder.head.2", 3)


def encode(w, x):
    x = causal(w, x, "encoder.conv1", WIDTH)
    i = 0
    for level, out in enumerate([WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH]):
        for _ in range(2):
            x = residual(w, x, f"encoder.downsamples.{i}.", out)
            i += 1
        if level < 3:
            x = down(w, x, f"encoder.downsamples.{i}.", level > 0)
            i += 1
    x = middle(w, x, "encoder.")
    x = F.silu(norm(w, x, "encoder.head.0.gamma"))
    x = causal(w, x, "encoder.head.2", 2 * Z)
    return causal(w, x, "conv1", 2 * Z, 1)[:Z]


def write(path, tensors, meta):
    header, data, at = {"__metadata__": meta}, [], 0
    for name, t in sorted(tensors.items()):
        raw = t.detach().float().contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape),
                        "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def main():
    w = Weights(5)
    z = torch.randn(Z, FRAMES, ROWS, COLS, generator=w.random).float().double()
    x = torch.rand(3, 4 * FRAMES - 3, 8 * ROWS, 8 * COLS, generator=w.random) * 2 - 1
    x = x.float().double()
    out = {"z": z, "z.pictures": decode(w, z), "x": x, "x.latents": encode(w, x)}
    last = {k: v.permute(1, 2, 3, 0) for k, v in out.items()}  # channels last
    last.update({"weights." + k: v for k, v in w.items()})
    write(sys.argv[1], last, {"width": str(WIDTH), "channels": str(Z)})


main()
