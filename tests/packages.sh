#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Packages and bundle in trees of Debian: installed, run, removed. As root, with debootstrap
# and a mirror; minutes. Not part of "make check".
#
#     BUILD=build tests/packages.sh                           # those of this release
#     BUILD=build DEBS="bookworm trixie" tests/packages.sh
#
# The packages of this release of Debian are those of make deb; those of another one in $DEBS
# are made in a tree of it first, and stay in BUILD/deb-SUITE. The bundle (make dropin bundle)
# is tried in each of $SUITES. Trees are made in $TREES, and stay there for the next time
# when it is named.

. "$(dirname "$0")/report.sh"
build=$(cd "${BUILD:-build}" && pwd)
suites=${SUITES:-"bullseye bookworm trixie"}
source=$(cd "$(dirname "$0")/.." && pwd)
here=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=${MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null ||
    { echo "this needs root and debootstrap"; exit 77; }

trees=${TREES:-$(mktemp -d)}
[ -n "${TREES:-}" ] || trap 'rm -rf "$trees"' EXIT

# tree SUITE [NAME]: one with as little in it as possible
tree() {
    tree_name=${2:-$1}
    [ -x "$trees/$tree_name/bin/sh" ] ||
        debootstrap --variant=minbase "$1" "$trees/$tree_name" "$mirror" \
            >"$trees/$tree_name.log" 2>&1
}

# in_tree SUITE COMMAND...
in_tree() {
    tree_of=$trees/$1
    shift
    chroot "$tree_of" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 OMP_NUM_THREADS=2 "$@"
}

# make_packages SUITE: in a tree of it, with what its archive has; and its lintian
make_packages() {
    with=$1-build
    tree "$1" "$with" || { not_ok "a tree of $1" "$(tail -n 3 "$trees/$with.log")"; return 1; }
    rm -rf "$trees/$with/src" "$build/deb-$1"
    mkdir -p "$trees/$with/src" "$build/deb-$1"
    (cd "$source" && git ls-files | tar -c -T - | tar -x -C "$trees/$with/src")
    in_tree "$with" apt-get -q update >/dev/null &&
        in_tree "$with" apt-get -qy --no-install-recommends install build-essential lintian \
            >/dev/null 2>&1 &&
        in_tree "$with" apt-get -qy --no-install-recommends build-dep /src/patches/packages \
            >/dev/null 2>&1
    succeeds "$1: make deb" in_tree "$with" env LINVIDEO_CONFIGURE=--disable-cuda \
        DEB_BUILD_OPTIONS="parallel=$(nproc)" make -C /src deb
    succeeds "$1: lintian has no errors" in_tree "$with" sh -c \
        'lintian --allow-root --fail-on error /src/build/deb/*.deb'
    cp "$trees/$with"/src/build/deb/*.deb "$build/deb-$1"
}

# files SUITE: what is in the tree, but for lists and caches
files() {
    (cd "$trees/$1" && find . \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp -o \
        -path ./var/cache -o -path ./var/log -o -path ./var/lib -o -path ./root -o \
        -path ./etc/ld.so.cache \) -prune -o -type f -print) | sort
}

clip="linvideo=prompt='a red circle moving left':steps=1:seed=1:frames=2"

# packages SUITE FOLDER: install, run and remove those in FOLDER
packages() {
    suite=$1
    tree "$suite" || { not_ok "a tree of $suite" "$(tail -n 3 "$trees/$suite.log")"; return; }
    rm -rf "$trees/$suite/debs"
    mkdir "$trees/$suite/debs"
    cp "$2"/*.deb "$trees/$suite/debs"
    succeeds "$suite: package lists" in_tree "$suite" apt-get -q update
    set -- $(cd "$trees/$suite" && ls debs/*.deb | sed 's|^|/|')
    in_tree "$suite" apt-get -qy --no-install-recommends install ffmpeg >/dev/null 2>&1
    files "$suite" >"$trees/before"
    succeeds "$suite: they install" in_tree "$suite" \
        apt-get -qy --no-install-recommends install "$@"
    succeeds "$suite: the command runs" in_tree "$suite" linvideo generate -q --steps 1 --frames 2 \
        -o /tmp/a.mp4 -y "a red circle"
    if [ -x "$trees/$suite/usr/bin/ffmpeg-linvideo" ]; then
        succeeds "$suite: the drop-in runs" in_tree "$suite" ffmpeg-linvideo -v error -y \
            -f lavfi -i "$clip" /tmp/c.mp4
    else
        echo "$suite: no package of the drop-in (make dropin deb): not tried"
    fi
    expects "$suite: the manual page is there" 0 linvideo.1 in_tree "$suite" dpkg -L linvideo
    succeeds "$suite: the frei0r plugin runs in the ffmpeg of the release" in_tree "$suite" ffmpeg \
        -v error -f lavfi \
        -i "frei0r_src=size=64x64:filter_name=linvideo:filter_params='a red circle|||1'" \
        -frames:v 1 -f null -
    succeeds "$suite: they are removed" in_tree "$suite" apt-get -qy purge \
        $(printf '%s\n' "$@" | sed 's|.*/||; s|_.*||')
    empty "$suite: nothing of them is left" \
        "$(files "$suite" | comm -13 "$trees/before" - | grep -i linvideo)"
}

bundle() {
    for suite in $suites; do
        tree "$suite" || { not_ok "a tree of $suite" "$(tail -n 3 "$trees/$suite.log")"; continue; }
        rm -rf "$trees/$suite/opt/linvideo"
        cp -R "$build/linvideo-bundle" "$trees/$suite/opt/linvideo"
        libc=$(in_tree "$suite" ldd --version | sed -n '1s/.* //p')
        succeeds "$suite (glibc $libc): the bundle's ffmpeg" in_tree "$suite" \
            /opt/linvideo/ffmpeg -v error -y -f lavfi -i "$clip" /tmp/a.mp4
        expects "$suite: its ffprobe" 0 '^2$' in_tree "$suite" /opt/linvideo/ffprobe -v error \
            -count_frames -show_entries stream=nb_read_frames -of csv=p=0 /tmp/a.mp4
        succeeds "$suite: its command, by the bundle's ffmpeg" in_tree "$suite" \
            /opt/linvideo/linvideo generate -q -y --steps 1 --frames 2 -o /tmp/b.mp4 "a red circle"
        rm -rf "$trees/$suite/opt/linvideo"
    done
}

for suite in ${DEBS:-$here}; do
    if [ "$suite" != "$here" ]; then
        make_packages "$suite" && packages "$suite" "$build/deb-$suite"
    elif ls "$build"/deb/*.deb >/dev/null 2>&1; then
        if command -v lintian >/dev/null; then
            succeeds "lintian has no errors" lintian --fail-on error "$build"/deb/*.deb
        else
            echo "no lintian here: not tried"
        fi
        packages "$suite" "$build/deb"
    else
        echo "no packages in $build/deb (make deb)"
    fi
done
if [ -x "$build/linvideo-bundle/ffmpeg" ]; then bundle; else
    echo "no $build/linvideo-bundle (make dropin bundle)"
fi
[ $((passed + failed)) -gt 0 ] || exit 77
finish
