#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Frames of the emulated GPU, to the bit: tests/ref/hashes.txt has the MD5 of small clips of the
# tests' model and of a tiny Wan. A change that is not meant to change frames changes none; one
# that is puts the new sums there. They hold where the functions of the C library give the bits
# of the table's first line: elsewhere sums may differ, and only that two runs agree is tested.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -x "$build/tests/make_wan" ] && [ -f "$build/tests/emu/libcuda.so" ] || exit 77
. tests/emu/use.sh
table=tests/ref/hashes.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# the bits of what kernels call
cat >"$work/libm.c" <<'END'
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    float (*const of[])(float) = { expf, sinf, cosf, tanhf, erfcf, logf, exp2f, sqrtf };
    uint64_t h = 0xCBF29CE484222325u;

    for (int k = 0; k < 8; k++)
        for (int i = 1; i <= 20000; i++) {
            float y = of[k](k == 5 || k == 7 ? i * 0.01f : (float)(i - 10000) * 0.001f);
            uint32_t bits;
            memcpy(&bits, &y, sizeof(bits));
            h = (h ^ bits) * 0x100000001B3u;
        }
    printf("%016llx\n", (unsigned long long)h);
    return 0;
}
END
succeeds "a program that asks the C library" "${CC:-cc}" -O1 -fno-builtin -o "$work/libm" \
    "$work/libm.c" -lm
libm=$("$work/libm")
same=0
[ "$(sed -n 's/^libm //p' $table)" = "$libm" ] && same=1
[ $same = 1 ] || echo "another C library ($libm): sums are not compared with the table"

"$build/tests/make_wan" "$work" tests/ref/tokenizer.spm tiny >/dev/null 2>&1
"$build/linvideo" setup "$work" >/dev/null
ln -s "$(absolute "$build/tests/model/motion.safetensors")" "$work/motion.safetensors"

# clip MODEL PRECISION ARCHITECTURE: the sum of its frames
clip() {
    case $1 in
    motion) set -- "$@" --model "$work/motion.safetensors" --steps 2 --guidance 3 ;;
    wan) set -- "$@" --model "$work/wan.json" --steps 1 --guidance 1 --native 1 ;;
    esac
    precision=$2 arch=$3
    shift 3
    EMU_ARCH=$arch "$build/linvideo" generate -q --device cuda --precision "$precision" "$@" \
        --size 32x32 --frames 5 --clip-frames 5 --seed 7 -o - "a red circle" | md5sum |
        cut -d ' ' -f 1
}

while read -r model precision arch sum; do
    case $model in '#' | libm | '') continue ;; esac
    [ $same = 1 ] || sum=$(clip "$model" "$precision" "$arch")
    equal "$model in $precision on $arch" "$(clip "$model" "$precision" "$arch")" "$sum"
done <$table
finish
