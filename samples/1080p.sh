#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Full HD: scaled up until it fills the screen; what sticks out is cut off.
#
#     samples/1080p.sh [FOLDER]        writes FOLDER/1080p.mp4
#
# To change it: force_original_aspect_ratio=decrease with
# pad=1920:1080:(ow-iw)/2:(oh-ih)/2 in place of crop shows all of it between bars;
# minterpolate=fps=24 in place of fps=24 invents the frames between, slowly.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${PROMPT:=a large orange triangle growing on a white background}"
out=${1:-.}
prompt=$(mktemp)
trap 'rm -f "$prompt"' EXIT
printf '%s\n' "$PROMPT" >"$prompt"

$FFMPEG -hide_banner -loglevel warning -y -filter_complex "
        linvideo=prompt_file='$prompt':duration=2:seed=7,
        fps=24,
        scale=1920:1080:force_original_aspect_ratio=increase:flags=lanczos,
        crop=1920:1080,
        setsar=1" \
    -c:v libx264 -preset veryfast -pix_fmt yuv420p "$out/1080p.mp4"
