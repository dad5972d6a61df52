#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A generated video in the corner of another one.
#
#     samples/overlay.sh [FOLDER]      writes FOLDER/overlay.mp4
#
# To change it: put your own video in place of the test picture by giving
# "-i video.mp4" for the first two words of the first input; scale= sets the
# height of the small picture, overlay= its place (W, H: the large picture's
# size, w, h: the small one's).
set -eu
: "${FFMPEG:=ffmpeg-linvideo}"
out=${1:-.}

$FFMPEG -hide_banner -loglevel warning -y \
    -f lavfi -i "testsrc2=size=640x360:rate=24:duration=2" \
    -filter_complex "
        linvideo=prompt='a large white star shrinking on a red background'
                :duration=2:seed=3,
        fps=24, scale=-2:160:flags=lanczos [small];
        [0:v][small] overlay=x=W-w-16:y=H-h-16" \
    -c:v libx264 -pix_fmt yuv420p "$out/overlay.mp4"
