#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Weights that are offloaded to the host, on the emulated GPU: the frames of a model whose
# weights are all there, whichever stream is late; budgets of all sizes, by
# --memory-limit and by what the device has; what is said, and when there is too little.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -x "$build/tests/make_wan" ] && [ -f "$build/tests/emu/libcuda.so" ] || exit 77
. tests/emu/use.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME

# make FILE [VARIABLE=VALUE...] OPTION...: frames of the model of that manifest; the end of
# what was said is in $said
make() {
    file=$1
    shift
    env=
    while case ${1:-} in *=*) true ;; *) false ;; esac; do env="$env $1" && shift; done
    said=$(env $env "$build/linvideo" generate --device cuda --model "$work/$file.json" \
        --size 32x32 --frames 1 --clip-frames 1 --steps 1 --guidance 2 --seed 1 \
        --prompt-cache on -y -o "$work/out.y4m" "$@" "a red circle" 2>&1)
}

# same NAME SPLIT COMMAND...: it makes the frames of $want, blocks being split like this
same() {
    same_name=$1 split=$2
    shift 2
    rm -f "$work/out.y4m"
    "$@"
    if ! echo "$said" | grep -qE -e "$split"; then
        not_ok "$same_name" "no \"$split\": $said"
    elif cmp -s "$work/out.y4m" "$want"; then
        ok "$same_name"
    else
        not_ok "$same_name" "other frames: $said"
    fi
}

# manifest NAME DIT
manifest() {
    echo "{\"dit\": \"$2\", \"text\": \"text.safetensors\", \"vae\": \"vae.safetensors\"}" \
        >"$work/$1.json"
}

# resident FILE OPTION...: $want are its frames without a limit
resident() {
    resident_file=$1
    shift
    make "$resident_file" "$@"
    want=$work/$resident_file.y4m
    cp "$work/out.y4m" "$want" 2>/dev/null && ! echo "$said" | grep -q 'offloaded to' &&
        ok "$resident_file $*, all resident" || not_ok "$resident_file $*, all resident" "$said"
}

succeeds "random weights, 7 blocks" "$build/tests/make_wan" "$work" tests/ref/tokenizer.spm deep
manifest wan dit.safetensors
some='memory: [1-6] of 7 blocks stay on the device, [1-6] are offloaded to [0-9.]+ MiB of the host'
all='memory: 0 of 7 blocks stay on the device, 7 are offloaded to 10\.5 MiB of the host'

resident wan --precision bf16
for late in 0 1 2; do
    same "bf16, some blocks, stream $late late" "$some" \
        make wan EMU_LATE=$late --precision bf16 --memory-limit 22M
    same "bf16, all blocks, stream $late late" "$all" \
        make wan EMU_LATE=$late --precision bf16 --memory-limit 18M
done
# The text encoder reads its next layer meanwhile, if the limit has room for it.
for late in 0 1 2; do
    same "the encoder too, stream $late late" '^' \
        make wan EMU_LATE=$late --precision bf16 --prompt-cache off
    same "the encoder within a limit, stream $late late" "$all" \
        make wan EMU_LATE=$late --precision bf16 --prompt-cache off --memory-limit 18M
done
same "all: what is needed and what there is" 'all need 25\.2 MiB, 22\.0 are available' \
    make wan --precision bf16 --memory-limit 22M
same "no more blocks than must" '3 of 7 blocks stay on the device, 4 are offloaded' \
    make wan --precision bf16 --memory-limit 24M
# The stand-in has no byte more than this; 32 MiB of it are cuBLASLt's.
same "bf16, as much as the device has" "$some" make wan EMU_MEMORY=55000000 --precision bf16

make wan --precision bf16 --memory-limit 12M
case $said in
*"need 17."*" MiB (weights 8."*" with two blocks at a time, work "*"), 12.0 are available"*)
    ok "too little for two blocks" ;;
*) not_ok "too little for two blocks" "$said" ;;
esac
equal "it is said once" "$(echo "$said" | wc -l)" 1
make wan --device cpu --precision f32 --memory-limit 22M
case $said in
*" MiB (weights "*", work "*"), 22.0 are available"*) ok "the CPU does not stream" ;;
*) not_ok "the CPU does not stream" "$said" ;;
esac

resident wan --precision f32
same "f32, of bf16 in the file" "$some" make wan --precision f32 --memory-limit 40M

# Of another type than products want: F32 and F16 are made bf16 on the host, what is
# quantised stays so, and takes less.
for type in f32:18M:10.5 f16:18M:10.5 fp8:16.1M:5.3; do
    host=${type##*:} type=${type%:*}
    limit=${type#*:} type=${type%:*}
    "$build/linvideo" convert --type $type "$work/dit.safetensors" \
        "$work/$type.safetensors" >/dev/null 2>&1
    manifest $type $type.safetensors
    resident $type --precision bf16
    same "$type, all blocks" "0 of 7 blocks stay on the device, 7 are offloaded to $host MiB" \
        make $type --precision bf16 --memory-limit "$limit"
done

# What products want takes less than F32, its form beside it: that may be enough.
want=$work/f32.y4m
same "f32, all blocks stay" '^' make f32 --precision bf16 --memory-limit 30M
empty "and nothing streams" "$(echo "$said" | grep 'offloaded to')"

# Frames that do not fit whole: by Wan's decoder in tiles, one after another.
resident wan --precision bf16 --size 144x32 --tile 128
same "tiles, chosen" 'tiles of 128 are decoded one after another' \
    make wan --precision bf16 --size 144x32 --memory-limit 18.8M

# Clips of Wan's true sizes: where their weights and frames would lie.

# planned NAME PATTERN LIMIT WORK...
planned() {
    planned_name=$1 pattern=$2 limit=$3
    shift 3
    said=$(EMU_MEMORY=200000000000 "$build/linvideo" bench --device cuda --plan \
        --memory-limit "$limit" "$@" 2>&1)
    if echo "$said" | grep -qE -e "$pattern"; then ok "$planned_name"; else
        not_ok "$planned_name" "no \"$pattern\": $said"
    fi
}

planned "1.3B at 480p: all in 6 GiB" ' 5\.[0-9]+ in all planned$' 6G clip-1.3b-480p
planned "in 4 GiB: offloaded" 'planned, [0-9.]+ of the host offloaded$' 4G clip-1.3b-480p
planned "at 720p: in tiles too" 'planned, [0-9.]+ of the host offloaded, tiles of 768$' 6G \
    clip-1.3b-720p
planned "in 8 GiB: frames whole" 'planned, [0-9.]+ of the host offloaded$' 8G clip-1.3b-720p
planned "in 12 GiB: all" 'in all planned$' 12G clip-1.3b-720p
planned "14B at 720p: too much for 8 GiB" \
    'frames in tiles of 128 need 8[0-9]+\.[0-9] MiB .* two blocks .* 8192\.0 are available' 8G \
    clip-14b-720p
succeeds "the table of limits" env LV_CLIPS=clip-tiny LV_WEIGHTS=bf16 LV_LIMITS="1M 200M" \
    LV_SHAPE="--small --size 32x32 --clip-frames 1" tests/gpu/limits.sh "$build/linvideo"
finish
