#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Whole networks on the emulated GPU: against PyTorch's numbers; op by op against the CPU,
# with a model of all parts; and all that tests/gpu/run.sh does on a real one.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -x "$build/tests/lockstep" ] && [ -f "$build/tests/emu/libcuda.so" ] || exit 77
. tests/emu/use.sh

# EMU_APART: nothing but the driver may touch memory of the device.
while read -r net f32 bf16; do
    for precision in f32 bf16; do
        [ $precision = f32 ] && tolerance=$f32 || tolerance=$bf16
        succeeds "$net in $precision as PyTorch has it" env EMU_APART=1 "$build/tests/parity" \
            --device cuda --precision $precision --tolerance "$tolerance" \
            "$build/tests/ref/$net.safetensors"
    done
done <<EOF
dit_a   1e-5 2e-2
dit_b   1e-5 2e-2
tae_a   1e-5 2e-2
umt5_a  1e-5 2e-2
wan_vae 1e-5 3e-2
wan22_vae 1e-5 3e-2
clip_vision 1e-5 2e-2
EOF

succeeds "the tests' model on both devices" "$build/tests/lockstep" \
    "$build/tests/model/motion.safetensors"
echo "$report_text" | grep 'largest error'

succeeds "tests/gpu/run.sh with small shapes" \
    env LV_GPU_SMALL=1 tests/gpu/run.sh "$build/tests" cuda
for part in "Checks: 1, Failures: 0" "TFLOP/s  case 0, attn_dx" "dit-14b-720p-linear30 "; do
    echo "$report_text" | grep -qF -e "$part" && ok "its line \"$part\"" ||
        not_ok "its line \"$part\"" "$report_text"
done
finish
