#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Every kind of model on every device in every precision, by the command, the GPU being the
# emulated one: frames come, near the CPU's; or the model is refused before a frame is begun,
# with a reason. Pictures are tiny, widths are true: those of Wan 1.3B with its autoencoder
# and UMT5-XXL, in one layer each, and the network of 14B.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -x "$build/tests/make_wan" ] && [ -f "$build/tests/emu/libcuda.so" ] || exit 77
. tests/emu/use.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME

models=${LV_CROSS_MODELS:-embedded tiny tiny-tae cut-1.3b cut-14b}

# Device, precision, and what comes of it: frames, or why the model is refused, as a pattern;
# what a CPU does with bf16 and int8 depends on the CPU. The same for every model.
table() {
    cat <<EOF
cpu  f32  frames
cpu  bf16 frames|has no bf16 matmuls
cpu  int8 frames|has no int8 matmuls, which are for CPUs
cuda f32  frames
cuda bf16 frames
cpu  fp8  has no fp8 matmuls, which are for GPUs
cuda int8 has no int8 matmuls, which are for CPUs
cuda fp8  frames
EOF
}

# path MODEL: its file, made when there is none yet
path() {
    case $1 in
    embedded) echo samples/motion.safetensors ;;
    *)
        [ -d "$work/$1" ] || {
            mkdir "$work/$1"
            "$build/tests/make_wan" "$work/$1" tests/ref/tokenizer.spm "$1" &&
                "$build/linvideo" setup "$work/$1"
        } >"$work/said" 2>&1
        echo "$work/$1/wan.json" ;;
    esac
}

# far FILE FILE: mean difference of their bytes
far() {
    cmp -l "$1" "$2" | awk -v n="$(wc -c <"$1")" '
        function value(octal) {
            return 64 * int(octal / 100) + 8 * int(octal % 100 / 10) + octal % 10
        }
        { d = value($2) - value($3); sum += d < 0 ? -d : d }
        END { printf "%.3f", sum / n }'
}

# frames NAME CLIP EXACT MOST: they are there, and at most so far from those of the CPU in f32
frames() {
    bytes=$(sed 1d "$2" | wc -c)
    d=$(far "$3" "$2")
    if [ "$bytes" = $((5 * (6 + 16 * 16 * 3))) ] &&
       [ "$(echo "$d $4" | awk '{ print ($1 <= $2) }')" = 1 ]; then
        ok "$1, bytes $d from exact"
    else
        not_ok "$1" "$bytes bytes of frames, $d from exact, allowed are $4"
    fi
}

for model in $models; do
    file=$(path "$model")
    table >"$work/table"
    while read -r device precision expected; do
        name="$model on $device in $precision"
        clip=$work/$device-$precision.y4m
        rm -f "$clip"
        said=$("$build/linvideo" generate --device "$device" --precision "$precision" \
            --model "$file" --size 16x16 --frames 5 --clip-frames 5 --steps 1 --guidance 1 \
            --seed 1 --prompt-cache on --format yuv444p -y -o "$clip" "a red circle" 2>&1)
        status=$?
        most=0.1
        [ "$precision" = f32 ] || most=2
        case $status:$expected in
        0:frames*) frames "$name" "$clip" "$work/cpu-f32.y4m" $most ;;
        1:frames) not_ok "$name" "$said" ;;
        1:*)
            if [ ! -s "$clip" ] && [ "$(echo "$said" | wc -l)" = 1 ] &&
               echo "$said" | grep -qE -e "${expected#frames|}"; then
                ok "$name is refused"
            else
                not_ok "$name" "not refused before all with \"$expected\": $said"
            fi ;;
        *) not_ok "$name" "status $status: $said" ;;
        esac
    done <"$work/table"
done

# Wan's autoencoder in both directions
if [ -f "$work/cut-1.3b/vae.safetensors" ]; then
    while read -r precision tolerance; do
        succeeds "both halves of Wan's autoencoder, true widths, in $precision" \
            "$build/tests/parity" --device cuda --against cpu --precision "$precision" \
            --tolerance "$tolerance" "$work/cut-1.3b/vae.safetensors"
    done <<EOF
f32  1e-5
bf16 4e-2
EOF
fi
finish
