#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# tests/gpu/run.sh [DIR [DEVICE]]: on a machine with a GPU, what there is to know of it:
# which it is; every op of the list on it against the f64 reference, once more under
# compute-sanitizer where that is installed; frames in its memory; the time of ops at the shapes of training;
# that of whole networks, and of each of their ops. The table goes to standard output.
#
# Builds nothing: DIR holds check_ops, check_pipeline and bench_ops as `make tests` left them
# (build/tests), linvideo lies there or above, and DIR may hold libraries they need.
# DEVICE is cuda, or cuda:N. LV_GPU_SMALL=1 cuts the shapes down, which is how it runs
# on the emulated GPU. Status 0: all was right.

dir=${1:-build/tests} device=${2:-cuda} result=0
LD_LIBRARY_PATH=$dir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
linvideo=$dir/linvideo
[ -x "$linvideo" ] || linvideo=$dir/../linvideo

for program in "$dir/check_ops" "$dir/check_pipeline" "$dir/bench_ops" "$linvideo"; do
    test -x "$program" || {
        echo "run.sh: no $program; make all tests, or name the folder that has it" >&2
        exit 2
    }
done

# step TITLE COMMAND...: run it, note a failure, go on
step() {
    printf '\n== %s\n\n' "$1"
    shift
    "$@" || {
        echo "failed with status $?"
        result=1
    }
}

# The ops; the sanitizer gets each of them with its weights, on few shapes.
LV_TEST_DEVICE=$device CK_FORK=no CK_DEFAULT_TIMEOUT=0
export LV_TEST_DEVICE CK_FORK CK_DEFAULT_TIMEOUT
small=
if [ -n "${LV_GPU_SMALL:-}" ]; then
    small="--small --reps 1" LV_BENCH_SMALL=1 CK_RUN_CASE=programs
    export LV_BENCH_SMALL CK_RUN_CASE
fi

step "devices" "$linvideo" devices
step "ops against the reference" "$dir/check_ops"
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -n "$sanitizer" ]; then
    for tool in memcheck initcheck; do
        CK_RUN_CASE=${CK_RUN_CASE:-weights} step "compute-sanitizer, $tool" \
            "$sanitizer" --tool $tool --error-exitcode 1 "$dir/check_ops"
    done
else
    printf '\n== no compute-sanitizer here\n'
fi
CK_RUN_CASE=device step "frames in its memory" "$dir/check_pipeline"
step "time of ops at the shapes of training" "$dir/bench_ops" "$device"
for op in attn attn_dx linattn conv conv3; do
    step "$op for 9.0, few tokens or pixels too" env LV_TEST_NEWEST=90 LV_TEST_OP=$op \
        CK_RUN_CASE="${CK_RUN_CASE:-cases}" "$dir/check_ops"
    step "time without it" env LV_TEST_NEWEST=80 "$dir/bench_ops" "$device" $op
done
step "time of networks" "$linvideo" bench --device "$device" --ops $small
exit $result
