#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# What every text file of the tree must keep to, as far as a script can see it.

. "$(dirname "$0")/report.sh"
LC_ALL=C
export LC_ALL

# Files that git knows or would add; all but built ones where there is no git.
all_files() {
    git ls-files --cached --others --exclude-standard 2>/dev/null ||
        find . -name .git -prune -o -name build -prune -o -type f -print
}

# files PATTERN...: those text files whose name fits none of the patterns
files=$(all_files | sort | while read -r file; do
    case $file in
    *.safetensors|*.gguf|*.spm|*.png|*.jpg|*.mp4|tests/fuzz/corpus/*|*/LICENSE|LICENSE|*.patch) ;;
    *) [ ! -f "$file" ] || echo "$file" ;;
    esac
done)
no_make=$(printf '%s\n' $files | grep -v -e Makefile -e '\.mak$' -e 'debian/rules$')
code=$(printf '%s\n' $files | grep -e '\.[ch]$' -e '\.cc$' -e '\.cu$' -e '\.cuh$')
scripts=$(printf '%s\n' $files | grep -e '\.sh$' -e '^configure$')

empty "no tabs outside Makefiles" "$(grep -n "$(printf '\t')" $no_make)"
empty "no blanks at the end of a line" "$(grep -n '[[:blank:]]$' $files)"
empty "no carriage returns" "$(grep -ln "$(printf '\r')" $files)"
empty "a newline at the end of every file" "$(for file in $files; do
    [ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo "$file"
done)"
empty "no empty lines at the end of a file" "$(for file in $files; do
    [ -n "$(tail -n 1 "$file")" ] || echo "$file"
done)"
empty "no invisible Unicode" "$(grep -nP '\xC2[\xA0\xAD]|\xE2\x80[\x8B-\x8F\xA8-\xAF]|\xE2\x81[\xA0-\xAF]|\xEF\xBB\xBF' $files)"
empty "nothing left to do" "$(grep -nwE 'TO[D]O|FIX[M]E|X[X]X|HA[C]K' $files)"
empty "no line of code over 100 columns, but in tables" \
    "$(grep -nE '^.{101}' $code | grep -v ':    { ')"

empty "README.md: under 170 lines, none over 110 columns" "$(awk '
    length > 110 { print FNR ": " length " columns" }
    END { if (FNR >= 170) print FNR " lines" }' README.md)"

# A light checkout: sizes of what git has, bytes and name
sizes=$(git ls-files -z 2>/dev/null | xargs -0 -r stat -c '%s %n' 2>/dev/null)
empty "at most 46 MB in all" "$(printf '%s\n' "$sizes" | awk '
    { sum += $1 } END { if (sum > 46e6) print "there are " sum / 1e6 " MB" }')"
empty "samples/README.md says why a file has 1 MB or more" "$(printf '%s\n' "$sizes" |
    while read -r size file; do
        [ "${size:-0}" -lt 1000000 ] || grep -qF "| \`$file\` |" samples/README.md || echo "$file"
    done)"

empty "every file of code says its licence" "$(for file in $code; do
    head -n 15 "$file" | grep -q -e 'see LICENSE' -e 'Lesser General Public' ||
        echo "$file"
done)"
empty "every script parses" "$(for file in $scripts; do
    sh -n "$file" 2>&1
done)"
empty "every script can be run" "$(for file in $scripts; do
    head -n 1 "$file" | grep -q '^#!' && [ ! -x "$file" ] && echo "$file"
done)"
# Words of CONTRIBUTING.md's right column, and others that plain English has better ones for,
# in what users read. A name alone is none of it; captions of train/clips and train/reel are data.
banned='wants?|wanted|way back|on the way|let go|lets go|forgets?|pastes?|pasted|turned|leaves'
banned="$banned|tells?|told|pictures?|to be had|anew|whoever|whole numbers? (of|from)"
strings=$(grep -rnE --include='*.c' --include='*.cc' --include='*.h' '"[^"]*[a-z] [^"]*"' \
    libavfilter-linvideo | grep -v -e '# *include' -e 'train/clips/' -e 'train/reel/[tw][ho]')
empty "messages and help have the words of CONTRIBUTING.md" "$(printf '%s\n' "$strings" |
    grep -E "\"([^\"]*[ (])?($banned|products?|stands|is none of)([ ,.:;)][^\"]*)?\"")"
empty "messages say \"is not a\", not \"is no\"" "$(printf '%s\n' "$strings" |
    grep -E '"[^"]*(is|are) no [^"]*"' | grep -v 'there \(is\|are\) no ')"
empty "documents and public headers have them too" "$(grep -nwE "$banned" README.md CHANGELOG.md \
    patches/README.md samples/*.md samples/linvideo.1 libavfilter-linvideo/linvideo/*.h)"

finish
