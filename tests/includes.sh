#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The floor rule: which files a floor may include, beside the system's. A name
# stands for a folder, or for one header. Includes carry the floor in the path.
# Then the rule of rooms: no circles, a function is declared in its own file's header, and
# no two files have one name, but for an operation's on both devices.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/../libavfilter-linvideo" || exit 1

allowed() {
    cat <<'END'
base           base
backend        base backend config.h
graph          base backend/check.h backend/ops.h backend/device.h backend/weight.h graph
model          base graph backend/ops.h backend/device.h backend/form.h backend/weight.h model
pipeline       base graph backend/device.h model pipeline
api            base model/prompt.h model/prompt_times.h pipeline linvideo api config.h
train/clips    base train/clips
train/reel     base train/clips train/reel config.h
train/run      base backend graph model train/run
train/measure  base backend/device.h model train/clips train/reel train/run train/measure
train/pretrain base backend graph model train/clips train/reel train/run train/measure train/pretrain
train/post     base backend graph model pipeline train
tools/share    base backend/device.h backend/group.h pipeline/deliver.h api linvideo train tools/share
tools/bench    base backend/device.h backend/form.h graph model pipeline api/model.h linvideo tools/share tools/bench
tools/cmd      base backend graph model pipeline api linvideo train tools/share tools/bench tools/cmd
tools          base backend graph model pipeline api linvideo train tools
.              linvideo
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

# Rooms (NAME.c with NAME.h) that are not as they should be: rooms.awk says how. Those
# listed here are known, each with the number of functions; the list only grows shorter.
known() {
    cat <<'END'
twin params.c 1
twin params.h 1
twin prompt.c 1
twin prompt.h 1
END
}

# twins FOLDER: names that several files have, FOLDER left out
twins() {
    find . -path "./$1" -prune -o -name '*.[ch]' -print -o -name '*.cc' -print |
        sed 's|.*/|twin |' | sort | uniq -d
}

rooms() {
    {
        find . -name '*.[ch]' ! -name '*_tmpl.h' -o -name '*.cc' | xargs awk -f ../tests/rooms.awk
        { twins backend/cpu; twins backend/cuda; } | sort -u
    } |
        awk '{ nb[$1 " " $2 (NF > 2 ? " " $4 : "")]++ }
             END { for (r in nb) print r, nb[r] }' | sort
}

empty "no new circles or namesakes of files, no function declared in another's header" \
    "$(rooms | grep -vxF -e "$(known)")"
empty "known ones that are gone leave the list" "$(known | grep -vxF -e "$(rooms)")"
finish
