#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Build a whole FFmpeg with the linvideo source.
#
#     build-ffmpeg.sh BUILD_DIR VERSION
#
# VERSION is 5.1, 7.1, 8.1 or 9.0; also 4.4 and 6.1, if FFMPEG_SOURCE names a folder with
# its sources (then they are not fetched). BUILD_DIR holds liblinvideo.so; the
# programs are BUILD_DIR/ffmpeg-VERSION/ffmpeg and ffprobe.
#
# FFMPEG_CONFIG=practical (default) builds every native part, and x264 where its
# header files are installed; FFMPEG_CONFIG=lean builds in a fifth of the time
# what the tests and samples use. FFMPEG_OPTIONS adds options of FFmpeg's
# configure.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

[ $# = 2 ] || die "usage: build-ffmpeg.sh BUILD_DIR VERSION"
build=$(cd "$1" && pwd) || exit 1
series=$(echo "$2" | cut -d. -f1,2)
patch_for "$series" >/dev/null

case ${FFMPEG_CONFIG:-practical} in
practical) options="" ;;
lean) options=$(lean) ;;
*) die "FFMPEG_CONFIG is practical or lean, not $FFMPEG_CONFIG" ;;
esac

source=$(prepare_source "$build" "$2" "$series")
tree=$build/ffmpeg-$series
mkdir -p "$tree"

set -- $options $(filter_libraries "$source")
! have_library x264 || set -- "$@" --enable-gpl --enable-libx264
case " $* " in
*" --enable-frei0r "*) set -- "$@" --enable-gpl ;;
esac
configure_tree "$build" "$source" "$tree" --disable-doc --disable-debug \
    --disable-ffplay "$@" ${FFMPEG_OPTIONS:-}
build_tree "$tree" ffmpeg ffprobe
echo "$tree/ffmpeg"
