#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# From a fresh checkout to a video: "make demo" runs this.
#
#     samples/demo.sh [BUILD]
#
# PROMPT is what to show, SEED which of its many videos, OUT the file. The prompt is
# handed over in a file, so that it may hold any sign without quoting.
set -eu

build=${1:-build}
: "${PROMPT:=a red circle bouncing on a blue background}" "${SEED:=1}"
: "${OUT:=demo.mp4}"
cd "$(dirname "$0")/.."
unset MAKEFLAGS MAKELEVEL

prompt=$(mktemp)
trap 'rm -f "$prompt"' EXIT
printf '%s\n' "$PROMPT" >"$prompt"

times=''
begin=$(date +%s)

# part NAME COMMAND...: run it, keep its time for the summary
part() {
    part_name=$1
    shift
    echo "== $part_name"
    part_begin=$(date +%s)
    "$@"
    times="$times$(printf '%-10s %4d s' "$part_name" \
        $(($(date +%s) - part_begin)))
"
}

build() {
    make --no-print-directory -j "$(nproc)" BUILD="$build" "$@"
}

dropin() {
    build dropin ||
        echo "demo: the command linvideo pipes into your ffmpeg instead" >&2
}

video() {
    scale=scale=768:-2:flags=lanczos
    if [ -x "$build/ffmpeg-linvideo" ]; then
        "$build/ffmpeg-linvideo" -hide_banner -y -filter_complex \
            "linvideo=prompt_file='$prompt':seed=$SEED,$scale" \
            -c:v libx264 -crf 18 "$OUT"
    else
        "$build/linvideo" generate --seed "$SEED" -o - --prompt_file "$prompt" |
            ffmpeg -hide_banner -y -colorspace smpte170m -i - -vf "$scale" \
                -c:v libx264 -crf 18 "$OUT"
    fi
}

part set-up  samples/setup.sh "$build"
part library build all
part drop-in dropin
part video   video

printf '\n%s%-10s %4d s\n\n%s shows: %s\n' "$times" total \
    $(($(date +%s) - begin)) "$OUT" "$PROMPT"
