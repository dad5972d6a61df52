#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The drop-in for an ffmpeg of each series: one with shared libraries is built and installed
# in a folder, without the filter; then the drop-in for it, and the filter's tests in that.
#
#     BUILD=build SERIES="5.1 6.1 7.1" tests/series.sh
#
# Sources are those in BUILD/ffmpeg-src, or what patches/get-ffmpeg.sh gets. Minutes for each
# series: run by "make check-series", not part of "make check".

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL
build=$(cd "${BUILD:-build}" && pwd)
here=$PWD/patches
. patches/common.sh

# install_plain SOURCE FOLDER: an ffmpeg with shared libraries
install_plain() {
    mkdir -p "$2/tree" &&
        (cd "$2/tree" && "$1/configure" $(lean | sed 's/linvideo,//') --prefix="$2/installed" \
            --enable-shared --disable-static --enable-rpath --disable-doc --disable-debug \
            --disable-ffplay $(! have_library x264 || echo --enable-gpl --enable-libx264)) &&
        make -C "$2/tree" -j "$(nproc)" install
}

# filters COMMAND: their names
filters() { "$1" -hide_banner -filters | awk '$3 ~ /->/ { print $2 }' | sort; }

# series NB SOURCE: build both, and test
series() {
    folder=$build/series/$1
    mkdir -p "$folder"
    ln -sf "$build/liblinvideo.so.0" "$folder/liblinvideo.so.0"
    ln -sf liblinvideo.so.0 "$folder/liblinvideo.so"
    [ -x "$folder/installed/bin/ffmpeg" ] ||
        succeeds "an ffmpeg $(cat "$2/RELEASE")" install_plain "$2" "$folder"
    succeeds "$1: its drop-in" env FFMPEG="$folder/installed/bin/ffmpeg" FFMPEG_SOURCE="$2" \
        patches/build-dropin.sh "$folder"
    filters "$folder/installed/bin/ffmpeg" >"$folder/before"
    filters "$folder/ffmpeg-linvideo" >"$folder/after"
    empty "$1: no filter is missing" "$(comm -23 "$folder/before" "$folder/after")"
    equal "$1: linvideo is there, and was not" \
        "$(grep -cx linvideo "$folder/before") $(grep -cx linvideo "$folder/after")" "0 1"
    # of the commands that the tests call, ffprobe is of this series
    mkdir -p "$folder/bin"
    ln -sf ../installed/bin/ffprobe "$folder/bin/ffprobe"
    run env PATH="$folder/bin:$PATH" FFMPEG_LINVIDEO="$folder/ffmpeg-linvideo" tests/filter.sh
    if [ "$code" = 0 ]; then ok "$1: the filter's tests: ${said##*
}"; else not_ok "$1: the filter's tests" "$(printf '%s\n' "$said" | grep -A 9 '^not ok')"; fi
}

for nb in ${SERIES:-5.1 6.1 7.1}; do
    if source=$(patches/get-ffmpeg.sh "$build/ffmpeg-src" "$nb"); then
        series "$nb" "$source"
    else
        echo "no sources of FFmpeg $nb here: not tried"
    fi
done
[ $((passed + failed)) -gt 0 ] || exit 77
finish
