#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The command linvideo, piped into an ordinary ffmpeg.
#
#     samples/pipe.sh [FOLDER]         writes FOLDER/pipe.mp4
#
# To change it: any reader of YUV4MPEG2 may stand in ffmpeg's place (mpv -,
# x264 --demuxer y4m -). The progress bar and Ctrl-C are linvideo's own here,
# which suits long renders.
set -eu
: "${FFMPEG:=ffmpeg}" "${LINVIDEO:=linvideo}"
: "${PROMPT:=a large cyan ring growing on a purple background}"
out=${1:-.}

$LINVIDEO generate --duration 2 --seed 13 -o - -- "$PROMPT" |
    $FFMPEG -hide_banner -loglevel warning -y -colorspace smpte170m -i - \
        -vf "fps=24,scale=768:448:flags=lanczos" \
        -c:v libx264 -pix_fmt yuv420p "$out/pipe.mp4"
