#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Full HD: scaled up as far as it fits, bars on both sides.
#
#     samples/1080p.sh [FOLDER]        writes FOLDER/1080p.mp4
#
# To change it: color= paints the bars; force_original_aspect_ratio=increase
# with crop=1920:1080 in place of pad fills the screen and cuts the rest off;
# minterpolate=fps=24 in place of fps=24 invents the frames between, slowly.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${PROMPT:=a large orange triangle growing on a white background}"
out=${1:-.}

$FFMPEG -hide_banner -loglevel warning -y -filter_complex "
        linvideo=prompt='$PROMPT':duration=2:seed=7,
        fps=24,
        scale=1920:1080:force_original_aspect_ratio=decrease:flags=lanczos,
        pad=1920:1080:(ow-iw)/2:(oh-ih)/2:color=black,
        setsar=1" \
    -c:v libx264 -preset veryfast -pix_fmt yuv420p "$out/1080p.mp4"
