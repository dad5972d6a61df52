#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# What a CPU without bf16, or without AVX-512, or older still, would do: oneDNN
# is told to use no more than that, and the programs must agree all the same.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

for isa in SSE41 AVX2 AVX512_CORE; do
    ONEDNN_MAX_CPU_ISA=$isa DNNL_MAX_CPU_ISA=$isa
    export ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA
    for check in ops graph model; do
        [ -x "$build/tests/check_$check" ] || continue
        succeeds "check_$check, oneDNN with $isa" "$build/tests/check_$check"
    done
done
finish
