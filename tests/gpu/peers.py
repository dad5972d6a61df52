#!/usr/bin/env python3
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# peers.py [DEVICE]: what PyTorch takes for the work of kernels/README.md's comparison,
# to be run beside run.sh on the same card. Milliseconds by events, the mean of ten runs
# after three.

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


torch.manual_seed(0)
torch.cuda.set_device(device)
print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name(device)}")
ceilings()
softmax(64, 6, 420, 64)
softmax(1, 12, 8192, 128)
softmax(1, 12, 32760, 128)
linear(12, 32760, 128, 64)
