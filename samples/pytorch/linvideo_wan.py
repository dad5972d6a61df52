# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
"""Wan2.1 (text to video) with linear attention in PyTorch, from a file that `linvideo linearize`
wrote or `linvideo convert` made of it (.safetensors in f32, bf16, f16 or fp8 with scales).

    net = linvideo_wan.load("lin/model.safetensors")           # torch alone
    velocity = net(latents, t, text)                           # see WanModel.forward()

    net = linvideo_wan.load_diffusers("lin/model.safetensors") # a WanTransformer3DModel
    pipe = WanPipeline.from_pretrained(..., transformer=net)   # of diffusers

A layer is linear when the file holds its maps, blocks.N.self_attn.map_q.weight and map_k.weight,
each [heads, head_dim, map_dim]. Metadata name the kind of the maps and the number in denominators.
"""

import json
import math
import re
import struct

import torch
import torch.nn.functional as F
from torch import nn

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
          "F8_E4M3": torch.float8_e4m3fn}


def read(path):
    """Tensors, as f32 but where they are 16 bits wide, and metadata of a file."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = torch.from_file(path, False, f.seek(0, 2), dtype=torch.uint8)
        start = 8 + struct.unpack("<Q", data[:8].numpy().tobytes())[0]
    meta, tensors = header.pop("__metadata__", {}), {}
    for name, t in header.items():
        begin, end = (start + at for at in t["data_offsets"])
        if begin < end:
            tensors[name] = data[begin:end].clone().view(DTYPES[t["dtype"]]).reshape(t["shape"])
    return {name: scaled(t, tensors.get(name[:-len("weight")] + "scale_weight"))
            for name, t in tensors.items() if not name.endswith("scale_weight")}, meta


def scaled(t, scale):
    if t.dtype != torch.float8_e4m3fn:
        return t
    return t.float() * (1 if scale is None else scale.float())


def features(x, w, kind):
    """x [B, heads, L, head_dim] by maps w [heads, head_dim, map_dim] to features."""
    y = torch.einsum("bhld,hdp->bhlp", x.float(), w.float())
    p = y.shape[-1]
    if kind == "relu":
        return y.relu()
    if kind == "hedgehog":
        return torch.cat([y.softmax(-1), (-y).softmax(-1)], -1)
    if kind != "taylor":
        raise ValueError(f"feature map {kind}: expected hedgehog, relu or taylor")
    i, j = torch.triu_indices(p, p, 1)
    return torch.cat([torch.ones_like(y[..., :1]), y * p**-0.25, y[..., i] * y[..., j] * p**-0.5,
                      y * y * (2 * p) ** -0.5], -1)


def linear_attention(q, k, v, map_q, map_k, kind="hedgehog", eps=1e-6):
    """q, k, v [B, heads, L, head_dim], all queries and keys behind norm and RoPE. The cost grows
    with L, not with its square: sums over keys are made once, as means, in f32."""
    phi_q, phi_k = features(q, map_q, kind), features(k, map_k, kind)
    v1 = torch.cat([v.float(), torch.ones_like(v[..., :1], dtype=torch.float32)], -1)
    state = phi_k.transpose(-1, -2) @ v1 / k.shape[-2]
    out = phi_q @ state
    return (out[..., :-1] / (out[..., -1:] + eps)).to(v.dtype)


def rope(head_dim, frames, rows, cols, device):
    """Angles [L, head_dim / 2]: of frame, row and column of each token."""
    pairs = head_dim // 2
    third = pairs // 3
    place = torch.meshgrid(*(torch.arange(n, device=device, dtype=torch.float64)
                             for n in (frames, rows, cols)), indexing="ij")
    parts = []
    for at, n in zip(place, (pairs - 2 * third, third, third)):
        speed = 10000.0 ** (-torch.arange(n, device=device, dtype=torch.float64) / n)
        parts.append(at.reshape(-1, 1) * speed)
    return torch.cat(parts, -1)


def rotate(x, angles):
    """Neighbours of x [B, heads, L, head_dim] are turned as pairs."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        y = x.float()
        return (y * (y.square().mean(-1, True) + self.eps).rsqrt() * self.weight.float()).to(x.dtype)


class Map(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(*shape))


class Attention(nn.Module):
    """To itself (with angles; softmax, or linear where it has maps), or to another sequence."""

    def __init__(self, dim, heads, eps, map_dim=0, kind="hedgehog", map_eps=1e-6):
        super().__init__()
        self.heads, self.kind, self.map_eps = heads, kind, map_eps
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(dim, eps), RMSNorm(dim, eps)
        if map_dim:
            self.map_q = Map(heads, dim // heads, map_dim)
            self.map_k = Map(heads, dim // heads, map_dim)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x, other=None, angles=None):
        other = x if other is None else other
        q, k = self.split(self.norm_q(self.q(x))), self.split(self.norm_k(self.k(other)))
        v = self.split(self.v(other))
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if hasattr(self, "map_q"):
            y = linear_attention(q, k, v, self.map_q.weight, self.map_k.weight, self.kind,
                                 self.map_eps)
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        return self.o(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, dim, ffn_dim, heads, eps, **maps):
        super().__init__()
        self.modulation = nn.Parameter(torch.zeros(1, 6, dim))
        self.norm1 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.self_attn = Attention(dim, heads, eps, **maps)
        self.norm3 = nn.LayerNorm(dim, eps)
        self.cross_attn = Attention(dim, heads, eps)
        self.norm2 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), nn.GELU("tanh"), nn.Linear(ffn_dim, dim))

    def forward(self, x, text, mod, angles):
        e = (self.modulation.float() + mod).unsqueeze(2).unbind(1)
        y = self.norm1(x.float()) * (1 + e[1]) + e[0]
        x = x + self.self_attn(y.to(text.dtype), angles=angles) * e[2]
        y = F.layer_norm(x, x.shape[-1:], self.norm3.weight.float(), self.norm3.bias.float(),
                         self.norm3.eps)
        x = x + self.cross_attn(y.to(text.dtype), text)
        y = self.norm2(x) * (1 + e[4]) + e[3]
        return x + self.ffn(y.to(text.dtype)) * e[5]


class Head(nn.Module):
    def __init__(self, dim, out, eps):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.modulation = nn.Parameter(torch.zeros(1, 2, dim))
        self.head = nn.Linear(dim, out)

    def forward(self, x, e):
        shift, scale = (self.modulation.float() + e.unsqueeze(1)).unsqueeze(2).unbind(1)
        return self.head((self.norm(x) * (1 + scale) + shift).to(self.head.weight.dtype))


class WanModel(nn.Module):
    """Names are those of Wan's own files."""

    def __init__(self, c):
        super().__init__()
        dim, self.c = c["dim"], c
        self.patch_embedding = nn.Conv3d(c["channels"], dim, c["patch"], stride=c["patch"])
        self.text_embedding = nn.Sequential(nn.Linear(c["text_dim"], dim), nn.GELU("tanh"),
                                            nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(c["freq_dim"], dim), nn.SiLU(),
                                            nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(
            Block(dim, c["ffn_dim"], c["heads"], c["eps"], kind=c["kind"], map_eps=c["map_eps"],
                  map_dim=c["map_dim"] if i in c["linear"] else 0) for i in range(c["layers"]))
        self.head = Head(dim, c["out"] * math.prod(c["patch"]), c["eps"])

    def times(self, t):
        half = self.c["freq_dim"] // 2
        at = t.double()[:, None] * 10000.0 ** (-torch.arange(half, device=t.device).double() / half)
        weight = self.time_embedding[0].weight
        e = self.time_embedding(torch.cat([at.cos(), at.sin()], -1).to(weight.dtype))
        return e.float(), self.time_projection(e).float().unflatten(1, (6, -1))

    def forward(self, x, t, text):
        """x [B, channels, F, Y, X] latents; t [B], 0 to 1000; text [B, rows, text_dim], at most
        512 rows: those that are not there are zeros, as Wan has them. To velocities, as x."""
        x = self.patch_embedding(x.to(self.patch_embedding.weight.dtype))
        size = x.shape[2:]
        angles = rope(self.c["dim"] // self.c["heads"], *size, x.device)
        e, mod = self.times(t)
        text = F.pad(text, (0, 0, 0, 512 - text.shape[1]))
        text = self.text_embedding(text.to(x.dtype))
        x = x.flatten(2).transpose(1, 2).float()
        for block in self.blocks:
            x = block(x, text, mod, angles)
        x = self.head(x, e).unflatten(2, (*self.c["patch"], -1)).unflatten(1, size)
        return torch.einsum("bfyxpqrc->bcfpyqxr", x).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def config(w, meta):
    """Sizes, from the tensors of a file."""
    maps = [int(m[1]) for n in w if (m := re.fullmatch(r"blocks\.(\d+)\.self_attn\.map_q\.weight", n))]
    dim, channels, *patch = w["patch_embedding.weight"].shape
    out = w["head.head.bias"].numel() // math.prod(patch)
    if channels != out or any("k_img" in n for n in w):
        raise ValueError("expected a network of text to video")
    shape = w[f"blocks.{maps[0]}.self_attn.map_q.weight"].shape if maps else (dim // 128, 128, 0)
    return {"dim": dim, "channels": channels, "out": out, "patch": tuple(patch),
            "heads": shape[0], "map_dim": shape[2], "linear": maps,
            "layers": 1 + max(int(n.split(".")[1]) for n in w if n.startswith("blocks.")),
            "ffn_dim": w["blocks.0.ffn.0.bias"].numel(), "eps": 1e-6,
            "text_dim": w["text_embedding.0.weight"].shape[1],
            "freq_dim": w["time_embedding.0.weight"].shape[1],
            "kind": meta.get("linvideo.feature_map", "hedgehog"),
            "map_eps": float(meta.get("linvideo.feature_eps", 1e-6))}


def load(path, dtype=torch.float32):
    w, meta = read(path)
    with torch.device("meta"):
        net = WanModel(config(w, meta))
    net.load_state_dict({n: t.to(dtype) for n, t in w.items()}, strict=True, assign=True)
    return net.eval().requires_grad_(False)


# Diffusers

NAMES = [(r"time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
         (r"time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
         (r"text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
         (r"text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
         (r"time_projection\.1\.", "condition_embedder.time_proj."),
         (r"head\.modulation", "scale_shift_table"), (r"head\.head\.", "proj_out."),
         (r"(blocks\.\d+)\.modulation", r"\1.scale_shift_table"),
         (r"\.self_attn\.([qkv])\.", r".attn1.to_\1."), (r"\.self_attn\.o\.", ".attn1.to_out.0."),
         (r"\.cross_attn\.([qkv])\.", r".attn2.to_\1."), (r"\.cross_attn\.o\.", ".attn2.to_out.0."),
         (r"\.self_attn\.norm", ".attn1.norm"), (r"\.cross_attn\.norm", ".attn2.norm"),
         (r"\.norm3\.", ".norm2."), (r"\.ffn\.0\.", ".ffn.net.0.proj."),
         (r"\.ffn\.2\.", ".ffn.net.2.")]


def diffusers_name(name):
    for pattern, to in NAMES:
        name = re.sub(pattern, to, name)
    return name


class LinearProcessor:
    """In place of diffusers' processor in attn1 of a linear layer."""

    def __init__(self, map_q, map_k, kind, eps):
        self.map_q, self.map_k, self.kind, self.eps = map_q, map_k, kind, eps

    def __call__(self, attn, x, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):
        cos, sin = (f[..., i::2].transpose(1, 2) for i, f in enumerate(rotary_emb))

        def turn(y):
            a, b = y.unflatten(-1, (-1, 2)).unbind(-1)
            return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)

        q, k, v = (y.unflatten(2, (attn.heads, -1)).transpose(1, 2)
                   for y in (attn.norm_q(attn.to_q(x)), attn.norm_k(attn.to_k(x)), attn.to_v(x)))
        y = linear_attention(turn(q), turn(k), v, self.map_q.to(x.device), self.map_k.to(x.device),
                             self.kind, self.eps)
        return attn.to_out[1](attn.to_out[0](y.transpose(1, 2).flatten(2).type_as(x)))


def load_diffusers(path, dtype=torch.float32):
    from diffusers import WanTransformer3DModel

    w, meta = read(path)
    c = config(w, meta)
    net = WanTransformer3DModel(
        patch_size=c["patch"], num_attention_heads=c["heads"], in_channels=c["channels"],
        attention_head_dim=c["dim"] // c["heads"], out_channels=c["out"], text_dim=c["text_dim"],
        freq_dim=c["freq_dim"], ffn_dim=c["ffn_dim"], num_layers=c["layers"], eps=c["eps"])
    net.load_state_dict({diffusers_name(n): t.to(dtype) for n, t in w.items() if ".map_" not in n})
    for i in c["linear"]:
        maps = (w[f"blocks.{i}.self_attn.map_{side}.weight"].float() for side in "qk")
        net.blocks[i].attn1.set_processor(LinearProcessor(*maps, c["kind"], c["map_eps"]))
    net = net if dtype == torch.float32 else net.to(dtype)
    return net.eval().requires_grad_(False)
