#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Debian packages of this tree, for the release that it runs on.
#
#     patches/packages/deb.sh BUILD
#
# They come to BUILD/deb. One of them holds the drop-in, where BUILD has one for the ffmpeg
# of the release (make dropin). LINVIDEO_CONFIGURE has more options of configure. Needs dpkg-dev,
# debhelper and what configure asks for.
set -eu
unset MAKEFLAGS MAKELEVEL BUILD

[ $# = 1 ] || { echo "usage: patches/packages/deb.sh BUILD" >&2; exit 1; }
cd "$(dirname "$0")/../.."
mkdir -p "$1"
build=$(cd "$1" && pwd)
version=$(./configure --version)~$(date -u +%Y%m%d)

for command in dpkg-buildpackage dh; do
    command -v $command >/dev/null || {
        echo "deb.sh: there is no $command; apt-get install dpkg-dev debhelper" >&2
        exit 1
    }
done

# files: those of git; all but what is built where there is no git
files() {
    git ls-files 2>/dev/null ||
        find . -name .git -prune -o -path './build*' -prune -o -type f -print
}

tree=$build/deb/linvideo
rm -rf "$build/deb"
mkdir -p "$tree"
files | tar -c -T - | tar -x -C "$tree"
cp -R patches/packages/debian "$tree"
# the drop-in as it was built, with the ffmpeg that it is for
if [ "$(cat "$build/dropin/ffmpeg" 2>/dev/null)" = /usr/bin/ffmpeg ]; then
    mkdir -p "$tree/build/dropin"
    cp "$build"/dropin/libavfilter.so.* "$build/dropin/ffmpeg" "$tree/build/dropin"
    series=$(/usr/bin/ffmpeg -version | sed -n '1s/^ffmpeg version \([0-9]*\.[0-9]*\).*/\1/p')
    sed "s/@series@/$series/g" patches/packages/dropin.control >>"$tree/debian/control"
fi
cat >"$tree/debian/changelog" <<END
linvideo ($version) unstable; urgency=medium

  * Made from the tree by patches/packages/deb.sh.

 -- linvideo maintainers <maintainers@linvideo.example>  $(date -uR)
END
cd "$tree"
dpkg-buildpackage -b -us -uc >"$build/deb/log" 2>&1 || {
    tail -n 20 "$build/deb/log" >&2
    exit 1
}
cd ..
rm -rf linvideo
ls -- *.deb
