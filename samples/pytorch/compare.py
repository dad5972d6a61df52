#!/usr/bin/env python3
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
"""Compares one forward of a network in PyTorch with linvideo's, in f32: relative error at most
1e-5. With diffusers installed, its own transformer with our attention is compared too.

    make tests && samples/pytorch/compare.py [--parity build/tests/parity] lin/model.safetensors
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import torch

import linvideo_wan


def write(path, tensors, meta):
    """A file of tensors in f32."""
    header, at = {"__metadata__": {n: str(v) for n, v in meta.items()}}, 0
    for name, t in tensors.items():
        end = at + 4 * t.numel()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.float().contiguous().numpy().tobytes())


def reference(path, args):
    """Weights, inputs and what PyTorch makes of them."""
    net = linvideo_wan.load(path)
    c, frames, rows, cols = net.c, *args.size
    torch.manual_seed(args.seed)
    x = torch.randn(1, c["channels"], frames, rows, cols)
    text, t = torch.randn(1, args.rows, c["text_dim"]), torch.tensor([717.0])
    velocity = net(x, t, text)
    print(f"{path}: {c['layers']} layers, linear: {c['linear'] or 'none'}")
    theirs = None
    try:
        theirs = linvideo_wan.load_diffusers(path)
    except ImportError:
        print("diffusers is not installed: its transformer is not compared")
    if theirs is not None:
        padded = torch.nn.functional.pad(text, (0, 0, 0, 512 - args.rows))
        other = theirs(x, t, padded, return_dict=False)[0]
        error = float((other - velocity).norm() / velocity.norm())
        print(f"  diffusers                                 {error:9.2e}")
        if not error <= 1e-5:
            sys.exit("diffusers' transformer makes other velocities")
    tensors = {f"weights.{n}": p for n, p in net.state_dict().items()}
    tensors |= {"in.latent": x[0], "in.context": text[0], "in.t": t, "out.velocity": velocity[0]}
    meta = {"dim": c["dim"], "ffn": c["ffn_dim"], "heads": c["heads"], "layers": c["layers"],
            "text_dim": c["text_dim"], "freq_dim": c["freq_dim"],
            "linvideo.feature_map": c["kind"], "linvideo.feature_eps": c["map_eps"]}
    return tensors, meta


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("network", help="a .safetensors file, names as Wan has them")
    a.add_argument("--parity", default="build/tests/parity", help="[build/tests/parity]")
    a.add_argument("--size", type=int, nargs=3, default=(3, 8, 12), help="of latents [3 8 12]")
    a.add_argument("--rows", type=int, default=20, help="of text features [20]")
    a.add_argument("--seed", type=int, default=1)
    args = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "reference.safetensors"
        write(path, *reference(args.network, args))
        return subprocess.run([args.parity, "--tolerance", "1e-5", str(path)]).returncode


if __name__ == "__main__":
    sys.exit(main())
