#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Two prompts, one melting into the other.
#
#     samples/crossfade.sh [FOLDER]    writes FOLDER/crossfade.mp4
#
# To change it: FIRST and SECOND are the prompts. offset= is when the fade
# begins, duration= how long it takes; the result lasts both durations less the
# fade. transition= also knows wipeleft, circleopen, dissolve and many more:
# ffmpeg -h filter=xfade
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${FIRST:=a red circle bouncing on a blue background}"
: "${SECOND:=red waves on a yellow background}"
out=${1:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$FIRST" >"$work/first.txt"
printf '%s\n' "$SECOND" >"$work/second.txt"

$FFMPEG -hide_banner -loglevel warning -y -filter_complex "
        linvideo=prompt_file='$work/first.txt':duration=2:seed=1,  fps=24 [first];
        linvideo=prompt_file='$work/second.txt':duration=2:seed=2, fps=24 [second];
        [first][second] xfade=transition=fade:duration=0.5:offset=1.5,
        scale=768:448:flags=lanczos" \
    -c:v libx264 -pix_fmt yuv420p "$out/crossfade.mp4"
