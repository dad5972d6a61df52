#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A title that fades in over a generated background.
#
#     samples/title.sh [FOLDER]        writes FOLDER/title.mp4
#
# To change it: TITLE is the text; fontsize, x and y may use the picture's size
# (w, h) and the text's (tw, th); font= takes any name that fc-list shows; alpha
# is the fade, here one second long.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}" "${TITLE:=Good evening}"
out=${1:-.}
title=$(mktemp)
trap 'rm -f "$title"' EXIT
printf '%s' "$TITLE" >"$title"

$FFMPEG -hide_banner -loglevel warning -y -filter_complex "
        linvideo=prompt='pink soft lights on a purple background'
                :duration=2:seed=5,
        fps=24, scale=768:448:flags=lanczos,
        drawtext=textfile='$title':expansion=none:font=Sans:fontsize=h/9:fontcolor=white
                :x=(w-tw)/2:y=(h-th)/2:alpha='min(1,t)'
                :shadowx=2:shadowy=2" \
    -c:v libx264 -pix_fmt yuv420p "$out/title.mp4"
