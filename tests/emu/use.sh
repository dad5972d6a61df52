# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Sourced by the shell tests, with $build set: the stand-in in place of driver,
# cuBLASLt and NCCL.

LINVIDEO_LIBCUDA=$(absolute "$build/tests/emu/libcuda.so")
LINVIDEO_LIBCUBLASLT=$(absolute "$build/tests/emu/libcublasLt.so")
LINVIDEO_LIBNCCL=$(absolute "$build/tests/emu/libnccl.so")
LINVIDEO_MODEL_PATH=${LINVIDEO_MODEL_PATH:-$(absolute "$build/tests/model")}
export LINVIDEO_LIBCUDA LINVIDEO_LIBCUBLASLT LINVIDEO_LIBNCCL LINVIDEO_MODEL_PATH
