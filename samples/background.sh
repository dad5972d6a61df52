#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A background of 20 seconds without cuts.
#
#     samples/background.sh [FOLDER]   writes FOLDER/background.mp4
#
# To change it: PROMPT is a scene that goes on as it is, such as clouds, waves or
# lights; DURATION its seconds. With join=window the whole is sampled at once, in
# windows of a clip that overlap; without it clips of their own follow one another.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${PROMPT:=soft blue lights drifting on a black background}"
: "${DURATION:=20}"
out=${1:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$PROMPT" >"$work/prompt.txt"

$FFMPEG -hide_banner -loglevel warning -y -filter_complex "
        linvideo=prompt_file='$work/prompt.txt':join=window:duration=$DURATION:seed=1,
        minterpolate=fps=24, scale=768:448:flags=lanczos" \
    -c:v libx264 -pix_fmt yuv420p "$out/background.mp4"
