#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# configure and make: what they say of wrong settings; builds in other folders, in trees
# and for prefixes with blanks and quotes; make clean; trees that are moved; warnings;
# hardening of what was built.
#
# Objects of $BUILD are taken over where they can be, so that little is compiled.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS

tree=$PWD
build=$(cd "${BUILD:-build}" && pwd)
unset BUILD
setting() { sed -n "s/^$1 = //p" "$build/config.mak"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# says NAME PATTERN COMMAND...: it fails, and one line fits the pattern
says() {
    says_name=$1 pattern=$2
    shift 2
    if said=$("$@" 2>&1); then
        not_ok "$says_name" "it succeeds: $said"
    elif echo "$said" | grep -qE -e "$pattern"; then
        ok "$says_name"
    else
        not_ok "$says_name" "no \"$pattern\": $said"
    fi
}

# told NAME PATTERN COMMAND...: it succeeds, and one line fits the pattern
told() {
    told_name=$1 pattern=$2
    shift 2
    if said=$("$@" 2>&1) && echo "$said" | grep -qE -e "$pattern"; then
        ok "$told_name"
    else
        not_ok "$told_name" "it fails, or no \"$pattern\": $said"
    fi
}

# What configure says

configure="$tree/configure --builddir=$work/said --disable-cuda"
says "no such compiler" 'no working C compiler \(nocc\); on Debian: gcc$' $configure --cc=nocc
empty "and no other package" "$(echo "$said" | grep -E 'apt-get install.*(dnnl|zlib|sentence)')"
says "no such clang" 'no working C compiler \(clang-0\); on Debian: clang$' env CC=clang-0 $configure
says "CC=clang-0 wants clang++-0" 'C\+\+ compiler \(clang\+\+-0\); on Debian: clang$' \
    env CC=clang-0 $configure
says "bad CFLAGS" '^configure: -fbogus: .* does not work with these flags: .*fbogus' \
    env CFLAGS=-fbogus $configure
empty "bad CFLAGS: no package is missing" "$(echo "$said" | grep -i -e debian -e apt-get)"
says "bad CXXFLAGS" '^configure: -fbogus: .* does not work with these flags' \
    env CXXFLAGS=-fbogus $configure
says "bad LDFLAGS" '^configure: -lnowhere: .* cannot find -lnowhere' \
    env LDFLAGS=-lnowhere $configure
says "a prefix that cannot be" '^configure: --prefix=/a:b: expected a folder without any of' \
    $configure --prefix=/a:b
says "the tree itself" 'expected a folder other than the tree' "$tree/configure" --builddir="$tree"
says "a folder with a Makefile" 'holds a Makefile of its own' "$tree/configure" --builddir=tests
told "disabled CUDA" '^  CUDA +no \(disabled\)$' $configure
told "hardening is on" '^  hardening +yes$' $configure
told "and can be off" '^  hardening +no$' $configure --disable-hardening
told "the frei0r plugin can be off" '^  frei0r plugin +no$' $configure --disable-frei0r
told "CFLAGS=-O0: no fortifying" 'hardening +yes' env CFLAGS=-O0 $configure
empty "of that the compiler is not told" "$(grep FORTIFY "$work/said/config.mak")"
told "settings are kept for the next time" '^# CFLAGS=.-O0. \./configure ' \
    head -n 1 "$work/said/config.log"

# inherit FOLDER: the objects of $build, but those that hold a path
inherit() {
    cp -R "$build/libavfilter-linvideo" "$1"
    rm "$1/libavfilter-linvideo/api/model.o"
    find "$1" -name '*.o' -exec touch {} +
}

# A folder of its own, a prefix with blanks and quotes

prefix="/opt/it's \"a\" place & more"
out=$work/out stage=$work/stage
mkdir "$out" "$stage"
cd "$out" || exit 1
succeeds "out of tree: configure" "$tree/configure" --disable-cuda --disable-tests \
    --prefix="$prefix"
inherit "$out"
succeeds "out of tree: make" make -j2
succeeds "out of tree: the command" "$out/linvideo" --version
told "install with DESTDIR, a relative one" '^ldconfig is for where DESTDIR' \
    make DESTDIR=../stage install
succeeds "the installed command" "$stage$prefix/bin/linvideo" --version
told "its data folder" "^/opt/it's \"a\" place & more/share" \
    grep -ao "/opt/it's[^[:cntrl:]]*" "$stage$prefix/bin/linvideo"
mv "$stage$prefix" "$work/it's \"a\" place & more"
sed -i "s|^\(.*\)=/opt/|\1=$work/|" "$work"/it*/lib/pkgconfig/liblinvideo.pc
printf '#include <linvideo/linvideo.h>\nint main(void) { return !linvideo_version(); }\n' >version.c
flags=$(PKG_CONFIG_PATH=$(echo "$work"/it*/lib/pkgconfig) \
    $(setting PKG_CONFIG) --cflags --libs liblinvideo)
succeeds "pkg-config's words" sh -c "$(setting CC) -o version version.c $flags"
mv "$work/it's \"a\" place & more" "$stage$prefix"
succeeds "uninstall" make DESTDIR=../stage uninstall
empty "nothing is left" "$(find "$stage" ! -type d)"
succeeds "the wrapper" "$tree/patches/write-wrapper.sh" wrapper "$prefix/dropin" "$prefix/lib" \
    /bin/echo "$prefix/models"
equal "is a script" "$(sh ./wrapper one "two  three")" "one two  three"
equal "of these folders" "$(env -u LINVIDEO_MODEL_PATH LINVIDEO_FFMPEG=printenv sh ./wrapper LINVIDEO_MODEL_PATH)" \
    "$prefix/models"

# make clean

mkdir ffmpeg-src && touch ffmpeg-src/kept.o
succeeds "make clean" make clean
equal "no object but FFmpeg's, no product" \
    "$(find . -name '*.o' -o -name '*.a' -o -name '*.so*' -o -name linvideo)" ./ffmpeg-src/kept.o
succeeds "what was configured stays" test -s config.mak
cd "$tree" || exit 1
succeeds "make clean where nothing is configured" make BUILD="$work/none" clean
says "make there" 'run ./configure first' make BUILD="$work/none" all

# A tree with blanks and quotes in its path

there="$work/the tree's"
mkdir "$there"
tar -c --exclude='./build*' --exclude=.git --exclude=./samples/'*.safetensors' . |
    tar -x -C "$there"
cd "$there" || exit 1
succeeds "odd path: configure" ./configure --disable-cuda --disable-tests
inherit build
succeeds "odd path: make" make -j2
succeeds "odd path: the command" build/linvideo --version
says "odd path: FFmpeg is refused" 'blanks or quotes.*move the tree' make dropin
says "odd path: no folder outside" 'expected another one, or one within the tree' \
    ./configure --builddir="$there.b" --disable-cuda

# A tree that was moved after it was built: installing needs nothing of the place before,
# and what is installed nothing of the tree

moved=$work/moved
mv "$there" "$moved"
cp "$tree"/samples/*.safetensors "$moved/samples"
cd "$moved" || exit 1
told "moved tree: install" '^install .*/moved-stage/' make DESTDIR="$work/moved-stage" install
cd "$work" && rm -rf "$moved"
installed=$work/moved-stage/usr/local
told "moved tree: the model that is found" "^model +$installed/share/linvideo/motion.saf" \
    env -u LINVIDEO_MODEL_PATH HOME=/none "$installed/bin/linvideo" inspect motion
succeeds "moved tree: it makes a frame" env -u LINVIDEO_MODEL_PATH HOME=/none \
    "$installed/bin/linvideo" generate -q --steps 1 --frames 1 -o "$work/moved.y4m" "a red circle"
printf '#include <linvideo/linvideo.h>\nint main(void) { return !linvideo_version(); }\n' >moved.c
succeeds "moved tree: a program is built with what is installed" sh -c "$(setting CC) -o moved \
    moved.c -I$installed/include -L$installed/lib -llinvideo && LD_LIBRARY_PATH=$installed/lib ./moved"
# (what debuggers read does, and packages are stripped of it)
succeeds "moved tree: strip" strip -g "$installed"/bin/linvideo "$installed"/lib/*.so.0 "$installed"/lib/*.a
empty "moved tree: nothing names the tree" "$(grep -rlaF -e "$there" -e "$moved" "$installed")"

# Warnings are errors, at both levels and by each compiler

# strict CC CXX LEVEL: all that is built
strict() {
    name="$1 $3: no warning" folder=$work/strict
    rm -rf "$folder"
    succeeds "$name: configure" env CFLAGS="$3" CXXFLAGS="$3" ./configure --builddir="$folder" \
        --cc="$1" --cxx="$2" --disable-cuda --disable-shared --enable-werror
    succeeds "$name" make -j "$(nproc)" BUILD="$folder" all tests
}
cd "$tree" || exit 1
strict gcc g++ -O2
strict gcc g++ -O3
if command -v clang >/dev/null; then
    strict clang clang++ -O2
else
    echo "no clang here"
fi

# Hardening

cd "$tree" || exit 1
hardened=$(sed -n "/^LDFLAGS.*-z,now/p" "$build/config.mak")
if [ -n "$hardened" ]; then
    for file in "$build/linvideo" "$build/liblinvideo.so.0"; do
        [ -f "$file" ] || continue
        name=${file##*/}
        told "$name: RELRO" GNU_RELRO readelf -lW "$file"
        told "$name: BIND_NOW" 'FLAGS.*NOW' readelf -dW "$file"
        told "$name: stack protector" '__stack_chk_fail' readelf -sW "$file"
        told "$name: fortified" '__[a-z]*printf_chk' readelf -sW "$file"
        told "$name: position independent" 'Type: +DYN' readelf -hW "$file"
        empty "$name: no stack that can be run" \
            "$(readelf -lW "$file" | grep 'GNU_STACK.*RWE')"
    done
fi
finish
