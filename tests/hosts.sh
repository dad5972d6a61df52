#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The frei0r plugin in hosts as they are installed: each makes the frames of the command.
# Those that are not here are named at the end.

. "$(dirname "$0")/report.sh"

build=$(cd "${BUILD:-build}" && pwd)
source=$(cd "$(dirname "$0")" && pwd)
linvideo=$(absolute "${LINVIDEO:-$build/linvideo}")
plugin=$build/frei0r/linvideo.so
[ -f "$plugin" ] || { echo "no $plugin here (no frei0r.h)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

LINVIDEO_MODEL_PATH=$build/tests/model
FREI0R_PATH=$build/frei0r MLT_FREI0R_PLUGIN_PATH=$build/frei0r
LD_LIBRARY_PATH=$build${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
HOME=$work XDG_CACHE_HOME=$work
export LINVIDEO_MODEL_PATH FREI0R_PATH MLT_FREI0R_PLUGIN_PATH LD_LIBRARY_PATH HOME \
    XDG_CACHE_HOME

prompt="a red circle, moving: left"
absent=''

# host NAME: whether it is here
host() {
    command -v "$1" >/dev/null && return 0
    absent="$absent $1"
    return 1
}

# hashes FFMPEG-INPUT-OPTION...: of frames as rgb24, a line each
hashes() { ffmpeg -v error -nostdin "$@" -pix_fmt rgb24 -f framemd5 - | sed -n 's/^0,.* //p'; }

# Frames, in FFmpeg's own way to write a prompt
lavfi=$(printf %s "$prompt" | sed 's/[,:]/\\&/g')
graph="frei0r_src=size=64x64:framerate=8:filter_name=linvideo:filter_params='$lavfi||7|2'"

if host ffmpeg; then
    "$linvideo" generate -q --size 64x64 --steps 2 --seed 7 --frames 5 -o 'made%d.png' "$prompt"
    made=$(hashes -i made%d.png)
    equal "the command makes five frames" "$(echo "$made" | sort -u | wc -l)" 5

    equal "ffmpeg makes the same" "$(hashes -f lavfi -i "$graph" -frames:v 5)" "$made"
    ffmpeg -v error -nostdin -f lavfi -i "${graph%2\'}two'" -frames:v 1 striped.png 2>said
    succeeds "ffmpeg shows what is wrong" grep -q "^linvideo: steps: 'two'" said
    equal "and stripes, red and black" "$(ffmpeg -v error -i striped.png -f rawvideo \
        -pix_fmt rgb24 - | od -An -v -tx1 -w3 | sort -u | xargs)" "00 00 00 c0 00 00"
    ffmpeg -v error -nostdin -f lavfi -i "$(echo "$graph" | sed 's/size=64x64/size=68x64/')" \
        -frames:v 2 -f null - 2>said
    succeeds "ffmpeg with an odd width: a warning" grep -q "^linvideo: width 68: " said
fi

if host gst-launch-1.0 && host ffmpeg; then
    gst-launch-1.0 -q frei0r-src-linvideo num-buffers=5 prompt="$prompt" seed=7 steps=2 ! \
        video/x-raw,format=RGBA,width=64,height=64,framerate=8/1 ! filesink location=gst.raw
    equal "gst-launch-1.0 makes the same" \
        "$(hashes -f rawvideo -pix_fmt rgba -s 64x64 -i gst.raw)" "$made"
fi

if host melt && host ffmpeg; then
    melt -silent frei0r.linvideo prompt="$prompt" seed=7 steps=2 out=4 \
        -consumer avformat:melt.mov vcodec=png pix_fmt=rgb24 an=1 mlt_image_format=rgb \
        frame_rate_num=8 frame_rate_den=1 width=64 height=64 >said 2>&1
    equal "melt makes the same" "$(hashes -i melt.mov)" "$made"
fi

if host mpv && host ffmpeg; then
    mpv --no-config --really-quiet --frames=5 --o=mpv.mkv --ovc=ffv1 --of=matroska \
        "av://lavfi:$graph" >said 2>&1
    ffmpeg -v error -nostdin -f lavfi -i "$graph" -frames:v 5 -c:v ffv1 -pix_fmt bgr0 own.mkv
    equal "mpv makes the same" "$(hashes -i mpv.mkv)" "$(hashes -i own.mkv)"
fi

# What hosts do seldom

use() { ./host "$plugin" 64 64 "prompt=$prompt" seed=7 steps=1 "$@" 2>said; }

succeeds "a host of our own builds" "${CC:-cc}" -o host "$source/frei0r_host.c" \
    $(sed -n 's/^FREI0R_CFLAGS = //p' "$build/config.mak") -ldl
equal "help is that of the options" "$(./host "$plugin" 64 64 '?' |
    grep -e '^prompt: ' -e '^steps: ' -e '^precision: ' -e '^lora: ')" \
    "prompt: what the video shows
steps: steps of the sampler; fewer are faster; 1 to 1000, empty: the model's
lora: LoRA files, each with its weight; empty: none
precision: number format of the large matmuls; auto, f32, bf16, int8, fp8, empty: auto"
empty "every parameter has one" "$(./host "$plugin" 64 64 '?' | grep -e ': $' -e '(null)')"
forth=$(use 0 0.125 0.25 0.375)
equal "frames differ" "$(echo "$forth" | sort -u | wc -l)" 4
equal "back in time" "$(use 0.375 0.25 0.125 0 | tac)" "$forth"
equal "the same with FFmpeg's milliseconds" "$(use 0 125 250 375)" "$forth"
equal "at twice the rate each twice" "$(use 0 0.0625 0.125 0.1875 | uniq | head -n 2)" \
    "$(echo "$forth" | head -n 2)"
equal "no number is the beginning" "$(use nan -1)" "$(use 0 0)"
equal "a parameter back to what it was" "$(use 0.125 seed=8 0.125 seed=7 0.125 | uniq -d)" ""
equal "and its frames are the same" "$(use 0.125 seed=8 0.125 seed=7 0.125 | sort -u | wc -l)" 2
equal "the end: the last frame stays" "$(use duration=0.25 0.125 0.5 100.5 | uniq | wc -l)" 1
succeeds "and that is said, once" test \
    "$(grep -c '^linvideo: the video has 2 frames, 0.25 s; the last one stays' said)" = 1
bad=$(use steps=0 0.125 seed=8 0.125 steps=1 seed=7 0.125)
equal "what cannot be made: stripes until it can" "$(echo "$bad" | tail -n 1)" \
    "$(echo "$forth" | sed -n 2p)"
equal "a model that is not there: one line" "$(use model=nowhere 0 0.125 0.25 | uniq | wc -l
    grep -c '^linvideo: ' said)" "1
1"
printf %s "$prompt" >words
equal "a prompt from a file" "$(use prompt=other prompt_file=words 0.125)" \
    "$(echo "$forth" | sed -n 2p)"
use seed=-1 0.5 >/dev/null
succeeds "a seed that was drawn is said" grep -qE '^linvideo: seed [0-9]+$' said

[ -z "$absent" ] || echo "not installed, so not tried:$absent"
finish
