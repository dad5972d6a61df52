#!/usr/bin/env python3
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# From a prompt to frames in f64, by NumPy alone, with the weights of a bundle as they are
# stored: ids and text features of prompts, velocities at three times, eight Euler steps with
# guidance, decoded frames. For tests/check_model.c:
#
#     make_sample.py samples/motion-teacher.safetensors tests/ref/sample.safetensors
#
# With --check it makes nothing, but compares itself with a file of that kind. Needs
# sentencepiece for the ids.

import json
import struct
import sys

import numpy as np
import sentencepiece

PROMPTS = ["a large red circle moving left on a blue gradient background",
           "white snow falling on a black background",
           "a small green star spinning on a pink background"]
TIMES = [999.0, 500.0, 37.5]
STEPS, SHIFT, GUIDANCE = 8, 3, 3
FRAMES = 9  # recorded, of 17
SIZE = [5, 6, 8]         # frames, rows, columns of the latents
TYPES = {"F32": np.float32, "F16": np.float16, "I8": np.int8, "U8": np.uint8,
         "I32": np.int32}


def read(path):
    data = open(path, "rb").read()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    meta = header.pop("__metadata__", {})
    tensors = {}
    for name, t in header.items():
        begin, end = (8 + size + at for at in t["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], TYPES[t["dtype"]]).reshape(t["shape"])
    return tensors, meta


def write(path, tensors, meta):
    header, data = {"__metadata__": meta}, b""
    for name, x in tensors.items():
        dtype = "I32" if x.dtype.kind == "i" else "F32"
        part = np.ascontiguousarray(x, TYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": x.shape,
                        "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


class Model:
    def __init__(self, path):
        self.tensors, meta = read(path)
        self.config = json.loads(meta["linvideo.config"])

    def __call__(self, name):
        x = self.tensors[name].astype(np.float64)
        scale = self.tensors.get(name + "_scale")
        return x if scale is None else x * scale.astype(np.float64)

    def has(self, name):
        return name in self.tensors

    def linear(self, x, name):
        y = x @ self(name + ".weight").T
        return y + self(name + ".bias") if self.has(name + ".bias") else y


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def rms(x, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)


def layer_norm(x, eps):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)


def heads(x, n):                          # [rows,n d] to [n,rows,d]
    return x.reshape(len(x), n, -1).swapaxes(0, 1)


def attention(q, k, v, bias=0):           # [n,rows,d]
    y = softmax(q @ k.swapaxes(1, 2) + bias) @ v
    return y.swapaxes(0, 1).reshape(q.shape[1], -1)


# The text encoder: UMT5

def buckets(rows, nb, most):              # T5's, in both directions
    d = np.arange(rows)[None] - np.arange(rows)[:, None]
    half, exact = nb // 2, nb // 4
    n = np.maximum(np.abs(d), 1)
    far = exact + (np.log(n / exact) / np.log(most / exact) * (half - exact)).astype(int)
    return (d > 0) * half + np.where(np.abs(d) < exact, np.abs(d), np.minimum(far, half - 1))


def encode(m, ids):
    c = m.config["text"]
    eps, n = c.get("eps", 1e-6), c["num_heads"]
    x = m("text.token_embedding.weight")[ids]
    at = buckets(len(ids), c["num_buckets"], c.get("max_distance", 128))
    for i in range(c["num_layers"]):
        b = f"text.blocks.{i}."
        y = rms(x, eps) * m(b + "norm1.weight")
        q, k, v = (heads(m.linear(y, b + "attn." + p), n) for p in "qkv")
        bias = m(b + "pos_embedding.embedding.weight")[at].transpose(2, 0, 1)
        x = x + m.linear(attention(q, k, v, bias), b + "attn.o")
        y = rms(x, eps) * m(b + "norm2.weight")
        y = gelu(m.linear(y, b + "ffn.gate.0")) * m.linear(y, b + "ffn.fc1")
        x = x + m.linear(y, b + "ffn.fc2")
    return rms(x, eps) * m("text.norm.weight")


# The network

def rope(size, width):                    # [tokens,width / 2] of turns
    third = width // 6 * 2
    parts = [width - 2 * third, third, third]
    at = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    angles = [p.reshape(-1, 1) * 10000.0 ** (-np.arange(0, w, 2) / w)
              for p, w in zip(at, parts)]
    return np.exp(1j * np.concatenate(angles, 1))


def turn(x, angles):
    z = x[..., ::2] + 1j * x[..., 1::2]
    z = z * angles
    return np.stack([z.real, z.imag], -1).reshape(x.shape)


def qk(m, c, x, name, norm, angles=None):
    y = heads(rms(m.linear(x, name), c["eps"]) * m(norm), c["num_heads"])
    return y if angles is None else turn(y, angles)


def block(m, c, x, text, time, angles, i):
    b = f"dit.blocks.{i}."
    e = time + m(b + "modulation")[0]
    root = np.sqrt(c["dim"] // c["num_heads"])

    y = layer_norm(x, c["eps"]) * (1 + e[1]) + e[0]
    q = qk(m, c, y, b + "self_attn.q", b + "self_attn.norm_q.weight", angles)
    k = qk(m, c, y, b + "self_attn.k", b + "self_attn.norm_k.weight", angles)
    v = heads(m.linear(y, b + "self_attn.v"), c["num_heads"])
    x = x + e[2] * m.linear(attention(q / root, k, v), b + "self_attn.o")

    y = layer_norm(x, c["eps"]) * m(b + "norm3.weight") + m(b + "norm3.bias")
    q = qk(m, c, y, b + "cross_attn.q", b + "cross_attn.norm_q.weight")
    k = qk(m, c, text, b + "cross_attn.k", b + "cross_attn.norm_k.weight")
    v = heads(m.linear(text, b + "cross_attn.v"), c["num_heads"])
    x = x + m.linear(attention(q / root, k, v), b + "cross_attn.o")

    y = layer_norm(x, c["eps"]) * (1 + e[4]) + e[3]
    y = m.linear(gelu(m.linear(y, b + "ffn.0")), b + "ffn.2")
    return x + e[5] * y


def patches(x, patch):                    # [C,F,Y,X] to [tokens,C pt py px]
    c, f, y, w = x.shape
    pt, py, px = patch
    x = x.reshape(c, f // pt, pt, y // py, py, w // px, px)
    return x.transpose(1, 3, 5, 0, 2, 4, 6).reshape(-1, c * pt * py * px)


def unpatch(x, patch, shape):             # [tokens,pt py px C] to [C,F,Y,X]
    c, f, y, w = shape
    pt, py, px = patch
    x = x.reshape(f // pt, y // py, w // px, pt, py, px, c)
    return x.transpose(6, 0, 3, 1, 4, 2, 5).reshape(shape)


def velocity(m, x, features, t):
    c = m.config["dit"]
    size = [n // p for n, p in zip(x.shape[1:], c["patch"])]
    angles = rope(size, c["dim"] // c["num_heads"])

    text = np.zeros((c["text_len"], c["text_dim"]))
    text[:len(features)] = features
    text = m.linear(gelu(m.linear(text, "dit.text_embedding.0")), "dit.text_embedding.2")

    half = c["freq_dim"] // 2
    a = t * 10000.0 ** (-np.arange(half) / half)
    e = np.concatenate([np.cos(a), np.sin(a)])
    e = m.linear(silu(m.linear(e, "dit.time_embedding.0")), "dit.time_embedding.2")
    time = m.linear(silu(e), "dit.time_projection.1").reshape(6, -1)

    w = m("dit.patch_embedding.weight")
    y = patches(x, c["patch"]) @ w.reshape(len(w), -1).T + m("dit.patch_embedding.bias")
    for i in range(c["num_layers"]):
        y = block(m, c, y, text, time, angles, i)
    e = e + m("dit.head.modulation")[0]
    y = layer_norm(y, c["eps"]) * (1 + e[1]) + e[0]
    return unpatch(m.linear(y, "dit.head.head"), c["patch"], x.shape)


# The decoder: frames [T,C,Y,X]

def conv(m, x, name):
    w = m(name + ".weight")
    k = w.shape[2]
    x = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    rows, cols = x.shape[2] - k + 1, x.shape[3] - k + 1
    y = sum(np.einsum("oc,tcyx->toyx", w[:, :, i, j], x[:, :, i:i + rows, j:j + cols])
            for i in range(k) for j in range(k))
    return y + m(name + ".bias")[:, None, None] if m.has(name + ".bias") else y


def relu(x):
    return np.maximum(x, 0)


def remember(m, x, name):                 # a MemBlock
    before = np.concatenate([np.zeros_like(x[:1]), x[:-1]])
    y = relu(conv(m, np.concatenate([x, before], 1), name + "0"))
    y = relu(conv(m, y, name + "2"))
    return relu(conv(m, y, name + "4") + x)


def layer(m, x, i):
    name = f"vae.decoder.{i}."
    if m.has(name + "weight"):
        return conv(m, x, name[:-1])
    if m.has(name + "conv.0.weight"):
        return remember(m, x, name + "conv.")
    if m.has(name + "conv.weight"):       # several frames of one
        y = conv(m, x, name + "conv")
        return y.reshape(-1, x.shape[1], *y.shape[2:])
    if m.has(f"vae.decoder.{i + 1}.conv.weight"):
        return x.repeat(2, 2).repeat(2, 3)
    return relu(x) if i else 3 * np.tanh(x / 3)


def decode(m, latents):                   # [C,F,Y,X]
    c = m.config["vae"]
    mean, std = (np.array(c["latent_" + k])[:, None, None, None] for k in ("mean", "std"))
    x = (latents * std + mean).swapaxes(0, 1)
    last = max(int(name.split(".")[2]) for name in m.tensors if name.startswith("vae.decoder."))
    for i in range(last + 1):
        x = layer(m, x, i)
    p, (t, _, rows, cols) = c["patch_size"], x.shape
    x = x.reshape(t, 3, p, p, rows, cols).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(t, 3, rows * p, cols * p)[t // latents.shape[1] - 1:]


def f32(x):                               # what a file holds of it
    return x.astype(np.float32).astype(np.float64)


def sample(m, ids, noise):
    out = {"noise": noise}
    features = {}
    for name, x in ids.items():
        out[name + ".ids"] = x
        out[name + ".features"] = features[name] = encode(m, x)
    for t in TIMES:
        out[f"velocity.t{t}"] = velocity(m, noise, features["prompt0"], t)
    sigma = np.linspace(1, 0, STEPS + 1)
    sigma = SHIFT * sigma / (1 + (SHIFT - 1) * sigma)
    x, states = noise, []
    for i in range(STEPS):
        v = [velocity(m, x, features[name], 1000 * sigma[i]) for name in ("negative", "prompt0")]
        x = x + (sigma[i + 1] - sigma[i]) * (v[0] + GUIDANCE * (v[1] - v[0]))
        states.append(x)
    out.update({"euler8.sigmas": sigma, "euler8.states": np.stack(states),
                "euler8.frames": decode(m, x)[:FRAMES]})
    return out


def check(m, path):
    ref, _ = read(path)
    ids = {name[:-4]: x for name, x in ref.items() if name.endswith(".ids")}
    for name, x in sample(m, ids, ref["noise"].astype(np.float64)).items():
        error = np.linalg.norm(x - ref[name]) / np.linalg.norm(ref[name].astype(np.float64))
        print(f"{name:20} {error:.2e}")


def make(m, path):
    spm = sentencepiece.SentencePieceProcessor(
        model_proto=m.tensors["tokenizer.spm"].tobytes())
    ids = {f"prompt{i}": np.array(spm.encode(p) + [spm.eos_id()])
           for i, p in enumerate(PROMPTS)}
    ids["negative"] = np.array([spm.eos_id()])
    noise = f32(np.random.default_rng(1).standard_normal(
        [m.config["dit"]["in_channels"]] + SIZE))
    what = ("f64 reference: ids, features, velocities at t (0..1000) for prompt0 on noise, "
            f"{STEPS} Euler steps with shift {SHIFT} and guidance {GUIDANCE} (negative prompt "
            "empty), decoded frames before clamping")
    write(path, sample(m, ids, noise), {"what": what, "prompts": json.dumps(PROMPTS)})


if __name__ == "__main__":
    model = Model(sys.argv[-2])
    (check if sys.argv[1] == "--check" else make)(model, sys.argv[-1])
