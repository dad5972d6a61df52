#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# What commands write: nothing that is there is lost, nothing is left half written. The
# command is the one in $LINVIDEO (build/linvideo).

. "$(dirname "$0")/report.sh"

linvideo=$(absolute "${LINVIDEO:-build/linvideo}")
build=$(absolute "${BUILD:-build}")
models=$(absolute "$(dirname "$0")/model")
recipe=$(absolute "$(dirname "$0")/ref/tiny.json")
LINVIDEO_MODEL_PATH=${LINVIDEO_MODEL_PATH:-$models}
export LINVIDEO_MODEL_PATH

[ -x "$linvideo" ] || { echo "no $linvideo here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

prompt="a large red circle moving right on a blue background"

# run COMMAND...: keeps what it says in $said, its status in $code
run() {
    code=0
    said=$("$@" 2>&1) || code=$?
}

# says NAME STATUS PATTERN COMMAND...: one line that fits the pattern
says() {
    says_name=$1 wanted=$2 pattern=$3
    shift 3
    run "$@"
    if [ "$code" = "$wanted" ] && echo "$said" | grep -qE -e "$pattern"; then
        ok "$says_name"
    else
        not_ok "$says_name" "status $code, not $wanted, or no \"$pattern\": $said"
    fi
}

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
    says "$name: refused" 1 "$file exists; -y overwrites it" "$linvideo" "$command" "$@"
    equal "$name: it is as it was" "$(cat "$file")" old
    says "$name: -y" 0 '' "$linvideo" "$command" -y "$@"
    equal "$name: it is another" "$(head -c 4 "$file" | grep -ac old)" 0
done <commands
echo old >charts.txt
mkdir charts && mv charts.txt charts
says "report: a folder of charts with files" 1 'holds files; -y' \
    "$linvideo" report --plots charts lin.jsonl
says "report: -y" 0 '' "$linvideo" report -y --plots charts lin.jsonl
[ -s charts/shares.gp ] && ok "and charts are there" || not_ok "and charts are there"

# --- never on the input, by whatever name, -y or not

ln -s m.safetensors soft.safetensors
ln m.safetensors hard.safetensors
sum=$(cksum <m.safetensors)
for name in m.safetensors ./m.safetensors soft.safetensors hard.safetensors; do
    says "convert onto its input as $name" 2 'same file as the input' \
        "$linvideo" convert -y m.safetensors $name
done
ln -s m.safetensors soft.y4m
says "generate onto its model" 2 'same file as the input' "$linvideo" generate -q -y \
    --steps 1 --model ./m.safetensors -o soft.y4m "$prompt"
says "eval onto its model" 2 'same file as the input' \
    "$linvideo" eval -y -q --prompts 2 --json soft.safetensors ./m.safetensors
says "report onto its log" 2 'same file as the input' \
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
says "train: a second one" 1 "long: process $child uses this folder" "$linvideo" train long.json
says "linearize: a second one" 1 "long: process $child uses this folder" \
    "$linvideo" linearize --dir long motion
says "distill: a second one" 1 "long: process $child uses this folder" \
    "$linvideo" distill --dir long motion
kill -KILL $child
wait $child 2>/dev/null
says "train: after the first was killed" 3 '' "$linvideo" train --until 1 long.json

# --- options are checked before the work

rm -rf run
for line in "--layers 99|linearize.layers is 99, the model has" \
    "--select 1,1|linearize.select is" "--layers 2 --select 1|lists 1 layers" \
    "--objective mse|wants trajectories with velocities" \
    "--set trajectories.clips=0|no stored states"; do
    # shellcheck disable=SC2086
    says "linearize ${line%%|*}: refused" 1 "${line#*|}" "$linvideo" linearize --dir run \
        ${line%%|*} motion
    equal "linearize ${line%%|*}: before the work" "$(ls run)" ""
done
says "distill: too many steps of the sampler" 1 'sampler_steps is 99' \
    "$linvideo" distill --dir run --sampler-steps 99 motion
equal "distill: before the work" "$(ls run)" ""
echo old >bundle.safetensors
cp "$recipe" mine.json
for command in "train mine.json" "linearize ./m.safetensors" "distill ./m.safetensors"; do
    # shellcheck disable=SC2086
    says "${command% *} -o: refused" 1 'bundle.safetensors exists; -y' \
        "$linvideo" ${command% *} --dir run -o bundle.safetensors ${command#* }
    # shellcheck disable=SC2086
    says "${command% *} -o: onto its input" 1 'same file as the input' \
        "$linvideo" ${command% *} --dir run -y -o ${command#* } ${command#* }
done
equal "-o: it is as it was" "$(cat bundle.safetensors)" old
cmp -s mine.json "$recipe" && ok "so is the recipe" || not_ok "so is the recipe"

finish
