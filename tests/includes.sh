#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The floor rule: which files a floor may include, beside the system's. A name
# stands for a folder, or for one header. Includes carry the floor in the path.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/../libavfilter-linvideo" || exit 1

allowed() {
    cat <<'END'
base        base
backend     base backend config.h
graph       base backend/ops.h backend/device.h graph
model       base graph backend/ops.h backend/device.h model
pipeline    base graph backend/device.h model pipeline
api         base pipeline linvideo api config.h
train       base backend graph model pipeline train config.h
tools       base backend graph model pipeline api linvideo train tools config.h
.           linvideo
END
}

# own FLOOR: "file:line:name" of the includes in a floor's files that are ours;
# of the top level only <linvideo/...> is, as the rest are FFmpeg's and frei0r's.
own() {
    if [ "$1" = . ]; then
        grep -nHoE '^ *# *include +["<](base|backend|graph|model|pipeline|api|train|tools|linvideo)/[^">]+' ./*.c
    else
        grep -rnHoE --include='*.c' --include='*.h' --include='*.cc' \
            '^ *# *include +("[^"]+|<linvideo/[^>]+)' "$1"
    fi | sed -E 's/# *include +["<]//; s/: +/:/'
}

while read -r floor may; do
    [ -n "$(find "$floor" -maxdepth 2 -name '*.[ch]*' -print -quit)" ] || continue
    bad=$(own "$floor" | while IFS=: read -r file line name; do
        for one in $may; do
            case $name in "$one"|"$one"/*) continue 2 ;; esac
        done
        echo "$file:$line includes $name"
    done)
    empty "includes of $floor" "$bad"
done <<END
$(allowed)
END
finish
