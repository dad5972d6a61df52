#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Bring a Debian or Ubuntu machine to the point where "make" works.
#
#     samples/setup.sh [BUILD [check]]
#
# With "check" also the programs that only tests use.
#
# Installs the packages that are missing, with apt-get; runs ./configure when
# that has not been done or when something was installed. Does nothing, and
# asks for no rights, when all is there.
set -eu

build=${1:-build} for=${2:-}
cd "$(dirname "$0")/.."

packages() {
    cat <<'END'
gcc                   compiles the library
g++                   compiles the tokenizer's C++ part
make                  builds
pkg-config            finds the libraries
libdnnl-dev           oneDNN: matrix products and convolutions
libsentencepiece-dev  splits prompts into tokens
libjansson-dev        reads model configurations
zlib1g-dev            writes PNG files
libpng-dev            reads those that clips begin with
check                 runs the tests
ffmpeg                plays, scales and encodes what the filter makes
nasm                  assembles FFmpeg's fast scalers for the drop-in
xz-utils              unpacks FFmpeg's sources
patch                 puts the filter into them
libfreetype-dev       keeps the filter drawtext in the drop-in
libfontconfig-dev     finds its fonts by name
libfribidi-dev        writes from right to left
libass-dev            keeps the filter subtitles
frei0r-plugins-dev    keeps the filter frei0r
libffmpeg-nvenc-dev   keeps scale_cuda and other filters on NVIDIA GPUs
clang                 compiles them
libva-dev             keeps filters by VA-API
libmfx-dev|libvpl-dev keeps filters by Quick Sync
ocl-icd-opencl-dev    keeps filters by OpenCL
libvulkan-dev         keeps filters by Vulkan
glslang-dev           compiles them
spirv-tools           compiles them
libplacebo-dev        keeps the filter libplacebo
libzmq3-dev           keeps zmq and azmq
libzimg-dev           keeps zscale
libvidstab-dev        keeps vidstabdetect and vidstabtransform
librubberband-dev     keeps rubberband
libbs2b-dev           keeps bs2b
libmysofa-dev         keeps sofalizer
ladspa-sdk            keeps ladspa
liblilv-dev           keeps lv2
flite1-dev            keeps flite
libpocketsphinx-dev   keeps asr
END
    [ "$for" = check ] || return 0
    cat <<'END'
melt                     a host of the frei0r plugin
gstreamer1.0-tools       another one
gstreamer1.0-plugins-bad its element for frei0r
END
}

# first NAME|NAME...: the one of them that this system has
first() {
    for name in $(echo "$1" | tr '|' ' '); do
        [ -z "$(apt-cache show "$name" 2>/dev/null)" ] || { echo "$name"; return; }
    done
    echo "$name"
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# install PACKAGE...: as root, or with sudo, or say what to type
install() {
    if [ "$(id -u)" = 0 ]; then
        as_root="env"
    elif command -v sudo >/dev/null; then
        as_root="sudo env"
    else
        echo "setup: neither root nor sudo; let somebody who may run" >&2
        echo "    apt-get install --no-install-recommends $*" >&2
        exit 1
    fi
    $as_root apt-get -q update
    $as_root DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        --no-install-recommends -o Dpkg::Use-Pty=0 install "$@"
}

missing=''
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    while read -r package reason; do
        case $package in
        *"|"*) package=$(first "$package") ;;
        esac
        installed "$package" && continue
        [ -n "$missing" ] || echo "These packages are missing:"
        printf '  %-25s%s\n' "$package" "$reason"
        missing="$missing $package"
    done <<END
$(packages)
END
else
    echo "No apt-get here; configure says what is missing, if anything is."
fi
[ -z "$missing" ] || install $missing

if [ ! -f "$build/config.mak" ]; then
    ./configure --builddir="$build"
elif [ -n "$missing" ] || [ -n "$(find configure -newer "$build/config.mak")" ]; then
    eval "$(sed -n '1s/^# //p' "$build/config.log")"
    touch "$build/config.mak"
fi
