#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A shot in another look: video to video, the shot's sound kept.
#
#     samples/restyle.sh [FOLDER]      writes FOLDER/restyle.mp4
#
# To change it: SHOT is your own video, PROMPT what it shall show, STRENGTH how
# much of it changes (0.01 to 1). For a model of your own put model= and size=
# into the filter; the rate and the timestamps are those of the shot.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${PROMPT:=a large green square moving left on a blue background}"
: "${STRENGTH:=0.6}"
out=${1:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$PROMPT" >"$work/prompt.txt"

if [ -z "${SHOT:-}" ]; then
    SHOT=$work/shot.mkv
    $FFMPEG -hide_banner -loglevel warning -y \
        -f lavfi -i "linvideo=a large red circle moving left on a blue background:duration=3:seed=1" \
        -f lavfi -i "sine=frequency=220:duration=3" -c:v ffv1 -c:a pcm_s16le "$SHOT"
fi
$FFMPEG -hide_banner -loglevel warning -y -i "$SHOT" -filter_complex "
        [0:v] linvideo=inputs=1:mode=video:strength=$STRENGTH:seed=2
                :prompt_file='$work/prompt.txt',
        scale=768:-2:flags=lanczos [video]" \
    -map "[video]" -map "0:a?" -c:v libx264 -pix_fmt yuv420p -c:a aac "$out/restyle.mp4"
