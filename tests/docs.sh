#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The documents' parts that are made from linvideo/option_table.h are as they would be made,
# and the ranges in linvideo.h are the table's.
#
#     docs.sh [write]     with write: make them
#
# A part stands between lines with `options: made by "make docs"` and `end of options`.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
include=libavfilter-linvideo

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
${CC:-cc} -std=c11 -I$include -o "$made/docs" tests/docs.c || exit 1

# with_part DOCUMENT KIND: the document with a new part of this kind
with_part() {
    "$made/docs" "$2" >"$made/part" || exit 1
    awk -v part="$made/part" '
        /end of options/ { inside = 0 }
        !inside
        /options: made by "make docs"/ {
            inside = 1
            while ((getline line < part) > 0)
                print line
        }' "$1"
}

# recount: a patch from standard input with the true lengths of its hunks
recount() {
    awk '
        function flush(   i) {
            if (hunk != "") {
                split(hunk, part, /[ ,]/)
                print "@@ " part[2] "," old " " part[4] "," new " @@" rest
            }
            for (i = 0; i < nb; i++)
                print body[i]
            nb = old = new = 0
            hunk = ""
        }
        /^@@ / { flush(); hunk = $0; rest = $0; sub(/^@@[^@]*@@/, "", rest); next }
        /^(---|\+\+\+) / { flush(); print; next }
        { body[nb++] = $0; old += /^[- ]|^$/; new += /^[+ ]|^$/ }
        END { flush() }'
}

# document FILE KIND: write or check it
document() {
    with_part "$1" "$2" >"$made/with_part"
    case $1 in
    *.patch) recount <"$made/with_part" >"$made/new" ;;
    *) cp "$made/with_part" "$made/new" ;;
    esac
    if [ "$write" ]; then
        cmp -s "$1" "$made/new" || cp "$made/new" "$1"
    fi
    succeeds "$1 has its table of options once" \
        test "$(grep -c -e 'options: made by "make docs"' -e 'end of options' "$1")" = 2
    empty "$1 has the options of linvideo/option_table.h (make docs)" "$(diff "$1" "$made/new")"
}

write=${1:-}
document README.md readme
document samples/filter.md markdown
document samples/linvideo.1 man
for patch in patches/*.patch; do
    document "$patch" texinfo
done

# comments of LinvideoParams, a line for each member: its name and all that is said
members() {
    awk '
        /^typedef struct LinvideoParams/ { inside = 1; next }
        /^} LinvideoParams/ { exit }
        !inside { next }
        /^    [a-z].*;/ { printf "\n%s ", $0; next }
        { sub(/^ *\/\/\/< /, ""); printf "%s ", $0 }' $include/linvideo/linvideo.h
}
members >"$made/members"
empty "linvideo.h has the ranges of linvideo/option_table.h" "$("$made/docs" ranges |
    while read -r member range; do
        grep -E "^[^/]*[ *]$member[,;]" "$made/members" | grep -qF "$range" ||
            echo "$member: expected $range"
    done)"

finish
