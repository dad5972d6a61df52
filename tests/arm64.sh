#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The library and the command for arm64, cross-built against Debian's packages and run in
# qemu: the operations, and frames that are those of this machine. Minutes, and 150 MB
# of packages; so only where a folder for them is named. They stay there for the next time.
#
#     ARM64=FOLDER BUILD=build tests/arm64.sh
#
# Needs g++-aarch64-linux-gnu and qemu-user-static, and apt with a mirror of Debian.

. "$(dirname "$0")/report.sh"
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${BUILD:-build}" && pwd)
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
cross=aarch64-linux-gnu
[ -n "${ARM64:-}" ] || { echo "no folder for packages of arm64 (ARM64=FOLDER)"; exit 77; }
command -v $cross-g++ >/dev/null && [ -n "$qemu" ] ||
    { echo "no $cross-g++ or no qemu-aarch64 here"; exit 77; }
. /etc/os-release
[ "$ID" = debian ] || { echo "this takes packages of Debian"; exit 77; }
mkdir -p "$ARM64"
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

# The cross compiler has a C library of its own: that of the packages is only to run with.
fetch() {
    mkdir -p "$folder/parts" "$folder/lists/partial" "$folder/cache/archives/partial" "$root/usr/lib"
    : >"$folder/status"
    echo "deb [arch=arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "${MIRROR:-http://deb.debian.org/debian} $VERSION_CODENAME main" >"$folder/parts/own.list"
    ask apt-get update &&
        ask apt-get -y --no-install-recommends --download-only install check libdnnl-dev \
            libgomp1 libjansson-dev libpng-dev libsentencepiece-dev libstdc++6 zlib1g-dev &&
        ln -sfn usr/lib "$root/lib" &&
        for package in "$folder"/cache/archives/*.deb; do
            dpkg-deb --fsys-tarfile "$package" | tar -C "$root" -x --keep-directory-symlink ||
                return 1
        done &&
        rm -f "$libraries/libc.so" "$libraries/libm.so" && : >"$folder/complete"
}

run_arm() { "$qemu" -L "$root" "$@"; }

[ -f "$folder/complete" ] || succeeds "packages of arm64" fetch
cd "$source" || exit 1
PKG_CONFIG_LIBDIR=$libraries/pkgconfig:$root/usr/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
succeeds "configure" ./configure --builddir="$folder/build" --disable-cuda --disable-frei0r \
    --cc=$cross-gcc --cxx=$cross-g++ \
    --extra-cflags="-isystem $root/usr/include -isystem $root/usr/include/$cross" \
    --extra-ldflags="-L$libraries -Wl,-rpath-link,$libraries"
equal "NEON is used" "$(sed -n 's/^HAVE_NEON = //p' "$folder/build/config.mak")" yes
succeeds "make" make -j "$(nproc)" BUILD="$folder/build" all \
    "$folder/build/tests/check_ops"
# in one process and once for each case: all threads and programs would take half an hour
CK_FORK=no run_arm "$folder/build/tests/check_ops" -v neon >"$folder/errors"
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
empty "they are the same but for rounding" "$(cmp -l "$folder/arm64.y4m" "$folder/own.y4m" | awk '
    function value(octal) { return 64 * int(octal / 100) + 8 * int(octal % 100 / 10) + octal % 10 }
    { d = value($2) - value($3); n++ }
    d > 1 || d < -1 { print "byte " $1 ": " d }
    END { if (n > 246) print n " of 24576 bytes differ" }')"
finish
