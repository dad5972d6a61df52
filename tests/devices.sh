#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Two devices, on the emulated GPU: the frames of one, whatever is asked of them; what is
# refused, and what a device that fails says.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -x "$build/tests/make_wan" ] && [ -f "$build/tests/emu/libcuda.so" ] || exit 77
. tests/emu/use.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
XDG_CACHE_HOME=$work/cache
EMU_DEVICES=2
export XDG_CACHE_HOME EMU_DEVICES

# make FILE DEVICE OPTION...: frames of it; what was said is in $said
make() {
    file=$1 device=$2
    shift 2
    said=$("$build/linvideo" generate -v --device "$device" --model "$work/wan.json" \
        --size 32x32 --clip-frames 1 --steps 2 --seed 1 --prompt-cache on -y \
        -o "$work/$file.y4m" "$@" "a red circle" 2>&1)
}

# same NAME OPTION...: two devices make the frames of one
same() {
    same_name=$1
    shift
    rm -f "$work/one.y4m" "$work/two.y4m"
    make one cuda "$@"
    make two cuda:0+1 "$@"
    if cmp -s "$work/one.y4m" "$work/two.y4m"; then ok "$same_name"; else
        not_ok "$same_name" "other frames: $said"
    fi
}

# says NAME PATTERN
says() {
    if printf '%s\n' "$said" | grep -qE -e "$2"; then ok "$1"; else
        not_ok "$1" "no \"$2\": $said"
    fi
}

succeeds "random weights, 7 blocks" "$build/tests/make_wan" "$work" tests/ref/tokenizer.spm deep
echo '{"dit": "dit.safetensors", "text": "text.safetensors", "vae": "vae.safetensors"}' \
    >"$work/wan.json"

same "bf16, two clips" --guidance 3 --frames 2
equal "each has weights of its own" "$(printf '%s\n' "$said" | grep -c 'memory: weights')" 2
same "f32" --guidance 3 --frames 1 --precision f32
same "the network streams on both" --guidance 3 --frames 1 --memory-limit 18M
says "which is said of both" 'blocks stay on the device'
same "no guidance" --guidance 1 --frames 1
says "the second one is not used" 'cuda:1 .* is not used'

# frames of a video are encoded on the first
{
    printf 'YUV4MPEG2 W32 H32 F8:1\nFRAME\n'
    head -c 1536 /dev/zero | tr '\0' w
} >"$work/clip.y4m"
same "video to video" --guidance 3 --frames 1 --video "$work/clip.y4m"

# an image is encoded on the first, and given to the networks of both
mkdir "$work/images"
succeeds "random weights of image to video" "$build/tests/make_wan" "$work/images" \
    tests/ref/tokenizer.spm tiny-i2v
sed 's/}/, "clip": "clip.safetensors"}/' "$work/wan.json" >"$work/images/wan.json"
printf 'P6\n2 1\n255\nABCxyz' >"$work/image.ppm"
text=$work work=$work/images
same "image to video" --guidance 3 --frames 1 --image "$text/image.ppm"
says "two branches, from files to frames" '1 frames of 32x32'
work=$text

make two cuda:0+2 --frames 1
says "a device that is not there" 'no device 2, there are 2'
make two cuda:1+1 --frames 1
says "one twice" 'expected two different devices'
make two cuda:0+1+2 --frames 1
says "too many" 'expected at most two devices'
make two cpu+cuda --frames 1
says "without numbers" 'expected numbers, as cuda:0\+1'
finish
