#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Build a libavfilter.so with the linvideo source for the ffmpeg that is
# installed; every other library stays the installed one.
#
#     build-dropin.sh BUILD_DIR
#
# BUILD_DIR holds liblinvideo.so; BUILD_DIR/dropin/libavfilter.so.N and
# BUILD_DIR/ffmpeg-linvideo are made. FFMPEG (default: ffmpeg) names the command
# to build for, FFMPEG_SOURCE a folder with its sources (default: by apt).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
supported="5.1 (Debian 12), 6.1 (Ubuntu 24.04) or 7.1 (Debian 13)"

[ $# = 1 ] || die "usage: build-dropin.sh BUILD_DIR"
build=$(cd "$1" && pwd) || exit 1
ffmpeg=${FFMPEG:-ffmpeg}

program=$(command -v "$ffmpeg") || die "there is no $ffmpeg command;" \
    "install FFmpeg $supported"
release=$("$program" -version | sed -n '1s/^ffmpeg version n*\([0-9.]*[0-9]\).*/\1/p')
series=$(echo "$release" | cut -d. -f1,2)
case $series in
5.1|6.1|7.1) ;;
*) die "the installed ffmpeg is ${release:-of an unknown version}; the drop-in" \
       "libavfilter is made for $supported only, for others use 'make ffmpeg'" ;;
esac

# The library of this name that the program really loads.
installed() {
    ldd "$program" 2>/dev/null |
        sed -n "s|^[[:space:]]*lib$1\.so\.[0-9]* => \(/[^ ]*\).*|\1|p"
}
[ -n "$(installed avfilter)" ] || die "$program does not use a shared" \
    "libavfilter, so none can be put in its place; use 'make ffmpeg'"
product=$(basename "$(installed avfilter)")

source=$(prepare_source "$build" "$release" "$series")
tree=$build/ffmpeg-dropin-$release
stage=$build/dropin
mkdir -p "$tree" "$stage"

# What the installed one was configured with, as far as it can be had here. CUDA, VA-API
# and Vulkan are found by configure itself.
buildconf=" $("$program" -hide_banner -buildconf | tr '\n' ' ') "
needs=""
for need in $filter_needs $filter_wants; do
    case $buildconf in
    *" --enable-${need%%:*} "*) needs="$needs $need" ;;
    esac
done
set -- $(filter_libraries "$source" ${needs:-none:none})
for option in --enable-gpl --enable-version3; do
    case $buildconf in
    *" $option "*) set -- "$@" $option ;;
    esac
done
configure_tree "$build" "$source" "$tree" --enable-shared --disable-static \
    --disable-programs --disable-doc --disable-debug --disable-avdevice \
    --enable-pic "$@"

# Make takes links to the installed libraries for its own, done long ago.
old=""
for lib in avutil swscale swresample avcodec avformat postproc; do
    path=$(installed $lib)
    [ -n "$path" ] || continue
    mkdir -p "$tree/lib$lib"
    for name in lib$lib.so "$(basename "$path")"; do
        ln -sf "$path" "$tree/lib$lib/$name"
    done
    old="$old -o lib$lib/lib$lib.so"
done
build_tree "$tree" $old "libavfilter/$product"

cp "$tree/libavfilter/$product" "$stage/new.$$"
mv "$stage/new.$$" "$stage/$product"
echo "$program" >"$stage/ffmpeg"
"$here/write-wrapper.sh" "$build/ffmpeg-linvideo" "$stage" "$build" "$program" \
    "$(cd "$here/../samples" && pwd)"

# filters COMMAND: their names
filters() { "$@" -hide_banner -filters 2>/dev/null | awk '$3 ~ /->/ { print $2 }' | sort; }

filters "$program" >"$stage/filters.installed"
filters "$build/ffmpeg-linvideo" >"$stage/filters"
lost=$(comm -23 "$stage/filters.installed" "$stage/filters" | xargs)
echo "of $(wc -l <"$stage/filters.installed") filters of $program these are missing," \
    "as header files are: ${lost:-none}" >&2
echo "$stage/$product"
