#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# tests/gpu/run.sh [DIR [DEVICE]]: on a machine with a GPU, every op of the list on the
# device against the f64 reference, then the time of ops at the shapes of training.
#
# Builds nothing: DIR holds check_ops and bench_ops as `make tests` left them
# (build/tests), and may hold libraries they need. DEVICE is cuda, or cuda:N.

dir=${1:-build/tests} device=${2:-cuda}
LD_LIBRARY_PATH=$dir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH

for program in check_ops bench_ops; do
    test -x "$dir/$program" || {
        echo "run.sh: no $dir/$program; make tests, or name the folder that has it" >&2
        exit 2
    }
done

LV_TEST_DEVICE=$device CK_FORK=no CK_DEFAULT_TIMEOUT=0 "$dir/check_ops"
result=$?
"$dir/bench_ops" "$device" || result=1
exit $result
