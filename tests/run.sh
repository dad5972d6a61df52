#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Run test programs, $TEST_JOBS at a time (as many as there are cores), and add up what
# they report.
#
#     run.sh PROGRAM...
#
# A program reports by a line of libcheck ("100%: Checks: 9, Failures: 0,
# Errors: 0") or by one that reads "9 passed, 0 failed". One that ends badly
# without having reported a failure counts as a failure; status 77 means that
# it could not run here, and is said. What a program says is shown when it ends. The last
# line is the sum.

# one DIR PROGRAM: run it; what it says, and a line for sums.
one() {
    start=$(date +%s)
    said=$(mktemp -p "$1")
    status=0
    timeout "${TEST_TIMEOUT:-3600}" "$2" >"$said" 2>&1 || status=$?
    set -- "$1" "$2" $(awk '
        /^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+$/ {
            gsub(/,/, ""); bad = $5 + $7; p += $3 - bad; f += bad
        }
        /^[0-9]+ passed, [0-9]+ failed$/ { p += $1; f += $3 }
        END { print p + 0, f + 0 }' "$said")
    if [ "$status" = 77 ]; then
        set -- "$1" "$2" 0 0
    elif [ "$status" != 0 ] && [ "$4" = 0 ] || [ "$3$4" = 00 ]; then
        echo "not ok $2 ended with status $status" >>"$said"
        set -- "$1" "$2" "$3" 1
    fi
    exec 9>>"$1/sums"
    flock 9
    echo "$3 $4 $status $2" >&9
    echo "== $2, $(($(date +%s) - start)) seconds"
    cat "$said"
    rm -f "$said"
}

if [ "${1:-}" = --one ]; then
    one "$2" "$3"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$@" | xargs -d '\n' -n 1 -P "${TEST_JOBS:-$(nproc)}" "$0" --one "$work"
sum() { awk "$1" "$work/sums"; }

skipped=$(sum '$3 == 77 { printf " %s", $4 }')
failed=$(sum '{ f += $2 } END { print f + 0 }')
[ -z "$skipped" ] || echo "skipped:$skipped"
[ "$(sum 'END { print NR }')" = $# ] || { echo "not ok all programs ran"; failed=$((failed + 1)); }
[ "$failed" = 0 ] || sum '$2 > 0 { print "failed: " $4 ", " $2 }'
echo "$(sum '{ p += $1 } END { print p + 0 }') passed, $failed failed"
[ "$failed" = 0 ]
