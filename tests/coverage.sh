#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# How many lines of each folder the tests run: a build of its own for gcov, in
# build/coverage; in it the scripts that call commands, and the test programs.
#
#     tests/coverage.sh [TEST...]     # cli.sh, check_base...; all of them
#
# Run by `make coverage`; not part of `make check`.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL

build=${BUILD:-build}/coverage
tests=${*:-cli.sh writers.sh wan.sh hostile.sh $(printf 'check_%s ' ${CHECKS:-})}
LEAST=80 # per cent of tools
CK_TIMEOUT_MULTIPLIER=10
export CK_TIMEOUT_MULTIPLIER
command -v gcov >/dev/null || { echo "no gcov here"; exit 77; }

succeeds "configure" env CFLAGS="--coverage -O1" CXXFLAGS="--coverage -O1" LDFLAGS=--coverage \
    ./configure --builddir="$build" --cc=gcc --cxx=g++ --disable-cuda --disable-shared \
    --disable-hardening
succeeds "make" make -j "$(nproc)" BUILD="$build" all tests
find "$build" -name '*.gcda' -delete

for test in $tests; do
    case $test in
    *.sh) succeeds "$test" env BUILD="$build" LINVIDEO="$build/linvideo" "tests/$test" ;;
    *) succeeds "$test" "$build/tests/$test" ;;
    esac
done

# lines: of each source file its folder, lines that were run and all, from gcov's words
lines() {
    find "$build/libavfilter-linvideo" -name '*.gcno' | sort | while read -r notes; do
        source=${notes#"$build"/}
        gcov -n "$notes" 2>/dev/null | awk -v stem="${source%.gcno}." '
            /^File / { mine = index($0, "\047" stem) }
            mine && /^Lines executed:/ {
                split($0, part, /[:% ]+/)
                sub(/\/[^\/]*$/, "", stem)
                printf "%s %.0f %d\n", stem, part[3] * part[5] / 100, part[5]
                exit
            }'
    done
}

lines | awk '
    { run[$1] += $2; all[$1] += $3 }
    $1 ~ /libavfilter-linvideo\/tools/ { tools += $2; of += $3 }
    END {
        printf "%-40s %8s %8s %7s\n", "folder", "lines", "run", ""
        for (f in all)
            printf "%-40s %8d %8d %5.1f %%\n", f, all[f], run[f], 100 * run[f] / all[f] | "sort"
        close("sort")
        printf "%-40s %8d %8d %5.1f %%\n", "all of tools", of, tools, 100 * tools / (of + !of)
    }' >"$build/coverage.txt"
cat "$build/coverage.txt"
share=$(sed -n 's/^all of tools.* \([0-9]*\)\.[0-9]* %$/\1/p' "$build/coverage.txt")
if [ "${share:-0}" -ge $LEAST ]; then
    ok "tools: $share % of lines are run, at least $LEAST"
else
    not_ok "tools: $share % of lines are run, at least $LEAST"
fi
finish
