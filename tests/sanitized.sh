#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The scripts once more, in a build with sanitizers: what a program of tests does not call is
# called here. The filter runs in the ffmpeg of the drop-in.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1

plain=$(cd "${BUILD:-build}" && pwd)
. tests/sanitizers.sh
LV_SANITIZED=1
export LV_SANITIZED

# of the others, pipelines are FFmpeg's
SAMPLES="overlay prompt-change pipe"
export SAMPLES

# script NAME...: of tests, with this build
script() {
    for name; do
        succeeds "$name.sh, sanitized" env BUILD="$build" LINVIDEO="$build/linvideo" \
            FFMPEG_LINVIDEO="$build/ffmpeg-linvideo" "tests/$name.sh"
    done
}

script hostile wan cli writers
asan=$(ldd "$build/liblinvideo.so.0" | sed -n 's/^[[:blank:]]*libasan[^ ]* => \([^ ]*\) .*/\1/p')
if [ ! -d "$plain/dropin" ] || [ -z "$asan" ]; then
    echo "without a drop-in or a shared libasan the filter is not run"
    finish
fi

# ffmpeg itself is not sanitized: the wrapper puts the sanitizer in front
ffmpeg=$(cat "$plain/dropin/ffmpeg")
patches/write-wrapper.sh "$build/ffmpeg-linvideo" "$plain/dropin" "$build" "$ffmpeg" "$PWD/samples"
equal "ffmpeg has the sanitized filter" "$(ASAN_OPTIONS='' "$build/ffmpeg-linvideo" -version 2>&1 |
    grep -c 'ASan runtime does not come first')" 1
sed -i "s|^exec|LD_PRELOAD=$asan exec|" "$build/ffmpeg-linvideo"
script filter samples
finish
