#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Training on several ranks: as one to rounding, on with another number of them, one that is
# lost, one that has another recipe. On CPUs;
# on the emulated GPU, which takes minutes for a step, only that NCCL is missed.

. "$(dirname "$0")/report.sh"

build=$(absolute "${BUILD:-build}")
linvideo=$(absolute "${LINVIDEO:-build/linvideo}")
spm=$(absolute "$(dirname "$0")/ref/tokenizer.spm")
use=$(absolute "$(dirname "$0")/emu/use.sh")

[ -x "$linvideo" ] && [ -x "$build/tests/make_wan" ] || { echo "no $linvideo here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export LINVIDEO_RANKS_WAIT=10

small="--precision f32 --size 64x64 --clip-frames 5 --prompts prompts.txt --threads 1
    --set trajectories.clips=2 --set trajectories.steps=3 --set maps.steps=0
    --set linearize.batch=4 --set linearize.micro=1 --layers 1 --steps 4
    --set distill.batch=4 --set distill.micro=1 --set fake.ratio=1"

# shellcheck disable=SC2086
linearize() { timeout 60 "$linvideo" linearize --device "$device" $small "$@" a/wan.json; }

# curve FILE: numbers of each step that the weights decide
curve() { sed -E 's/.*"error": ([^,]*),.*"loss": ([^,]*),.*"grad_norm": ([^,]*),.*/\1 \2 \3/' "$1"; }

# close NAME A B: the same curve to a part in ten thousand
close() {
    curve "$2" >x
    curve "$3" >y
    [ "$(wc -l <x)" = "$(wc -l <y)" ] && paste x y | awk '
        { for (i = 1; i <= 3; i++) { d = $i - $(i + 3); if (d < 0) d = -d
          if (!(d <= 1e-4 * $i)) bad = 1 } }
        END { exit NR < 2 || bad }' && ok "$1" || not_ok "$1" "$(paste x y)"
}

# one_fails: the second rank alone ends with an error
one_fails() {
    RANK=0 WORLD_SIZE=2 linearize --dir fails --trajectories two/trajectories.safetensors >said.0 2>&1 &
    # shellcheck disable=SC2086
    RANK=1 WORLD_SIZE=2 timeout 60 "$linvideo" linearize \
        --device "$device" $small --dir fails a/none.json >said.1 2>&1
    codes=$?
    wait $!
    equal "$device: a rank fails: both end" "$codes$?" 11
    equal "and say so" "$(grep -c 'a/none.json' said.1) $(grep -c '^linvideo: rank 0: ' said.0)" "1 1"
}

on_device() {
    device=$1
    log=linearize.jsonl
    rm -rf one two four again mixed
    linearize --dir one >said 2>&1
    ranks 2 linearize --dir two
    equal "$device: two ranks" "$codes" 00
    close "$device: two ranks learn as one" one/$log two/$log
    [ -e two/model.json ] && [ ! -s said.1 ] && [ ! -e two/ranks ] &&
        ok "$device: the first writes and speaks" ||
        not_ok "$device: the first writes and speaks" "$(cat said.1; ls two)"
}

mkdir a
"$build/tests/make_wan" a "$spm" tiny >said 2>&1 && "$linvideo" setup a >said 2>&1 &&
    ok "a model" || not_ok "a model" "$(cat said)"
printf 'a red circle\nwaves at night\n' >prompts.txt

on_device cpu
ranks 4 linearize --dir four
close "four ranks learn as one" one/$log four/$log
ranks 2 linearize --dir again
cmp -s two/linearize.safetensors again/linearize.safetensors && ok "the same bits each time" ||
    not_ok "the same bits each time"

ranks 2 linearize --dir mixed --until 1
equal "stopped" "$codes" 33
linearize --dir mixed --until 2 >said 2>&1
ranks 4 linearize --dir mixed
equal "on with another number" "$codes" 0000
close "as one that was not stopped" one/$log mixed/$log

ranks 1 linearize --dir alone --states stream
ranks 2 linearize --dir both --states stream
close "streams of states" alone/$log both/$log

# shellcheck disable=SC2086
for i in 1 2; do
    ranks $i timeout 60 "$linvideo" distill --device cpu ${small%--layers*} --steps 3 --dir few$i \
        --set distill.sampler_steps=2 --set distill.batch=4 --set distill.micro=1 a/wan.json
done
close "distillation" few1/distill.jsonl few2/distill.jsonl

ranks 5 linearize --dir five
equal "more ranks than micro-batches" "$codes" 11111
equal "each says so" "$(grep -l 'expected at least 5 micro-batches' said.? | wc -l)" 5

RANK=0 WORLD_SIZE=2 linearize --dir differ >said.0 2>&1 &
RANK=1 WORLD_SIZE=2 linearize --dir differ --set linearize.lr=0.5 >said.1 2>&1
wait $!
equal "another recipe" "$(grep -l 'rank 1 has another recipe' said.0 said.1 | wc -l)" 2

RANK=0 WORLD_SIZE=2 linearize --dir lost --steps 100000 >said.0 2>&1 &
first=$!
RANK=1 WORLD_SIZE=2 "$linvideo" linearize --device cpu $small --dir lost --steps 100000 \
    a/wan.json >said.1 2>&1 &
second=$!
i=0
until [ -s lost/$log ] || [ $((i += 1)) -gt 100 ]; do sleep 0.1; done
kill -9 $second
wait $first
equal "a rank is killed: the other stops" $? 1
equal "and says so" "$(grep -c 'rank 0: rank 1 is gone' said.0)" 1

one_fails

RANK=1 WORLD_SIZE=2 LINVIDEO_RANKS_WAIT=1 linearize --dir none >said 2>&1
equal "one that waits for the first" "$(grep -c 'rank 0 has not come' said)" 1
RANK=2 WORLD_SIZE=2 linearize --dir none >said 2>&1
equal "a rank out of range" "$(grep -c 'RANK: expected a number from 0 to 1' said)" 1

if [ -e "$build/tests/emu/libnccl.so" ]; then
    # shellcheck source=tests/emu/use.sh disable=SC1091
    . "$use"
    device=cuda
    EMU_DEVICES=2 EMU_NCCL_IMPATIENT=1 one_fails
    LINVIDEO_LIBNCCL=none LINVIDEO_RANKS_WAIT=1 ranks 2 linearize --dir no
    equal "no NCCL" "$(grep -c 'LINVIDEO_LIBNCCL: none' said.0)" 1
fi
finish
