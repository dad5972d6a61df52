#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# tests/gpu/limits.sh [COMMAND [DEVICE]]: what runs within the memory of smaller cards. Each
# clip of Wan's sizes, with the network stored in bf16, fp8 and Q4_K, under each limit, one step:
# it runs or is refused, with the sentence; how much was planned, how much less the device had
# free, what nvidia-smi saw at most where there is one (the context is in it); seconds from
# prompt to planes, and of loading, denoising and decoding. A table for samples/wan.md goes to standard
# output.
#
# COMMAND is linvideo [build/linvideo], DEVICE cuda or cuda:N. LV_LIMITS, LV_CLIPS, LV_WEIGHTS
# and LV_SHAPE (more options) cut it down, which is how it runs on the emulated GPU. Status 0:
# all were one or the other, and no device had more taken from it than planned and a tenth.

linvideo=${1:-build/linvideo} device=${2:-cuda} result=0
limits=${LV_LIMITS:-6G 8G 12G 16G 24G}
clips=${LV_CLIPS:-clip-1.3b-480p clip-1.3b-720p clip-14b-480p clip-14b-720p}
weights=${LV_WEIGHTS:-bf16 fp8 q4_k}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
index=${device#cuda}
index=${index#:}

# watch: the most that nvidia-smi sees in use goes to "used", until it is ended
watch() {
    : >"$work/used"
    command -v nvidia-smi >"$work/which" || return
    nvidia-smi -i "${index:-0}" --query-gpu=memory.used --format=csv,noheader,nounits -lms 50 \
        >"$work/used" 2>&1 &
    watcher=$!
}

# member NAME: a number of the JSON that was printed; seconds NAME: the first of a stage's
member() { grep -oE "\"$1\": [0-9.e+]+" "$work/out" | head -n 1 | sed 's/.*: //'; }
seconds() {
    grep -oE "\"$1\": (\{\"seconds\": )?\[[0-9.e+-]+" "$work/out" | head -n 1 | sed 's/.*\[//'
}
in_gib() { awk -v n="${1:-0}" 'BEGIN { printf "%.2f", n / 2 ^ 30 }'; }

# row CLIP WEIGHTS LIMIT
row() {
    watcher=
    watch
    # shellcheck disable=SC2086
    "$linvideo" bench --device "$device" --json --reps 1 --steps 1 --weights "$2" \
        --memory-limit "$3" ${LV_SHAPE:-} "$1" >"$work/out" 2>"$work/said"
    code=$?
    [ -z "$watcher" ] || { kill "$watcher"; wait "$watcher"; } 2>/dev/null
    printf '| %s | %s | %s | ' "$1" "$2" "$3"
    if [ $code != 0 ]; then
        printf 'refused: %s | | | | | |\n' "$(sed -n '$s/^linvideo: //p' "$work/said")"
        grep -q 'are available$' "$work/said" || result=1
        return
    fi
    planned=$(awk -v a="$(member weights)" -v b="$(member work)" 'BEGIN { printf "%.0f", a + b }')
    taken=$(member taken)
    how=runs
    [ "$(member offloaded)" = 0 ] || how="$how, $(in_gib "$(member offloaded)") GiB offloaded"
    [ "$(member tile)" = 0 ] || how="$how, tiles of $(member tile)"
    printf '%s | %s | %s | %s | %.1f | %.1f, %.1f, %.1f |\n' "$how" "$(in_gib "$planned")" \
        "$(in_gib "$taken")" "$(sort -n "$work/used" | tail -n 1 | awk '{
            printf "%.2f", $1 / 1024 }')" "$(seconds seconds)" "$(seconds loading)" \
        "$(seconds denoising)" "$(seconds decoding)"
    awk -v a="$taken" -v b="$planned" 'BEGIN { exit a > 1.1 * b }' || {
        echo "limits.sh: more was taken than planned" >&2
        result=1
    }
}

echo '| clip | network in | limit | outcome | planned GiB | taken | nvidia-smi | seconds | loading, denoising, decoding |'
echo '| --- | --- | --- | --- | --- | --- | --- | --- | --- |'
for clip in $clips; do
    for form in $weights; do
        for limit in $limits; do
            row "$clip" "$form" "$limit"
        done
    done
done
exit $result
