#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# A build with the thread sanitizer; what runs on several threads runs in it.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL

build=$(cd "${BUILD:-build}" && pwd)/tsan
TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp"
CK_TIMEOUT_MULTIPLIER=20
LINVIDEO_MODEL_PATH=$build/tests/model
export TSAN_OPTIONS CK_TIMEOUT_MULTIPLIER LINVIDEO_MODEL_PATH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

succeeds "configure" ./configure --builddir="$build" --cc="${CC:-gcc}" --cxx="${CXX:-g++}" \
    --enable-tsan --disable-cuda --disable-shared
succeeds "make" make -j "$(nproc)" BUILD="$build" all "$build/tests/check_api" \
    "$build/tests/check_upload"

# clean NAME COMMAND...: it succeeds, and no race is reported
clean() {
    clean_name=$1
    shift
    code=0
    "$@" >"$work/said" 2>&1 || code=$?
    races=$(grep -c '^WARNING: ThreadSanitizer' "$work/said")
    if [ "$code$races" = 00 ]; then ok "$clean_name"; else
        not_ok "$clean_name" "status $code, $races reports: $(cat "$work/said")"
    fi
}

# a race is seen here
cat >"$work/race.c" <<'END'
#include <pthread.h>
static int shared;
static void *add(void *arg)
{
    shared++;
    return arg;
}
int main(void)
{
    pthread_t t;
    pthread_create(&t, NULL, add, NULL);
    shared++;
    pthread_join(t, NULL);
    return 0;
}
END
${CC:-gcc} -g -fsanitize=thread -o "$work/race" "$work/race.c" -lpthread
"$work/race" >"$work/said" 2>&1
equal "a race of a test is seen" "$(grep -c '^WARNING: ThreadSanitizer: data race' "$work/said")" 1

for case in "several contexts" "stopped by a thread"; do
    clean "check_api: $case" env CK_RUN_CASE="$case" "$build/tests/check_api"
done
clean "check_upload" "$build/tests/check_upload"
for threads in 2 4; do
    clean "generate with $threads threads" "$build/linvideo" generate -q -y --steps 2 --seed 1 \
        --guidance 3 --threads $threads -o "$work/a.y4m" "a red circle"
done
clean "generate in tiles" "$build/linvideo" generate -q -y --steps 1 --seed 1 --threads 4 \
    --size 200x136 --native 1 --tile 64 -o "$work/a.y4m" "a red circle"
clean "train with 4 threads" "$build/linvideo" train --threads 4 --dir "$work/run" \
    tests/ref/tiny.json
finish
