#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# What commands write: nothing that is there is lost, nothing is left half written. The
# command is the one in $LINVIDEO (build/linvideo).

. "$(dirname "$0")/report.sh"

linvideo=$(absolute "${LINVIDEO:-build/linvideo}")
build=$(absolute "${BUILD:-build}")
models=$(absolute "${BUILD:-build}/tests/model")
recipe=$(absolute "$(dirname "$0")/ref/tiny.json")
LINVIDEO_MODEL_PATH=${LINVIDEO_MODEL_PATH:-$models}
export LINVIDEO_MODEL_PATH

[ -x "$linvideo" ] || { echo "no $linvideo here"; exit 77; }
[ -f "$models/motion.safetensors" ] || { echo "no model in $models (make tests)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

prompt="a large red circle moving right on a blue background"

# Each command that writes, and a file of its outputs. A line: name of the output, command
printf '{"step": 1, "error": 1, "r": [1, 0], "kind": [0, 1], "rho": [0, 0], "errors": [1]}\n' \
    >lin.jsonl
cp "$models/motion.safetensors" m.safetensors
cat >commands <<'END'
v.y4m|generate -q --steps 1 --frames 1 --seed 1 -o v.y4m "a red circle"
v.png|generate -q --steps 1 --frames 1 --seed 1 -o v.png "a red circle"
v0.png|generate -q --steps 1 --frames 2 --seed 1 -o v%d.png "a red circle"
d.png|dataset --count 1 --frames 1 --size 32x32 -o d.png
d.y4m|dataset --frames 2 --size 32x32 -o d.y4m
d.spm|dataset --captions 200 --vocab 320 --tokenizer d.spm
c.safetensors|convert --part vae m.safetensors c.safetensors
c.gguf|convert --part dit m.safetensors c.gguf
e.json|eval -q --prompts 2 --steps 1 --wording plain --json e.json
e.png|eval -q --prompts 2 --steps 1 --wording plain --sheet e.png
k.json|compare -q --clips 2 --wording plain --json k.json ./m.safetensors ./m.safetensors
r.json|report --json r.json lin.jsonl
END


# --- one rule: a file that is there is refused without -y

while IFS='|' read -r file line; do
    eval "set -- $line"
    echo old >"$file"
    name="$1 $file"
    command=$1
    shift
    expects "$name: refused" 1 "$file exists; -y overwrites it" "$linvideo" "$command" "$@"
    equal "$name: it is as it was" "$(cat "$file")" old
    expects "$name: -y" 0 '' "$linvideo" "$command" -y "$@"
    equal "$name: it is another" "$(head -c 4 "$file" | grep -ac old)" 0
done <commands
echo old >charts.txt
mkdir charts && mv charts.txt charts
expects "report: a folder of charts with files" 1 'holds files; -y' \
    "$linvideo" report --plots charts lin.jsonl
expects "report: -y" 0 '' "$linvideo" report -y --plots charts lin.jsonl
[ -s charts/shares.gp ] && ok "and charts are there" || not_ok "and charts are there"

# --- never on the input, by whatever name, -y or not

ln -s m.safetensors soft.safetensors
ln m.safetensors hard.safetensors
sum=$(cksum <m.safetensors)
for name in m.safetensors ./m.safetensors soft.safetensors hard.safetensors; do
    expects "convert onto its input as $name" 2 'same file as the input' \
        "$linvideo" convert -y m.safetensors $name
done
ln -s m.safetensors soft.y4m
expects "generate onto its model" 2 'same file as the input' "$linvideo" generate -q -y \
    --steps 1 --model ./m.safetensors -o soft.y4m "$prompt"
expects "eval onto its model" 2 'same file as the input' \
    "$linvideo" eval -y -q --prompts 2 --json soft.safetensors ./m.safetensors
expects "report onto its log" 2 'same file as the input' \
    "$linvideo" report -y --json lin.jsonl lin.jsonl
equal "the input is as it was" "$(cksum <m.safetensors)" "$sum"
# --- one process in the folder of a run

sed 's/"steps": 6/"steps": 1000000/' "$recipe" >long.json
"$linvideo" train long.json >/dev/null 2>&1 &
child=$!
i=0
while [ ! -s long/autoencoder.jsonl ] && [ $i -lt 300 ]; do
    sleep 0.1
    i=$((i + 1))
done
expects "train: a second one" 1 "long: process $child uses this folder" "$linvideo" train long.json
expects "linearize: a second one" 1 "long: process $child uses this folder" \
    "$linvideo" linearize --dir long motion
expects "distill: a second one" 1 "long: process $child uses this folder" \
    "$linvideo" distill --dir long motion
kill -KILL $child
wait $child 2>/dev/null
expects "train: after the first was killed" 3 '' "$linvideo" train --until 1 long.json

# --- options are checked before the work

rm -rf run
for line in "--layers 99|linearize.layers is 99, the model has" \
    "--select 1,1|linearize.select is" "--layers 2 --select 1|lists 1 layers" \
    "--objective mse|needs trajectories with velocities" \
    "--objective step --set linearize.t_min=1|linearize.t_min is 1: expected at most" \
    "--states stream --set trajectories.clips=0 --set maps.steps=3|maps need stored states" \
    "--states stream --set trajectories.clips=0 --stage sensitivity|sensitivity needs" \
    "--set trajectories.clips=0|no stored states"; do
    # shellcheck disable=SC2086
    expects "linearize ${line%%|*}: refused" 1 "${line#*|}" "$linvideo" linearize --dir run \
        ${line%%|*} motion
    equal "linearize ${line%%|*}: before the work" "$(ls run)" ""
done
expects "distill: too many steps of the sampler" 1 'sampler_steps is 99' \
    "$linvideo" distill --dir run --sampler-steps 99 motion
equal "distill: before the work" "$(ls run)" ""
echo old >bundle.safetensors
cp "$recipe" mine.json
for command in "train mine.json" "linearize ./m.safetensors" "distill ./m.safetensors"; do
    # shellcheck disable=SC2086
    expects "${command% *} -o: refused" 1 'bundle.safetensors exists; -y' \
        "$linvideo" ${command% *} --dir run -o bundle.safetensors ${command#* }
    # shellcheck disable=SC2086
    expects "${command% *} -o: onto its input" 1 'same file as the input' \
        "$linvideo" ${command% *} --dir run -y -o ${command#* } ${command#* }
done
equal "-o: it is as it was" "$(cat bundle.safetensors)" old
cmp -s mine.json "$recipe" && ok "so is the recipe" || not_ok "so is the recipe"

# --- every call that writes fails once, and the process is killed at every such call

iofault=$build/tests/iofault.so
make=$build/tests/make_wan
[ -f "$iofault" ] && [ -x "$make" ] || finish
mkdir -p io/old/m io/good/m io/out/m
out=$work/io/out
cp m.safetensors lin.jsonl io
"$make" io/out/m "$(dirname "$recipe")/tokenizer.spm" tiny >/dev/null
cd io || exit 1

# What is written: a name, the files in out, the command
cat >writers <<'END'
y4m|v.y4m|generate -q --steps 1 --frames 1 --seed 1 -y -o out/v.y4m "a red circle"
png|p.png|generate -q --steps 1 --frames 1 --seed 1 -y -o out/p.png "a red circle"
pngs|p0.png p1.png|generate -q --steps 1 --frames 2 --seed 1 -y -o out/p%d.png "a red circle"
sheet|d.png|dataset --count 1 --frames 1 --size 32x32 -y -o out/d.png
tokenizer|d.spm|dataset --captions 200 --vocab 320 -y --tokenizer out/d.spm
safetensors|c.safetensors|convert --part vae -y m.safetensors out/c.safetensors
gguf|c.gguf|convert --part text -y m.safetensors out/c.gguf
numbers|r.json|report -y --json out/r.json lin.jsonl
manifest|m/wan.json|setup -y out/m
END

# faulty NUMBER COMMAND...: keeps errors in $said and the status in $code
faulty() {
    at=$1
    shift
    code=0
    said=$(IOFAULT_DIR=$out IOFAULT_AT=$at LD_PRELOAD=$iofault "$@" 2>&1 >/dev/null) || code=$?
}

# killed NUMBER COMMAND...: the status in $code
killed() {
    at=$1
    shift
    code=0
    (IOFAULT_DIR=$out IOFAULT_AT=$at IOFAULT_KILL=1 LD_PRELOAD=$iofault exec "$@") \
        >/dev/null 2>&1 || code=$?
}

# calls COMMAND...: how many calls write
calls() {
    IOFAULT_DIR=$out IOFAULT_COUNT=9 LD_PRELOAD=$iofault "$@" 9>&1 >/dev/null 2>&1 | wc -c
}

strays() { find out -name '.part-*' | wc -l; }

# are WHERE: the files of a writer are those of old or good
are() {
    for file in $files; do cmp -s "out/$file" "$1/$file" || return 1; done
}

# one_of WHEN: each file is the old or the new one
one_of() {
    for file in $files; do
        cmp -s "out/$file" "old/$file" || cmp -s "out/$file" "good/$file" ||
            wrong="$wrong $1: $file is neither;"
    done
}

# trial NAME FILES COMMAND...: all calls of a command, failing and killed
trial() {
    trial_name=$1 files=$2
    shift 2
    "$linvideo" "$@" >/dev/null 2>&1
    for file in $files; do mv "out/$file" "good/$file"; echo old >"old/$file"; done
    nb=$(calls "$linvideo" "$@") wrong= i=1
    while [ $i -le "$nb" ]; do
        for file in $files; do cp "old/$file" "out/$file"; done
        faulty $i "$linvideo" "$@"
        # what failed may not have been needed
        if [ "$code" != 0 ] || ! are good; then
            [ "$code" = 1 ] && [ "$(echo "$said" | wc -l)" = 1 ] &&
                [ "$(echo "$said" | grep -c '^linvideo: .*No space left')" = 1 ] ||
                wrong="$wrong call $i fails: status $code, $said;"
        fi
        one_of "call $i fails"
        [ "$(strays)" = 0 ] || wrong="$wrong call $i fails: strays;"
        killed $i "$linvideo" "$@"
        [ "$code" = 137 ] || wrong="$wrong call $i kills: status $code;"
        one_of "call $i kills"
        "$linvideo" "$@" >/dev/null 2>&1 && are good && [ "$(strays)" = 0 ] ||
            wrong="$wrong again after call $i killed: $(ls -A out);"
        i=$((i + 1))
    done
    [ "$nb" -ge 6 ] && [ -z "$wrong" ] && ok "$trial_name: $nb calls fail and kill" ||
        not_ok "$trial_name: $nb calls fail and kill" "$wrong"
    rm -f out/*.*
}

while IFS='|' read -r name files line; do
    eval "trial \"\$name\" \"\$files\" $line" </dev/null
done <writers 2>/dev/null

# A signal that comes twice at once is one: what was begun is cleared away.
IOFAULT_DIR=$out IOFAULT_WAIT=500 LD_PRELOAD=$iofault \
    "$linvideo" convert -y m.safetensors out/s.safetensors >stopped 2>&1 &
child=$! i=0
while [ "$(strays)" = 0 ] && [ $i -lt 300 ]; do
    sleep 0.1
    i=$((i + 1))
done
sleep 0.1
kill -TERM $child
sleep 0.1
kill -TERM $child
code=0
wait $child || code=$?
equal "convert: SIGTERM twice at once" "$code $(cat stopped)" "143 linvideo: stopped"
equal "and nothing is left" "$(ls -A out | grep -v '^m$')" ""

# The cache of prompts may not be there: the video is.
XDG_CACHE_HOME=$out
export XDG_CACHE_HOME
cat >cache.sh <<END
exec "$linvideo" generate -q --prompt_cache on --steps 1 --frames 1 --seed 1 -y -o v.y4m cat
END
sh cache.sh && cp v.y4m good
rm -rf out/linvideo
nb=$(calls sh cache.sh) wrong= i=1
while [ $i -le "$nb" ]; do
    rm -rf out/linvideo v.y4m
    faulty $i sh cache.sh
    [ "$code" = 0 ] && cmp -s v.y4m good/v.y4m && [ "$(strays)" = 0 ] ||
        wrong="$wrong call $i fails: status $code, $said;"
    rm -rf out/linvideo
    killed $i sh cache.sh
    sh cache.sh && cmp -s v.y4m good/v.y4m && [ "$(find out/linvideo -type f | wc -l)" = 2 ] ||
        wrong="$wrong again after call $i killed: $(find out/linvideo);"
    i=$((i + 1))
done 2>/dev/null
[ "$nb" -ge 6 ] && [ -z "$wrong" ] && ok "prompt cache: $nb calls fail and kill" ||
    not_ok "prompt cache: $nb calls fail and kill" "$wrong"
rm -rf out/linvideo

# A training goes on to the same bits; of its calls every ninth.
"$linvideo" train --dir out/t "$recipe" >/dev/null 2>&1
mv out/t/model.safetensors good
rm -rf out/t
nb=$(calls "$linvideo" train --dir out/t "$recipe") wrong= i=2
while [ $i -le "$nb" ]; do
    rm -rf out/t
    faulty $i "$linvideo" train --dir out/t "$recipe"
    [ "$code" = 0 ] || [ "$(echo "$said" | grep -c 'No space left')" = 1 ] ||
        wrong="$wrong call $i fails: status $code, $said;"
    [ "$(strays)" = 0 ] || wrong="$wrong call $i fails: strays;"
    killed $((i + 4)) "$linvideo" train --dir out/t "$recipe"
    "$linvideo" train --dir out/t "$recipe" >/dev/null 2>&1 &&
        cmp -s out/t/model.safetensors good/model.safetensors ||
        wrong="$wrong again after call $i: other bits;"
    i=$((i + 9))
done 2>/dev/null
[ "$nb" -ge 30 ] && [ -z "$wrong" ] && ok "train: of $nb calls some fail and kill" ||
    not_ok "train: of $nb calls some fail and kill" "$wrong"

finish
