#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Every call of driver and cuBLASLt fails once (tests/faults.c), with a model that was
# trained for a moment.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -x "$build/tests/faults" ] && [ -f "$build/tests/emu/libcuda.so" ] || exit 77
. tests/emu/use.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One layer is enough, as all are made of the same calls.
sed -e 's/"num_layers": 2, "text_dim": 32/"num_layers": 1, "text_dim": 16/' \
    -e 's/"dim": 48, "ffn_dim": 96/"dim": 16, "ffn_dim": 32/' \
    -e 's/"dim": 32, "dim_attn": 32, "dim_ffn": 48/"dim": 16, "dim_attn": 16, "dim_ffn": 32/' \
    tests/ref/tiny.json >"$work/small.json"
# Streamed are three at least.
mkdir "$work/deep"
sed 's/"num_layers": 1, "text_dim": 16/"num_layers": 5, "text_dim": 16/' "$work/small.json" \
    >"$work/deep.json"

# train DIR RECIPE
train() {
    "$build/linvideo" train --device cpu --dir "$1" "$2" >"$work/said" 2>&1 || {
        not_ok "a small model" "$(cat "$work/said")"
        finish
    }
}

train "$work" "$work/small.json"
train "$work/deep" "$work/deep.json"
"$build/tests/faults" "$work" "$work/small.json"
