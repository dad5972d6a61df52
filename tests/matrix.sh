#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The frames of a short clip by each compiler, each set of instructions of the CPU, the
# command and each FFmpeg whose sources are there: a table of hashes. A row is one library,
# so its hashes are the same.
#
#     tests/matrix.sh         # MATRIX_CC="gcc clang", MATRIX_FFMPEG="4.4 5.1 6.1 7.1 8.1 9.0"
#
# Sources are those of `make dropin` and `make ffmpeg`, or, with patches/get-ffmpeg.sh, what
# FETCH=1 gets. Run by `make check-matrix`; not part of `make check`.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL

plain=$(cd "${BUILD:-build}" && pwd)
build=$plain/matrix
LINVIDEO_MODEL_PATH=$PWD/samples
export LINVIDEO_MODEL_PATH
prompt="a large red circle moving left on a blue background"
options="seed=1:steps=2:frames=5:format=yuv444p:matrix=bt709"
mkdir -p "$build"

# compile CC: the library and the command
compile() {
    case $1 in
    clang*) cxx=clang++${1#clang} ;;
    *) cxx=g++${1#gcc} ;;
    esac
    succeeds "$1: configure" ./configure --builddir="$build/$1" --cc="$1" --cxx="$cxx" \
        --disable-cuda --disable-tests
    succeeds "$1: make" make -j "$(nproc)" BUILD="$build/$1" all
}

# lower CC ISA AVX2: a copy without AVX-512, or without AVX2 too
lower() {
    to=$build/$1-$2
    rm -rf "$to"
    cp -Rp "$build/$1" "$to"
    yes=$([ "$3" = 1 ] && echo yes || echo no)
    sed -i "s/HAVE_AVX512 .*/HAVE_AVX512 0/; s/HAVE_AVX2 .*/HAVE_AVX2 $3/" "$to/config.h"
    sed -i "s/^HAVE_AVX512 = .*/HAVE_AVX512 = no/; s/^HAVE_AVX2 = .*/HAVE_AVX2 = $yes/" \
        "$to/config.mak"
    grep -rl 'config\.h' "$to" --include='*.d' | sed 's/d$/o/' | xargs rm -f
    find "$to" -name '*.o' -exec touch {} +
    succeeds "$1, $2: make" make -j "$(nproc)" BUILD="$to" all
}

# series: FFmpegs that can be built here
series() {
    for nb in ${MATRIX_FFMPEG:-4.4 5.1 6.1 7.1 8.1 9.0}; do
        if [ -n "${FETCH:-}" ] || ls -d "$plain"/ffmpeg-src/ffmpeg-"$nb"* >/dev/null 2>&1; then
            echo "$nb"
        fi
    done
}

hashes() { sed -n 's/^0,.* //p' | md5sum | cut -c 1-12; }

# by_command LIBRARY; by_ffmpeg LIBRARY SERIES: the hash of the clip
by_command() {
    "$1/linvideo" generate -q --seed 1 --steps 2 --frames 5 --format yuv444p --matrix bt709 \
        -o - "$prompt" | ffmpeg -v error -i - -f framemd5 - | hashes
}
by_ffmpeg() {
    LD_LIBRARY_PATH=$1 "$plain/ffmpeg-$2/ffmpeg" -v error \
        -filter_complex "linvideo=prompt=$prompt:$options" -f framemd5 - | hashes
}

# row NAME LIBRARY ONEDNN: a line of the table; its hashes are the same
row() {
    row_name=$1 library=$2
    ONEDNN_MAX_CPU_ISA=$3 DNNL_MAX_CPU_ISA=$3
    export ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA
    all=$(by_command "$library")
    for nb in $ffmpegs; do all="$all $(by_ffmpeg "$library" "$nb")"; done
    # shellcheck disable=SC2086
    printf '%-16s' "$row_name" >>"$build/table" && printf ' %-12s' $all >>"$build/table"
    echo >>"$build/table"
    equal "$row_name: the same by all" "$(echo "$all" | tr ' ' '\n' | sort -u | wc -l)" 1
}

ccs=
for cc in ${MATRIX_CC:-gcc clang}; do
    command -v "$cc" >/dev/null && ccs="$ccs $cc" || echo "no $cc here"
done
for cc in $ccs; do
    compile "$cc"
    lower "$cc" avx2 1
    lower "$cc" c 0
done
ffmpegs=$(series)
for nb in $ffmpegs; do
    succeeds "FFmpeg $nb" env FFMPEG_CONFIG=lean patches/build-ffmpeg.sh "$plain" "$nb"
done

# shellcheck disable=SC2086
{ printf '%-16s %-12s' "" command; printf ' %-12s' $ffmpegs; echo; } >"$build/table"
for cc in $ccs; do
    row "$cc, best" "$build/$cc" DEFAULT
    row "$cc, avx2" "$build/$cc-avx2" AVX2
    row "$cc, c" "$build/$cc-c" SSE41
done
cat "$build/table"
for isa in best avx2 c; do
    equal "$isa: the same by each compiler" \
        "$(sed -n "s/^[a-z]*, $isa *//p" "$build/table" | sort -u | wc -l)" 1
done
finish
