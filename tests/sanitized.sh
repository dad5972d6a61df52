#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The command's own scripts once more, with the build that sanitize.sh made: what a program
# of tests does not call is called here.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1

build=${BUILD:-build}/sanitized
[ -x "$build/linvideo" ] || { echo "no $build/linvideo here (tests/sanitize.sh)"; exit 77; }

LV_SANITIZED=1
# A thread that ends has its signal stack looked at where GCC 12 finds it poisoned.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}use_sigaltstack=0
UBSAN_OPTIONS=print_stacktrace=1
ONEDNN_MAX_CPU_ISA=${ONEDNN_MAX_CPU_ISA:-AVX512_CORE_BF16} # see sanitize.sh
DNNL_MAX_CPU_ISA=$ONEDNN_MAX_CPU_ISA
export LV_SANITIZED ASAN_OPTIONS UBSAN_OPTIONS ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA

for script in hostile wan cli; do
    succeeds "$script.sh, sanitized" env BUILD="$build" LINVIDEO="$build/linvideo" \
        "tests/$script.sh"
done
finish
