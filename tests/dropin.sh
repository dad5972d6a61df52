#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The drop-in has every filter of the ffmpeg that is installed, and one more.

. "$(dirname "$0")/report.sh"
ffmpeg=$(absolute "${BUILD:-build}/ffmpeg-linvideo")
installed=$(sed -n "s/^ffmpeg='\(.*\)'$/\1/p" "$ffmpeg" 2>/dev/null)
[ -n "$installed" ] || { echo "no $ffmpeg here (make dropin)"; exit 77; }

# Filters that may be missing, a reason with each; none is, on Debian 12.
allowed="
"

# filters COMMAND: a name in each line
filters() { "$1" -hide_banner -filters 2>&1 | awk '$3 ~ /->/ { print $2 }' | sort; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
filters "$installed" >"$work/installed"
filters "$ffmpeg" >"$work/dropin"
[ "$(wc -l <"$work/installed")" -gt 300 ] && ok "the installed ffmpeg lists its filters" ||
    not_ok "the installed ffmpeg lists its filters" "$(cat "$work/installed")"
echo "$allowed" | awk 'NF { print $1 }' >"$work/allowed"
empty "no filter is missing" \
    "$(comm -23 "$work/installed" "$work/dropin" | grep -vxF -f "$work/allowed")"
equal "one is new" "$(comm -13 "$work/installed" "$work/dropin" | xargs)" linvideo
for name in scale_cuda zmq; do
    empty "$name, which documents name" "$(grep -qx $name "$work/dropin" || echo missing)"
    told=$("$ffmpeg" -hide_banner -h filter=$name 2>&1)
    case $told in
    "Filter $name"*) ok "$name tells its options" ;;
    *) not_ok "$name tells its options" "$told" ;;
    esac
done
finish
