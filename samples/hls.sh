#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A stream for web players (HLS), with a tone as its sound.
#
#     samples/hls.sh [FOLDER]          writes FOLDER/hls/index.m3u8 and segments
#
# To change it: duration= is the length (longer than a clip of the model: clips
# follow each other by cuts); -hls_time is the length of a segment and goes with
# the key frames; put "-i music.flac" for the first two words of the input.
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
: "${PROMPT:=red waves on a yellow background}"
out=${1:-.}
mkdir -p "$out/hls"
prompt=$(mktemp)
trap 'rm -f "$prompt"' EXIT
printf '%s\n' "$PROMPT" >"$prompt"

$FFMPEG -hide_banner -loglevel warning -y \
    -f lavfi -i "sine=frequency=330:duration=4" \
    -filter_complex "
        linvideo=prompt_file='$prompt':duration=4:seed=9,
        fps=24, scale=768:448:flags=lanczos [video]" \
    -map '[video]' -map 0:a \
    -c:v libx264 -pix_fmt yuv420p -force_key_frames "expr:gte(t,n_forced*2)" \
    -c:a aac -f hls -hls_time 2 -hls_playlist_type vod \
    -hls_segment_filename "$out/hls/%03d.ts" "$out/hls/index.m3u8"
