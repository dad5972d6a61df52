#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The library, the command and the filter for arm64, cross-built against Debian's packages
# and run in qemu: operations, networks, and frames that are those of this machine. Two
# minutes. The packages, 24 MB, are fetched once into the folder ARM64.
#
#     BUILD=build ARM64=build/arm64 tests/arm64.sh
#
# Needs g++-aarch64-linux-gnu and qemu-user-static, and apt with a mirror of Debian; for the
# filter also FFmpeg's sources, which make dropin fetches.

. "$(dirname "$0")/report.sh"
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${BUILD:-build}" && pwd)
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
cross=aarch64-linux-gnu
command -v $cross-g++ >/dev/null && [ -n "$qemu" ] ||
    { echo "no $cross-g++ or no qemu-aarch64 here"; exit 77; }
. /etc/os-release
[ "$ID" = debian ] || { echo "this takes packages of Debian"; exit 77; }
unset MAKEFLAGS MAKELEVEL
mkdir -p "${ARM64:=$build/arm64}"
folder=$(cd "$ARM64" && pwd)
root=$folder/root
libraries=$root/usr/lib/$cross

# ask COMMAND...: apt of arm64, with lists of its own
ask() {
    tool=$1
    shift
    [ "$(id -u)" != 0 ] || set -- -o APT::Sandbox::User=root "$@"
    "$tool" -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 \
        -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$folder/parts" \
        -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder/cache" \
        -o Dir::State::status="$folder/status" "$@"
}

# mirror: the one that this machine uses
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        "Codename: $VERSION_CODENAME" 'Component: main' | head -n 1
}

# The cross compiler has a C library of its own: that of the packages is only to run with.
fetch() {
    mkdir -p "$folder/parts" "$folder/lists/partial" "$folder/cache/archives/partial" \
        "$root/usr/lib"
    : >"$folder/status"
    echo "deb [arch=arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "${MIRROR:-$(mirror)} $VERSION_CODENAME main" >"$folder/parts/own.list"
    ask apt-get update &&
        ask apt-get -y --no-install-recommends --download-only install check libdnnl-dev \
            libgomp1 libjansson-dev libpng-dev libsentencepiece-dev libstdc++6 zlib1g-dev &&
        ln -sfn usr/lib "$root/lib" &&
        rm -f "$folder"/cache/archives/libc6-dev_* &&
        for package in "$folder"/cache/archives/*.deb; do
            dpkg-deb --fsys-tarfile "$package" | tar -C "$root" -x --keep-directory-symlink ||
                return 1
        done && : >"$folder/complete"
}

run_arm() { "$qemu" -L "$root" "$@"; }

[ -f "$folder/complete" ] || fetch >"$folder/log" 2>&1 ||
    { tail -n 3 "$folder/log"; echo "packages of arm64 cannot be fetched here"; exit 77; }
rm -f "$folder"/*.y4m "$folder"/*.frames
cd "$source" || exit 1
flags="-L$libraries -Wl,-rpath-link,$libraries"
PKG_CONFIG_LIBDIR=$libraries/pkgconfig:$root/usr/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
succeeds "configure" ./configure --builddir="$folder/build" --disable-cuda --disable-frei0r \
    --cc=$cross-gcc --cxx=$cross-g++ \
    --extra-cflags="-isystem $root/usr/include -isystem $root/usr/include/$cross" \
    --extra-ldflags="$flags"
equal "NEON is used" "$(sed -n 's/^HAVE_NEON = //p' "$folder/build/config.mak")" yes
# references are made by a program: those of this machine serve
succeeds "make" make -j "$(nproc)" BUILD="$folder/build" REFS= SEEDED= all \
    "$folder/build/tests/check_ops" "$folder/build/tests/parity"
# in one process and once for each case: all threads and programs would take half an hour
CK_FORK=no run_arm "$folder/build/tests/check_ops" -v neon >"$folder/errors" &
# all but the longest, which is a minute here
set -- $(ls "$build"/tests/ref/*.safetensors | grep -v /sample\\.)
[ $# -ge 21 ] && ok "references are there" || not_ok "references are there" "$# of 21"
succeeds "networks and pipelines against references" \
    run_arm "$folder/build/tests/parity" --threads 1 "$@"
wait
equal "every operation ran" "$(grep -c '^100%' "$folder/errors")" 1
empty "every operation against 64-bit references" "$(awk '
    / of .* ms, output / { n++; if (!($1 <= $4 + 0 && $2 <= $4 + 0)) print }
    END { if (n < 1500) print n + 0 " outputs" }' "$folder/errors")"

# clip NAME COMMAND...: two frames by this command
clip() {
    name=$folder/$1.y4m
    shift
    LINVIDEO_MODEL_PATH=$build/tests/model "$@" generate -q --seed 1 --steps 1 --frames 2 \
        --size 64x64 --precision f32 --format yuv444p -y -o "$name" "a red circle"
}
succeeds "frames" clip arm64 "$qemu" -L "$root" "$folder/build/linvideo"
succeeds "frames of this machine" clip own "$build/linvideo"
# sums are rounded in another order: a byte in a hundred may differ, by 1
empty "they are the same but for rounding" "$(cmp -l "$folder/arm64.y4m" "$folder/own.y4m" 2>&1 | awk '
    /^cmp/ { print; next }
    function value(octal) { return 64 * int(octal / 100) + 8 * int(octal % 100 / 10) + octal % 10 }
    { d = value($2) - value($3); n++ }
    d > 1 || d < -1 { print "byte " $1 ": " d }
    END { if (n > 246) print n " of 24576 bytes differ" }')"

# An FFmpeg with that filter and little else
here=$source/patches
. "$here/common.sh"
ffmpeg() {
    (
        PKG_CONFIG_SYSROOT_DIR=
        tree=$folder/build/ffmpeg
        mkdir -p "$tree"
        configure_tree "$folder/build" "$1" "$tree" --enable-cross-compile --arch=aarch64 \
            --target-os=linux --cross-prefix=$cross- --pkg-config=pkg-config \
            --extra-ldflags="$flags" --optflags=-O1 --disable-everything --disable-autodetect \
            --disable-network --disable-doc --disable-debug --disable-ffplay --disable-ffprobe \
            --disable-swscale --enable-indev=lavfi --enable-protocol=file \
            --enable-muxer=yuv4mpegpipe --enable-encoder=rawvideo,wrapped_avframe \
            --enable-decoder=rawvideo,wrapped_avframe --enable-filter=linvideo
        build_tree "$tree" ffmpeg
    )
}
sources=$(ls -d "$build"/ffmpeg-src/patched-* 2>/dev/null | tail -n 1)
if [ -n "$sources" ]; then
    same=seed=1:steps=1:frames=2:size=64x64:precision=f32:format=yuv444p
    succeeds "FFmpeg $(cat "$sources/RELEASE")" ffmpeg "$sources"
    succeeds "frames by the filter" env LINVIDEO_MODEL_PATH="$build/tests/model" \
        "$qemu" -L "$root" "$folder/build/ffmpeg/ffmpeg" -v error -y -f lavfi \
        -i "linvideo=prompt='a red circle':$same" -strict -1 "$folder/filter.y4m"
    # both frames, and the line between them
    for name in arm64 filter; do tail -c 24582 "$folder/$name.y4m" >"$folder/$name.frames"; done
    succeeds "they are those of the command" cmp "$folder/arm64.frames" "$folder/filter.frames"
else
    echo "no sources of FFmpeg in $build/ffmpeg-src (make dropin): the filter is not tried"
fi
finish
