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
static void say(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    if (level == LINVIDEO_LOG_ERROR)
        puts(line);
    (void)opaque;
}
static int find(void)
{
    LinvideoContext *c;
    LinvideoParams p;
    LinvideoInfo info;
    linvideo_params_default(&p);
    p.prompt = "a red circle";
    p.log = say;
    if (linvideo_open(&c, &p) < 0)
        return 1;
    linvideo_info(c, &info);
    puts(info.model_path);
    linvideo_close(&c);
    return 0;
}
int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return find();
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
    equal "$1: finds the model" "$(cd / && env -u LINVIDEO_MODEL_PATH HOME=/none \
        LD_LIBRARY_PATH=$3 "$root/version" find 2>&1)" "$4/motion.safetensors"
    rm -f "$root/version"
}

succeeds "make install" make BUILD="$build" DESTDIR="$root" install
equal "the command runs" "$("$root$(setting BINDIR)/linvideo" --version | head -n 1)" \
    "linvideo $(setting VERSION)"
equal "the command finds the model, installed elsewhere" "$(env -u LINVIDEO_MODEL_PATH \
    HOME=/none "$root$(setting BINDIR)/linvideo" inspect motion 2>&1 | grep -o "$data/[^ :]*" |
    head -n 1)" "$data/motion.safetensors"
equal "the command finds the model, in the build folder" "$(cd / && env -u LINVIDEO_MODEL_PATH \
    HOME=/none "$build/linvideo" generate -o /none/a.y4m --model none "a" 2>&1 |
    grep -o "linvideo:[^:]*samples:")" "linvideo:$PWD/samples:"
for model in motion motion-teacher; do
    succeeds "$model is there" test -s "$data/$model.safetensors"
done
succeeds "the man page is there" test -s "$root$(setting MANDIR)/man1/linvideo.1"
[ "$(setting CONFIG_FREI0R)" != yes ] ||
    succeeds "the frei0r plugin is there" test -s "$root$(setting FREI0RDIR)/linvideo.so"
empty "nothing points into the build folder" "$(grep -rlIF -e "$build" "$root")"

pkg="env PKG_CONFIG_PATH=$build $(setting PKG_CONFIG)"
program "from the build folder" -llinvideo "$build" "$PWD/samples"

# The program of samples/library.md
sed -n '/^```c$/,/^```$/{ /^```/!p }' samples/library.md >"$root/frames.c"
succeeds "the page's program builds" ${CC:-gcc} -Wall -Wextra -Werror -o "$root/frames" \
    "$root/frames.c" $($pkg --cflags --libs liblinvideo)
succeeds "it runs" sh -c "cd '$root' && LD_LIBRARY_PATH='$build' ./frames"
equal "and makes the frames of a clip" "$(ls "$root" | grep -c '^frame[0-9]*\.ppm$')" 17
rm -f "$root"/frame*

pkg="env PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root $(setting PKG_CONFIG)"
program "installed, shared" -llinvideo "$lib" "$data"
pkg="$pkg --static"
mkdir "$root$(setting PREFIX)/own"
root_of_tests=$root root=$root$(setting PREFIX)/own
mv "$root_of_tests/version.c" "$root"
program "installed, static" -l:liblinvideo.a "" "$data"
root=$root_of_tests

rm -r "$root$(setting PREFIX)/own"
succeeds "make uninstall" make BUILD="$build" DESTDIR="$root" uninstall
empty "make uninstall leaves nothing" "$(find "$root" ! -type d)"
finish
