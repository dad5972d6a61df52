#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# What a packager gets: make install into an empty folder, a program built with
# pkg-config against it in three ways, make uninstall.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL

build=$(cd "${BUILD:-build}" && pwd)
setting() { sed -n "s/^$1 = //p" "$build/config.mak"; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
lib=$root$(setting LIBDIR)
data=$root$(setting DATADIR)/linvideo

cat >"$root/version.c" <<'END'
#include <stdio.h>
#include <linvideo/linvideo.h>
int main(void)
{
    printf("%d.%d.%d\n", linvideo_version() >> 16,
           linvideo_version() >> 8 & 255, linvideo_version() & 255);
    return 0;
}
END

# program NAME LIBRARY-FLAG FOLDER: build it with $pkg, run it with the shared
# libraries of the folder
program() {
    flags=$($pkg --cflags --libs liblinvideo 2>&1)
    flags=$(echo "$flags" | sed "s/-llinvideo/$2/")
    succeeds "$1: builds" ${CC:-gcc} -o "$root/version" "$root/version.c" $flags
    equal "$1: runs" "$(LD_LIBRARY_PATH=$3 "$root/version" 2>&1)" \
        "$(setting VERSION)"
    rm -f "$root/version"
}

succeeds "make install" make BUILD="$build" DESTDIR="$root" install
equal "the command runs" "$("$root$(setting BINDIR)/linvideo" --version | head -n 1)" \
    "linvideo $(setting VERSION)"
for model in motion motion-teacher; do
    succeeds "$model is there" test -s "$data/$model.safetensors"
done
succeeds "the man page is there" test -s "$root$(setting MANDIR)/man1/linvideo.1"
empty "nothing points into the build folder" "$(grep -rlIF -e "$build" "$root")"

pkg="env PKG_CONFIG_PATH=$build $(setting PKG_CONFIG)"
program "from the build folder" -llinvideo "$build"
pkg="env PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root $(setting PKG_CONFIG)"
program "installed, shared" -llinvideo "$lib"
pkg="$pkg --static"
program "installed, static" -l:liblinvideo.a ""

rm -f "$root/version.c"
succeeds "make uninstall" make BUILD="$build" DESTDIR="$root" uninstall
empty "make uninstall leaves nothing" "$(find "$root" ! -type d)"
finish
