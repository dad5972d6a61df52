#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Packages and bundle in trees of Debian: installed, run, removed. As root, with debootstrap
# and a mirror; minutes. Not part of "make check".
#
#     BUILD=build tests/packages.sh
#
# The packages (make deb) are those of this release of Debian; the bundle (make dropin bundle)
# is tried in each of $SUITES. Trees are made in $TREES, and stay there for the next time
# when it is named.

. "$(dirname "$0")/report.sh"
build=$(cd "${BUILD:-build}" && pwd)
suites=${SUITES:-"bullseye bookworm trixie"}
own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=${MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null ||
    { echo "this needs root and debootstrap"; exit 77; }

trees=${TREES:-$(mktemp -d)}
[ -n "${TREES:-}" ] || trap 'rm -rf "$trees"' EXIT

# tree SUITE: one with as little in it as possible
tree() {
    [ -x "$trees/$1/bin/sh" ] ||
        debootstrap --variant=minbase "$1" "$trees/$1" "$mirror" >"$trees/$1.log" 2>&1
}

# in_tree SUITE COMMAND...
in_tree() {
    tree_of=$trees/$1
    shift
    chroot "$tree_of" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        DEBIAN_FRONTEND=noninteractive OMP_NUM_THREADS=2 "$@"
}

# files SUITE: what is in the tree, but for lists and caches
files() {
    (cd "$trees/$1" && find . \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp -o \
        -path ./var/cache -o -path ./var/log -o -path ./var/lib -o -path ./root -o \
        -path ./etc/ld.so.cache \) -prune -o -type f -print) | sort
}

clip="linvideo=prompt='a red circle moving left':steps=1:seed=1:frames=2"

packages() {
    if command -v lintian >/dev/null; then
        succeeds "lintian has no errors" lintian --fail-on error "$build"/deb/*.deb
    else
        echo "no lintian here: not tried"
    fi
    tree "$own" || { not_ok "a tree of $own" "$(tail -n 3 "$trees/$own.log")"; return; }
    rm -rf "$trees/$own/debs"
    mkdir "$trees/$own/debs"
    cp "$build"/deb/*.deb "$trees/$own/debs"
    succeeds "$own: package lists" in_tree "$own" apt-get -q update
    set -- $(cd "$trees/$own" && ls debs/*.deb | sed 's|^|/|')
    in_tree "$own" apt-get -qy --no-install-recommends install ffmpeg >/dev/null 2>&1
    files "$own" >"$trees/before"
    succeeds "$own: they install" in_tree "$own" apt-get -qy --no-install-recommends install "$@"
    succeeds "$own: the command runs" in_tree "$own" linvideo generate -q --steps 1 --frames 2 \
        -o /tmp/a.mp4 -y "a red circle"
    expects "$own: the manual page is there" 0 linvideo.1 in_tree "$own" dpkg -L linvideo
    succeeds "$own: the frei0r plugin runs in the ffmpeg of the release" in_tree "$own" ffmpeg \
        -v error -f lavfi \
        -i "frei0r_src=size=64x64:filter_name=linvideo:filter_params='a red circle|||1'" \
        -frames:v 1 -f null -
    succeeds "$own: they are removed" in_tree "$own" apt-get -qy purge \
        $(printf '%s\n' "$@" | sed 's|.*/||; s|_.*||')
    empty "$own: nothing of them is left" \
        "$(files "$own" | comm -13 "$trees/before" - | grep -i linvideo)"
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

if ls "$build"/deb/*.deb >/dev/null 2>&1; then packages; else
    echo "no packages in $build/deb (make deb)"
fi
if [ -x "$build/linvideo-bundle/ffmpeg" ]; then bundle; else
    echo "no $build/linvideo-bundle (make dropin bundle)"
fi
[ $((passed + failed)) -gt 0 ] || exit 77
finish
