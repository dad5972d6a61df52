#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The CUDA device with its kernels on the CPU (tests/emu): that it finds errors of
# kernels; what is said of a machine that won't do; every op of the list; frames in its memory;
# a little of post-training.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -f "$build/tests/emu/libcuda.so" ] || exit 77
. tests/emu/use.sh

# planted NAME PATTERN: the kernel ends with a message
planted() {
    said=$({ "$build/tests/emu/planted" "$1"; } 2>&1)
    case $said in
    *"$2"*"lv_$1, block"*) ok "finds $1" ;;
    *) not_ok "finds $1" "no \"$2\" in: $said" ;;
    esac
}

# The emulator's own eyes

for kernel in fine_turn fine_warp fine_async fine_box fine_panel_box \
    fine_back_box; do
    succeeds "nothing in $kernel" "$build/tests/emu/planted" $kernel
done
planted read_behind 'read outside of memory of the device'
planted write_behind 'write outside of memory of the device'
planted read_freed 'read outside of memory of the device'
planted write_host "memory that is not the device's"
planted shared_behind 'access behind shared memory'
planted shared_unset 'shared memory is read that nobody wrote'
planted shared_unset_fixed 'shared memory is read that nobody wrote'
planted misaligned 'an access is misaligned'
planted misaligned_shared 'an access is misaligned'
planted other_barriers 'threads of a block are at different barriers'
planted lost_barrier 'threads wait for each other'
planted other_shuffles 'lanes of a warp are at different operations'
planted race_write 'two threads write shared memory at once'
planted race_read 'shared memory is read while it is written'
planted race_back 'shared memory is written while it is read'
planted race_async 'shared memory is written while it is read'
planted early_async 'shared memory is read while it is written'
planted early_box 'shared memory is read while it is written'
planted race_box 'shared memory is written while it is read'
planted early_panel_box 'shared memory is read while it is written'
planted race_panel_box 'shared memory is written while it is read'
planted early_back_box 'shared memory is read while it is written'
planted race_back_box 'shared memory is written while it is read'
planted lost_back_box 'nobody waits for a box that goes back'
planted lost_box 'nobody waits for a product'
planted other_box 'threads of a warpgroup are at different products'
planted unmade_box 'a barrier that nobody made'

# Machines that won't do

# refused NAME PATTERN [VARIABLE=VALUE...]: why `generate --device cuda` fails
refused() {
    refused_name=$1 pattern=$2
    shift 2
    said=$(env "$@" "$build/linvideo" generate --device cuda --size 32x32 --steps 1 \
        -o /dev/null 'a red circle' 2>&1)
    code=$?
    if [ $code = 1 ] && [ "$(echo "$said" | wc -l)" = 1 ] &&
       echo "$said" | grep -qE -e "$pattern"; then
        ok "$refused_name"
    else
        not_ok "$refused_name" "status $code, not 1, or no \"$pattern\": $said"
    fi
}

refused "no driver" 'cuda: .*/none/libcuda.so: cannot open' LINVIDEO_LIBCUDA=/none/libcuda.so
refused "no cuBLASLt" 'cuda: .*/none/libcublasLt.so: cannot open' \
    LINVIDEO_LIBCUBLASLT=/none/libcublasLt.so
refused "a driver that lacks entries" 'the driver is too old: it lacks cuInit' \
    LINVIDEO_LIBCUDA=libm.so.6
refused "an old driver" 'the driver is too old: it has CUDA 11\.4, 12\.0 is needed' \
    EMU_DRIVER=11040
refused "no device" 'the driver sees no device' EMU_DEVICES=0
refused "an old device" '\(emulated, 7\.5\): compute capability 8\.0 is needed' EMU_ARCH=75
refused "no kernels for it" 'no kernels for compute capability 13\.0 in this build' \
    EMU_ARCH=130 EMU_NO_IMAGE=1
refused "no memory" 'needs? [0-9.]+ MiB.*[0-9.]+ (free|are available)' EMU_MEMORY=40000000
refused "no memory for products" 'needs 32\.0 MiB, cuda:0 \(emulated, 9\.0\) has 28\.6 free' \
    EMU_MEMORY=30000000

# Devices, and which one "auto" is

# shows NAME PATTERN COMMAND...: what it prints, its status being 0
shows() {
    shows_name=$1 pattern=$2
    shift 2
    said=$("$@" 2>&1) && echo "$said" | grep -qE -e "$pattern" && ok "$shows_name" ||
        not_ok "$shows_name" "no \"$pattern\", or status not 0: $said"
}

linvideo=$build/linvideo
clip="$linvideo generate --size 32x32 --steps 1 --clip_frames 1 -o /dev/null circle"
shows "devices: the cpu" '^cpu +cpu \(.*, [0-9]+ threads?\), .* of .* free$' "$linvideo" devices
shows "devices: a GPU" '^cuda:0 +emulated, compute capability 9\.0, .* of 4\.0 GiB free, driver' \
    "$linvideo" devices
shows "devices: three" '^cuda:2 ' env EMU_DEVICES=3 "$linvideo" devices
shows "devices: one that is too old" 'not usable: .*compute capability 8\.0 is needed' \
    env EMU_ARCH=75 "$linvideo" devices
shows "devices: no driver" '^cuda +none here; cuda: .*cannot open' \
    env LINVIDEO_LIBCUDA=/none/libcuda.so "$linvideo" devices
shows "devices: no device" 'the driver sees no device' env EMU_DEVICES=0 "$linvideo" devices
shows "devices: as JSON" '"capability": "9.0"' "$linvideo" devices --json
shows "auto is the GPU" 'device: cuda:0 \(emulated, 9\.0\)$' $clip
shows "auto is the cpu without a driver" 'device: cpu \(.*\); cuda: .*cannot open' \
    env LINVIDEO_LIBCUDA=/none/libcuda.so $clip
shows "auto is the cpu where no kernels fit" 'device: cpu \(.*\); cuda: no kernels' \
    env EMU_NO_IMAGE=1 $clip
shows "auto is the cpu with an old device" 'device: cpu \(.*\); .*8\.0 is needed' \
    env EMU_ARCH=75 $clip

# Ops

export LV_TEST_DEVICE=cuda LV_TEST_GUARD=0 CK_FORK=no CK_DEFAULT_TIMEOUT=0
succeeds "check_ops on the emulated GPU" "$build/tests/check_ops"
succeeds "check_causal on the emulated GPU" "$build/tests/check_causal"
for name in pipeline api images; do
    succeeds "frames in memory of the emulated GPU: check_$name" \
        env CK_RUN_CASE=device "$build/tests/check_$name"
done
for op in attn attn_dx linattn conv conv3 conv_dx; do
    succeeds "$op for 9.0, few tokens or pixels too" \
        env LV_TEST_NEWEST=90 LV_TEST_OP=$op CK_RUN_CASE=cases "$build/tests/check_ops"
done
for op in attn attn_dx; do
    succeeds "$op of wide heads in many tiles" \
        env LV_TEST_SCORES=5000 LV_TEST_OP=$op CK_RUN_CASE=cases "$build/tests/check_ops"
done
succeeds "check_post on the emulated GPU" env CK_RUN_CASE=device "$build/tests/check_post"
finish
