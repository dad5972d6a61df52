#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Run test programs and add up what they report.
#
#     run.sh PROGRAM...
#
# A program reports by a line of libcheck ("100%: Checks: 9, Failures: 0,
# Errors: 0") or by one that reads "9 passed, 0 failed". One that ends badly
# without having reported a failure counts as a failure; status 77 means that
# it could not run here, and is said. The last line is the sum.

passed=0 failed=0 skipped=''
out=$(mktemp)
trap 'rm -f "$out"' EXIT

for program; do
    echo "== $program"
    { timeout "${TEST_TIMEOUT:-2400}" "$program" 2>&1; echo "status $?"; } |
        tee "$out" | sed '/^status [0-9]*$/d'
    status=$(sed -n 's/^status \([0-9]*\)$/\1/p' "$out" | tail -n 1)
    if [ "$status" = 77 ]; then
        skipped="$skipped $program"
        continue
    fi
    set -- $(awk '
        /^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+$/ {
            gsub(/,/, ""); bad = $5 + $7; p += $3 - bad; f += bad
        }
        /^[0-9]+ passed, [0-9]+ failed$/ { p += $1; f += $3 }
        END { print p + 0, f + 0 }' "$out")
    if [ "$status" != 0 ] && [ "$2" = 0 ] || [ "$1$2" = 00 ]; then
        echo "not ok $program ended with status $status"
        set -- "$1" 1
    fi
    passed=$((passed + $1)) failed=$((failed + $2))
done

[ -z "$skipped" ] || echo "skipped:$skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
