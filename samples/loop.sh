#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A video whose last frame leads into its first, three times over.
#
#     samples/loop.sh [FOLDER]         writes FOLDER/loop.mp4
#
# To change it: PROMPT is what turns, swings or drifts; TURNS how often it is
# shown. The loop itself is FOLDER/turn.mkv, two seconds without loss, for players
# and mixers that repeat it themselves (ffmpeg: -stream_loop -1 -i turn.mkv).
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${PROMPT:=a purple star spinning on an orange background}"
: "${TURNS:=3}"
out=${1:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$PROMPT" >"$work/prompt.txt"

$FFMPEG -hide_banner -loglevel warning -y -filter_complex \
        "linvideo=prompt_file='$work/prompt.txt':loop=1:seed=1" \
    -c:v ffv1 "$out/turn.mkv"
$FFMPEG -hide_banner -loglevel warning -y -stream_loop $((TURNS - 1)) -i "$out/turn.mkv" \
    -vf scale=768:448:flags=lanczos -c:v libx264 -pix_fmt yuv420p "$out/loop.mp4"
