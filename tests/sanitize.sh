#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A second build with the address and undefined-behaviour sanitizers; the
# programs and fuzzers named in $CHECKS and $FUZZERS run in it.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL

build=${BUILD:-build}/sanitized
UBSAN_OPTIONS=print_stacktrace=1
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}use_sigaltstack=0 # see sanitized.sh
# libcheck waits ten times as long
CK_TIMEOUT_MULTIPLIER=10
export UBSAN_OPTIONS ASAN_OPTIONS CK_TIMEOUT_MULTIPLIER
# oneDNN 2.6, where it makes convolutions for AMX, reads 4 bytes behind a vector of its own
# and throws them away; malloc has something there, the sanitizer at times has not.
ONEDNN_MAX_CPU_ISA=${ONEDNN_MAX_CPU_ISA:-AVX512_CORE_BF16}
DNNL_MAX_CPU_ISA=$ONEDNN_MAX_CPU_ISA
export ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA

succeeds "configure" ./configure --builddir="$build" \
    --cc="${CC:-gcc}" --cxx="${CXX:-g++}" --enable-asan --enable-ubsan --disable-cuda
succeeds "make" make -j "$(nproc)" BUILD="$build" all tests fuzzers

for check in ${CHECKS:-}; do
    succeeds "check_$check, sanitized" "$build/tests/check_$check"
done

# fuzz NAME SEED TIMES
fuzz() {
    case " ${FUZZERS:-} " in
    *" $1 "*) succeeds "fuzz/$1, $3 times" "$build/tests/fuzz/$1" "$2" "$3" ;;
    esac
}

fuzz safetensors tests/ref/umt5_a.safetensors 2000
for seed in tests/fuzz/corpus/*; do
    fuzz "${seed##*.}" "$seed" 5000
done
fuzz tokenizer   tests/ref/tokenizer.spm      500
finish
