#!/usr/bin/env python3
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# peers.py [DEVICE [conv]]: what PyTorch takes for the work of kernels/README.md's
# comparison, to be run beside run.sh on the same card; "conv": of convolutions alone.
# Milliseconds by events, the mean of ten runs after three.

import sys

import torch
import torch.nn.functional as F

device = sys.argv[1] if len(sys.argv) > 1 else "cuda:0"
bf16 = torch.bfloat16


def time(name, run, flops=0, moved=0, times=10):
    for _ in range(3):
        run()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(times):
        run()
    end.record()
    torch.cuda.synchronize()
    ms = begin.elapsed_time(end) / times
    rate = f" {flops / ms / 1e9:8.0f} TFLOP/s" if flops else ""
    rate += f" {moved / ms / 1e6:8.0f} GB/s" if moved else ""
    print(f"{ms:10.4f} ms{rate}  {name}", flush=True)


def heads(samples, count, tokens, width):
    return [torch.randn(samples, count, tokens, width, device=device, dtype=bf16)
            for _ in range(3)]


def ceilings():
    x = torch.randn(1 << 28, device=device)
    y = torch.empty_like(x)
    time("copy", lambda: y.copy_(x), moved=8 * x.numel())
    a = torch.randn(8192, 8192, device=device, dtype=bf16)
    time("product, 8192 cubed", lambda: a @ a, flops=2 * 8192**3)


def softmax(samples, count, tokens, width):
    q, k, v = heads(samples, count, tokens, width)
    name = f"softmax attention, {samples} x {tokens} tokens, {count} heads of {width}"
    flops = 4 * samples * count * tokens**2 * width
    time(name, lambda: F.scaled_dot_product_attention(q, k, v), flops=flops)
    for x in (q, k, v):
        x.requires_grad_()

    def both():
        o = F.scaled_dot_product_attention(q, k, v)
        o.backward(o)

    time(name + ", with gradient", both, times=5)


def features(x, w):
    y = (x @ w).float()
    return torch.cat([y.softmax(-1), (-y).softmax(-1)], -1).to(x.dtype)


def hedgehog(q, k, v, wq, wk):
    fq, fk = features(q, wq), features(k, wk)
    state = torch.einsum("bhnf,bhnd->bhfd", fk, v)
    top = torch.einsum("bhnf,bhfd->bhnd", fq, state)
    below = torch.einsum("bhnf,bhf->bhn", fq, fk.sum(2))
    return top / (below[..., None] + 1e-6)


def linear(count, tokens, width, columns):
    q, k, v = heads(1, count, tokens, width)
    w = [0.1 * torch.randn(count, width, columns, device=device, dtype=bf16)
         for _ in range(2)]
    name = f"linear attention, {tokens} tokens, {count} heads of {width}, {columns} columns"
    fast = torch.compile(hedgehog)
    with torch.no_grad():
        time(name + ", eager", lambda: hedgehog(q, k, v, *w))
        time(name + ", compiled", lambda: fast(q, k, v, *w))


class Block(torch.nn.Module):
    """A block of a video transformer as Wan 1.3B has: modulation, self-attention with
    RMS norm and rotation of queries and keys, cross-attention, MLP."""

    def __init__(self, dim, ffn, count):
        super().__init__()
        self.count = count
        self.qkv = torch.nn.Linear(dim, 3 * dim)
        self.out = torch.nn.Linear(dim, dim)
        self.text_q = torch.nn.Linear(dim, dim)
        self.text_out = torch.nn.Linear(dim, dim)
        self.up = torch.nn.Linear(dim, ffn)
        self.down = torch.nn.Linear(ffn, dim)
        self.scale = torch.nn.Parameter(torch.ones(3, dim))
        self.table = torch.nn.Parameter(torch.randn(6, dim) / dim**0.5)

    def split(self, x):
        return x.unflatten(-1, (self.count, -1)).transpose(1, 2)

    def rms(self, x, i):
        return F.rms_norm(x, x.shape[-1:], self.scale[i], 1e-6)

    def rotate(self, x, cos, sin):
        a, b = self.split(x).float().unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)

    def norm(self, x, shift, scale):
        y = F.layer_norm(x, x.shape[-1:], eps=1e-6)
        return (y * (1 + scale) + shift).to(bf16)

    def forward(self, x, text_k, text_v, cos, sin):
        shift0, scale0, gate0, shift1, scale1, gate1 = self.table.float().unbind(0)
        q, k, v = self.qkv(self.norm(x, shift0, scale0)).chunk(3, -1)
        y = F.scaled_dot_product_attention(self.rotate(self.rms(q, 0), cos, sin),
                                           self.rotate(self.rms(k, 1), cos, sin),
                                           self.split(v))
        x = x + gate0 * self.out(y.transpose(1, 2).flatten(2))
        q = self.split(self.rms(self.text_q(F.layer_norm(x, x.shape[-1:]).to(bf16)), 2))
        y = F.scaled_dot_product_attention(q, text_k, text_v)
        x = x + self.text_out(y.transpose(1, 2).flatten(2))
        y = F.gelu(self.up(self.norm(x, shift1, scale1)), approximate="tanh")
        return x + gate1 * self.down(y)


def block(tokens, dim, ffn, count):
    net = Block(dim, ffn, count).to(device, bf16)
    x = torch.randn(1, tokens, dim, device=device)
    text = torch.randn(2, 1, count, 512, dim // count, device=device, dtype=bf16)
    angle = torch.rand(tokens, dim // count // 2, device=device) * 6
    args = x, text[0], text[1], angle.cos(), angle.sin()
    name = f"softmax block, {tokens} tokens, width {dim}, MLP {ffn}"
    fast = torch.compile(net)
    with torch.no_grad():
        time(name + ", eager", lambda: net(*args))
        time(name + ", compiled", lambda: fast(*args))


def convolution(frames, rows, cols, inputs, outputs, taps):
    """As Wan's decoder has them: over taps[0] frames, two of them from before."""
    x = torch.randn(1, inputs, frames + taps[0] - 1, rows, cols, device=device, dtype=bf16)
    w = torch.randn(outputs, inputs, *taps, device=device, dtype=bf16)
    b = torch.randn(outputs, device=device, dtype=bf16)
    form = torch.channels_last_3d
    x, w = x.to(memory_format=form), w.to(memory_format=form)
    pad = (0, taps[1] // 2, taps[2] // 2)
    flops = 2 * frames * rows * cols * inputs * outputs * taps[0] * taps[1] * taps[2]
    with torch.no_grad():
        time(f"convolution, {frames} x {rows} x {cols}, {inputs} to {outputs}, {taps}",
             lambda: F.conv3d(x, w, b, padding=pad), flops=flops)


torch.manual_seed(0)
torch.cuda.set_device(device)
print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name(device)}")
ceilings()
torch.backends.cudnn.benchmark = True
convolution(1, 60, 104, 384, 384, (3, 3, 3))
convolution(2, 120, 208, 384, 384, (3, 3, 3))
convolution(2, 120, 208, 384, 768, (3, 1, 1))
convolution(4, 240, 416, 384, 192, (1, 3, 3))
convolution(4, 240, 416, 192, 192, (3, 3, 3))
convolution(4, 480, 832, 192, 96, (1, 3, 3))
convolution(4, 480, 832, 96, 96, (3, 3, 3))
convolution(4, 480, 832, 96, 3, (3, 3, 3))
if "conv" in sys.argv[2:]:
    sys.exit()
softmax(64, 6, 420, 64)
softmax(1, 12, 8192, 128)
softmax(1, 12, 32760, 128)
linear(12, 32760, 128, 64)
block(32760, 1536, 8960, 12)
