#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# What files and users may hold: names that are commands elsewhere, signs that move the
# cursor, sizes that no machine has. Memory is limited where it counts.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
linvideo=$(absolute "${LINVIDEO:-${BUILD:-build}/linvideo}")
ref=$(absolute tests/ref/tiny.json)
models=$(absolute "${BUILD:-build}/tests/model")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

esc=$(printf '\033')
line=$(printf '\nx'); line=${line%x}

# refused NAME PART COMMAND...: it fails with one line that holds PART, in 2 GB
refused() {
    name=$1 part=$2
    shift 2
    # a sanitizer takes addresses for all that there could be
    said=$([ -n "${LV_SANITIZED:-}" ] || ulimit -v 2000000; "$@" 2>&1 >/dev/null)
    status=$?
    if [ "$status" != 1 ] && [ "$status" != 2 ]; then
        not_ok "$name" "status $status: $said"
    elif [ "$(printf '%s\n' "$said" | wc -l)" != 1 ]; then
        not_ok "$name: one line" "$said"
    else
        case $said in
        *"$part"*) ok "$name" ;;
        *) not_ok "$name" "$said" ;;
        esac
    fi
}

# log LAYERS: a log of linvideo linearize
log() {
    list=$(head -c "$1" /dev/zero | tr '\0' '1' | sed 's/./0.5,/g; s/,$//')
    for step in 1 2 3; do
        echo "{\"step\": $step, \"error\": 0.1, \"seconds\": 1, \"errors\": [1, 1, 1, 1, 1]," \
             "\"kind\": [$list], \"rho\": [$list], \"r\": [$list]}"
    done
}

# Logs with more layers than there can be
log 300 >many.jsonl
refused 'report: 300 layers' 'expected at most 128, got 300' \
    "$linvideo" report --plots plots many.jsonl
log 128 >most.jsonl
succeeds 'report: 128 layers' "$linvideo" report --plots plots most.jsonl

refused 'report: a line of 100 MB' 'long.jsonl: line 2 is too long, expected at most' \
    sh -c "{ head -n 1 most.jsonl; head -c 100000000 /dev/zero | tr '\\0' 1; } >long.jsonl
        '$linvideo' report long.jsonl"
rm long.jsonl
log 2 | sed '2s/"r".*//' >cut.jsonl
succeeds 'report: a line that was cut off' "$linvideo" report cut.jsonl
equal 'report: is told' "$(echo "$report_text" | grep -c '1 of 3 lines are not steps')" 1
equal 'report: of a pipe, the same' "$("$linvideo" report --json - /dev/stdin <most.jsonl)" \
    "$(cat most.jsonl | "$linvideo" report --json - /dev/stdin)"

# Names that a shell, or gnuplot, would run
for name in "x';system('touch PWNED');y='" 'a"; touch PWNED "' '`touch PWNED`' \
    '$(touch PWNED)' "two${line}touch PWNED"; do
    mkdir "$name"
    log 2 >"$name/linearize.jsonl"
done
succeeds 'report: names that are commands' "$linvideo" report --plots out ./*/linearize.jsonl
empty 'report: none was run' "$(find . -name PWNED)"
empty 'report: names of charts are plain' \
    "$(cd out && find . | LC_ALL=C grep -v '^\.[/A-Za-z0-9._-]*$')"
equal 'report: a chart for each log' "$(find out -name 'shares-*.gp' | wc -l)" 5

# Signs that move a terminal's cursor, and lines that are no messages
bad="no${esc}[31mred${line}linvideo: all is well$(printf '\302\233\377')"
for command in inspect report train; do
    refused "$command: a name is one line" \
        'no\x1B[31mred\x0Alinvideo: all is well\xC2\x9B\xFF' "$linvideo" $command "$bad"
done
refused 'generate: a name is one line' 'no\x1B[31mred\x0A' \
    "$linvideo" generate --model "$bad" -o o.y4m 'a red circle'

# A name that the command repeats when it is done, and one that it puts into a command
LINVIDEO_MODEL_PATH=$models "$linvideo" generate --device cpu --steps 1 \
    --frames 1 --clip_frames 1 -o "$bad.y4m" 'a red circle' >said 2>&1
equal 'generate: a name is told as one line' "$(grep -c "$esc" said)" 0
equal 'generate: and forges none' "$(grep -c '^linvideo: all is well' said)" 0
"$linvideo" generate -o "$bad.avi" 'a red circle' >said 2>&1
equal 'generate: another command as one line' "$(grep -c "$esc" said)" 0

# Numbers that a log lacks: the others count
for step in 1 2 3; do
    echo "{\"step\": $step, \"error\": 0.5, \"seconds\": 1, \"errors\": [1, 1, 1, 1, 1]," \
        "\"r\": [0.5], \"kind\": [1], \"rho\": [1]}"
done | sed '2s/"error": 0.5, "seconds": 1/"error": null/' >some.jsonl
"$linvideo" report --json some.json some.jsonl >said 2>&1
equal 'report: missing numbers' "$(grep -c '3 steps, 2.0 s' said)" 1
equal 'report: all in the file' "$(grep -c '"seconds": 2' some.json)" 1

# Prompts and recipes without end
head -c 100000000 /dev/zero | tr '\0' a >long.txt
refused 'compare: a prompt of 100 MB' 'long.txt: line 1 is too long, expected at most' \
    "$linvideo" compare --prompts long.txt a.safetensors b.safetensors
refused 'train: a recipe of 100 MB' 'long.txt: too large for a recipe' \
    "$linvideo" train --dir run long.txt

# recipe NAME PART SECTION.KEY VALUE: of the recipe with one value changed
recipe() {
    sed "s/\"$3\": [0-9.]*/\"$3\": $4/" "$ref" >recipe.json
    refused "train: $1" "$2" "$linvideo" train --device cpu --dir run recipe.json
}

sed 's/"width": 32, "height": 32/"width": 1024, "height": 1024/' "$ref" >large.json
ref=large.json
recipe 'a set of clips that no memory holds' 'flow.clips is 16777216' clips 16777216
recipe 'a batch that no memory holds' 'autoencoder.batch is 1e+06, allowed is' batch 1000000
recipe 'a text that wraps round' 'dit.num_layers is ' num_layers 4294967298
finish
