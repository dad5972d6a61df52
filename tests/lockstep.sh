#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Whole networks on the emulated GPU: against PyTorch's numbers; op by op against the CPU,
# with the embedded model; and all that tests/gpu/run.sh does on a real one.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -x "$build/tests/lockstep" ] && [ -f "$build/tests/emu/libcuda.so" ] || exit 77
. tests/emu/use.sh

# EMU_APART: nothing but the driver may touch memory of the device.
for net in dit_a dit_b tae_a umt5_a; do
    for precision in f32 bf16; do
        succeeds "$net in $precision as PyTorch has it" env EMU_APART=1 "$build/tests/parity" \
            --device cuda --precision $precision tests/ref/$net.safetensors
    done
done

succeeds "the embedded model on both devices" "$build/tests/lockstep" samples/motion.safetensors
echo "$report_text" | grep 'largest error'

succeeds "tests/gpu/run.sh with small shapes" \
    env LV_GPU_SMALL=1 tests/gpu/run.sh "$build/tests" cuda
for part in "Checks: 1, Failures: 0" "TFLOP/s  case 0, attn_dx" "dit-14b-720p-linear30 "; do
    echo "$report_text" | grep -qF -e "$part" && ok "its line \"$part\"" ||
        not_ok "its line \"$part\"" "$report_text"
done
finish
