#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A contact sheet: four frames of a clip for each line of a file of prompts, in two
# columns, the first half of the lines on the left.
#
#     samples/sheet.sh [FOLDER]        writes FOLDER/sheet.jpg
#
# To change it: PROMPTS is the file, of an even number of lines, SEED that of all
# clips; select= says which frames, scale= how large.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}" "${SEED:=1}"
: "${PROMPTS:=$(dirname "$0")/prompts.txt}"
out=${1:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

number=0
while read -r line; do
    number=$((number + 1))
    printf '%s\n' "$line" >"$work/prompt.txt"
    $FFMPEG -nostdin -hide_banner -loglevel warning -y -filter_complex "
            linvideo=prompt_file='$work/prompt.txt':seed=$SEED,
            select='not(mod(n,5))', scale=144:-2:flags=lanczos, tile=4x1:padding=2" \
        -frames:v 1 -update 1 "$work/$(printf %03d "$number").png"
done <"$PROMPTS"
rows=$((number / 2))
$FFMPEG -nostdin -hide_banner -loglevel warning -y -i "$work/%03d.png" -filter_complex "
        split [a][b];
        [a] trim=end_frame=$rows, tile=1x$rows:padding=2 [left];
        [b] trim=start_frame=$rows, setpts=PTS-STARTPTS, tile=1x$rows:padding=2 [right];
        [left][right] hstack" -frames:v 1 -update 1 -q:v 3 "$out/sheet.jpg"
