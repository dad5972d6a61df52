#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A video for each line of a file of prompts.
#
#     samples/batch.sh [FOLDER]        writes FOLDER/batch-001.mp4 and so on
#
# To change it: PROMPTS is the file, COUNT how many of its lines to take. A
# prompt is handed over in a file, so that it may hold any sign without quoting.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${PROMPTS:=$(dirname "$0")/prompts.txt}" "${COUNT:=2}"
out=${1:-.}
prompt=$(mktemp)
trap 'rm -f "$prompt"' EXIT

number=0
head -n "$COUNT" "$PROMPTS" | while read -r line; do
    number=$((number + 1))
    printf '%s\n' "$line" >"$prompt"
    $FFMPEG -nostdin -hide_banner -loglevel warning -y -filter_complex "
            linvideo=prompt_file='$prompt':duration=2:seed=$number,
            scale=768:448:flags=lanczos" \
        -c:v libx264 -pix_fmt yuv420p \
        "$out/batch-$(printf %03d "$number").mp4"
done
