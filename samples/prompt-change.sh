#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A new prompt while the stream runs, as a live tool would send it.
#
#     samples/prompt-change.sh [FOLDER]    writes FOLDER/prompt-change.mp4
#
# To change it: a line of the commands file reads "TIME linvideo prompt 'TEXT';".
# The filter sendcmd must stand after the source; a prompt counts from the next
# clip on. With zmq in place of sendcmd another program sends the commands.
# FOLDER/prompt-change.txt tells which prompt each frame was made from.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${FIRST:=a large yellow square moving right on a green background}"
: "${SECOND:=a large orange triangle growing on a white background}"
out=${1:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

printf '%s\n' "$FIRST" >"$work/first.txt"
quoted=$(printf '%s' "$SECOND" | sed "s/'/'\\\\''/g")
printf "0.5 linvideo prompt '%s';\n" "$quoted" >"$work/commands.txt"

$FFMPEG -hide_banner -loglevel warning -y -filter_complex "
        linvideo=prompt_file='$work/first.txt':duration=4:seed=11,
        sendcmd=f='$work/commands.txt',
        metadata=mode=print:key=lavfi.linvideo.prompt
                :file='$out/prompt-change.txt',
        fps=24, scale=768:448:flags=lanczos" \
    -c:v libx264 -pix_fmt yuv420p "$out/prompt-change.mp4"
