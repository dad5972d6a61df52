#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# README.md's table of where linvideo runs is that of tests/reach.txt, and each of its rows
# names a test that runs the program or system in question.
#
#     reach.sh [write]    with write: make the table
#
# The table stands between lines with `places: made by "make docs"` and `end of places`.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
grep -v '^#' tests/reach.txt >"$made/rows"

table() {
    echo '| runs in | by | test |'
    echo '| --- | --- | --- |'
    awk -F ' [|] ' '{ print "| " $1 " | " $2 " | `tests/" $3 "` |" }' "$made/rows"
}

table >"$made/table"
awk -v table="$made/table" '
    /end of places/ { inside = 0 }
    !inside
    /places: made by "make docs"/ {
        inside = 1
        while ((getline line < table) > 0)
            print line
    }' README.md >"$made/readme"
if [ "${1:-}" = write ]; then
    cmp -s README.md "$made/readme" || cp "$made/readme" README.md
fi
equal "README.md has its table of places once" \
    "$(grep -c -e 'places: made by "make docs"' -e 'end of places' README.md)" 2
empty "README.md has the places of tests/reach.txt (make docs)" "$(diff README.md "$made/readme")"

# ran TEST TEXT: a line of the test that is not a comment has the text
ran() { grep -v '^[[:blank:]]*#' "tests/$1" | grep -qF -e "$2"; }

while read -r row; do
    place=${row%% | *}
    call=${row##* | }
    rest=${row% | *}
    test=${rest##* | }
    if [ -x "tests/$test" ] && ran "$test" "$call"; then
        ok "$place: tests/$test runs it"
    else
        not_ok "$place" "expected tests/$test with: $call"
    fi
done <"$made/rows"
finish
