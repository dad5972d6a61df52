#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Debian packages of this tree, for the release that it runs on.
#
#     patches/packages/deb.sh BUILD
#
# They come to BUILD/deb. LINVIDEO_CONFIGURE has more options of configure. Needs dpkg-dev,
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
        find . -name .git -prune -o -name 'build*' -prune -o -type f -print
}

tree=$build/deb/linvideo
rm -rf "$build/deb"
mkdir -p "$tree"
files | tar -c -T - | tar -x -C "$tree"
cp -R patches/packages/debian "$tree"
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
