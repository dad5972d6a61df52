#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The programs and fuzzers named in $CHECKS and $FUZZERS in a build with sanitizers.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
. tests/sanitizers.sh
# libcheck waits ten times as long
CK_TIMEOUT_MULTIPLIER=10
export CK_TIMEOUT_MULTIPLIER

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
