# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Sourced by sanitize.sh and sanitized.sh, in the tree: a second build with the address and
# undefined-behaviour sanitizers, in $build, of which the first of the two makes everything.

UBSAN_OPTIONS=print_stacktrace=1
# A thread that ends has its signal stack looked at where GCC 12 finds it poisoned; and
# tests/iofault.so, which takes no call that the sanitizer needs, stands before it.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}use_sigaltstack=0:verify_asan_link_order=0
# oneDNN 2.6, where it makes convolutions for AMX, reads 4 bytes behind a vector of its own
# and throws them away; malloc has something there, the sanitizer at times has not.
ONEDNN_MAX_CPU_ISA=${ONEDNN_MAX_CPU_ISA:-AVX512_CORE_BF16}
DNNL_MAX_CPU_ISA=$ONEDNN_MAX_CPU_ISA
export UBSAN_OPTIONS ASAN_OPTIONS ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA

build=$(cd "${BUILD:-build}" && pwd)/sanitized
exec 9>"$build.lock"
flock 9
succeeds "configure" env -u MAKEFLAGS -u MAKELEVEL ./configure --builddir="$build" \
    --cc="${CC:-gcc}" --cxx="${CXX:-g++}" --enable-asan --enable-ubsan --disable-cuda
succeeds "make" env -u MAKEFLAGS -u MAKELEVEL make -j "$(nproc)" BUILD="$build" all tests fuzzers
exec 9>&-
