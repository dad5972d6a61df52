#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A photo that moves, or, with LAST, a first photo that becomes a last one.
#
#     MODEL=wan.json PHOTO=photo.jpg samples/photo.sh [FOLDER]
#                                      writes FOLDER/photo.mp4
#
# To change it: MODEL is a manifest of Wan2.1 I2V, Wan2.2 I2V or TI2V, with LAST
# of Wan2.1 FLF2V or Wan2.2 I2V (linvideo setup writes it); PHOTO and LAST are
# any images that ffmpeg reads, PROMPT what happens. OPTIONS are more options of
# the filter, such as "size=480x832:steps=20"; "duration=10" lets it move on from
# the last frame of each clip.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${PROMPT:=the camera moves slowly closer}"
: "${MODEL:?expected a manifest of a model of image to video}"
: "${PHOTO:?expected an image}"
out=${1:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$PROMPT" >"$work/prompt.txt"

filter="linvideo=model='$MODEL':prompt_file='$work/prompt.txt'${OPTIONS:+:$OPTIONS}"
if [ -n "${LAST:-}" ]; then
    set -- -i "$PHOTO" -i "$LAST" -filter_complex "[0:v][1:v] $filter:inputs=2"
else
    set -- -i "$PHOTO" -filter_complex "[0:v] $filter:inputs=1"
fi
$FFMPEG -hide_banner -loglevel warning -y "$@" -c:v libx264 -pix_fmt yuv420p "$out/photo.mp4"
