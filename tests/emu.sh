#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The CUDA device with its kernels on the CPU (tests/emu): every op of the list, and a
# little of post-training.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -f "$build/tests/emu/libcuda.so" ] || exit 77
LINVIDEO_LIBCUDA=$(absolute "$build/tests/emu/libcuda.so")
LINVIDEO_LIBCUBLASLT=$(absolute "$build/tests/emu/libcublasLt.so")
LV_TEST_DEVICE=cuda CK_FORK=no CK_DEFAULT_TIMEOUT=0
export LINVIDEO_LIBCUDA LINVIDEO_LIBCUBLASLT LV_TEST_DEVICE CK_FORK CK_DEFAULT_TIMEOUT

succeeds "check_ops on the emulated GPU" "$build/tests/check_ops"
succeeds "check_post on the emulated GPU" env CK_RUN_CASE=device "$build/tests/check_post"
finish
