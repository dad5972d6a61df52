#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The method on Wan's own files, tiny and random: a manifest is linearized and distilled,
# stopped and gone on with; what comes out is converted and makes frames.

. "$(dirname "$0")/report.sh"

linvideo=$(absolute "${LINVIDEO:-build/linvideo}")
make=$(absolute "${BUILD:-build}/tests/make_wan")
ffmpeg=$(absolute "${FFMPEG_LINVIDEO:-${BUILD:-build}/ffmpeg-linvideo}")
parity=$(absolute "${BUILD:-build}/tests/parity")
compare=$(absolute "$(dirname "$0")/../samples/pytorch/compare.py")
spm=$(absolute "$(dirname "$0")/ref/tokenizer.spm")

[ -x "$linvideo" ] && [ -x "$make" ] || { echo "no $linvideo or $make here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME

small="--precision f32 --size 64x64 --clip-frames 5 --prompts prompts.txt
    --set trajectories.clips=2 --set trajectories.steps=3 --set maps.steps=2
    --set maps.batch=1 --set linearize.batch=2 --set linearize.micro=1
    --set distill.batch=1 --set distill.micro=1 --set fake.ratio=1"

# shellcheck disable=SC2086
linearize() { "$linvideo" linearize $small --layers 1 --steps 4 "$@"; }

# shellcheck disable=SC2086
distill() { "$linvideo" distill $small --steps 2 --set distill.sampler_steps=2 "$@"; }

# hash MODEL [OPTION...]: of the frames it makes
hash() {
    hash_model=$1
    shift
    "$linvideo" generate --model "$hash_model" --precision f32 --steps 2 --guidance 1 --seed 1 \
        -y -o out.y4m "$@" "a red circle" 2>said || { cat said; return; }
    cksum <out.y4m
}

# states DIR: the bytes that were sampled there
states() { cksum <"$1/trajectories.safetensors"; }

# sampled NAME MANIFEST: its teacher samples other states than the first manifest's
sampled() {
    rm -rf other
    expects "$1" 0 'trajectories 0/2' linearize --dir other --stage trajectories "$2"
    if [ "$(states other)" != "$(states lin)" ]; then ok "$1 counts"; else
        not_ok "$1 counts" "the same states"
    fi
}

mkdir a
succeeds "random weights" "$make" a "$spm" tiny
succeeds "setup" "$linvideo" setup a
printf 'a red circle\nwaves at night\n' >prompts.txt
sed 's/{/{ "negative_prompt": "blue", /' a/wan.json >a/negative.json
sed 's/{/{ "sampler": { "shift": 3 }, /' a/wan.json >a/shift.json
sed 's/{/{ "sampler": { "guidance": 2 }, /' a/wan.json >a/guidance.json

expects "no prompts" 1 'give some \(--prompts FILE\)' \
    "$linvideo" linearize --dir no --size 64x64 --clip-frames 5 a/wan.json
expects "a name that is no manifest's" 1 'expected a name that ends in .json' \
    linearize --dir no -o lin.safetensors a/wan.json
expects "a section that is none" 1 'r.json: linearize: expected an object' \
    sh -c 'echo "{\"linearize\": 1}" >r.json
           "$0" linearize --recipe r.json a/wan.json' "$linvideo"
expects "a change of it" 1 'linearize of the recipe: expected an object' \
    "$linvideo" linearize --recipe r.json --set linearize.steps=1 a/wan.json
expects "a setting that is none" 1 'linearize.map is not a setting' \
    sh -c 'echo "{\"linearize\": {\"map\": 1}}" >r.json
           "$0" linearize --recipe r.json a/wan.json' "$linvideo"

# keeps NAME FILE COMMAND...: refused, and what lies at FILE stays as it is
keeps() {
    keeps_name=$1 keeps_file=$2 before=$(cksum <"$2")
    shift 2
    expects "$keeps_name: refused" 1 'the output is the same file as the input|exists; -y' "$@"
    if [ "$(cksum <"$keeps_file")" = "$before" ]; then ok "$keeps_name: it stays"; else
        not_ok "$keeps_name: it stays"
    fi
}

mkdir b
cp a/dit.safetensors b/model.safetensors
cp a/text.safetensors a/vae.safetensors b
sed 's/dit.safetensors/model.safetensors/' a/wan.json >b/wan.json
cp b/wan.json b/model.json
echo mine >mine.safetensors
keeps "over the teacher's network" b/model.safetensors \
    linearize --dir no -y -o b/model.json b/wan.json
keeps "over its text encoder" b/text.safetensors linearize --dir no -y -o b/text.json b/wan.json
keeps "over the model, by default" b/model.json linearize --dir b b/model.json
keeps "over another file" mine.safetensors linearize --dir no -o mine.json b/wan.json
keeps "over the student's network" b/model.safetensors \
    distill --dir no -y -o b/model.json --teacher a/wan.json b/wan.json

# As caches of downloads have them: names are links to files without an ending.
mkdir c store
for file in dit text vae; do
    cp "a/$file.safetensors" "store/$file"
    ln -s "../store/$file" "c/$file.safetensors"
done
cp a/wan.json c
expects "names that are links" 0 'wrote link.json' linearize --dir link -o link.json c/wan.json
expects "are named" 0 '"text": ".*/c/text.safetensors"' cat link.json
cp -r a "$(printf 'n\377')"
expects "a path that is not UTF-8" 1 'no path that a manifest can hold' \
    linearize --dir no "$(printf 'n\377')/wan.json"

expects "stopped at a step" 3 'linearize 2/4: error' linearize --dir lin --until 2 a/wan.json
expects "to the end" 0 'wrote lin/model.json; its velocities differ' \
    linearize --dir lin a/wan.json
expects "the same without a stop" 0 'wrote once.json' \
    linearize --dir once -o once.json a/wan.json
cmp -s lin/model.safetensors once.safetensors && ok "the same network" ||
    not_ok "the same network"
expects "another size" 1 'expected latents of \[16,[0-9]*,8,10\] as of the model, got \[16,[0-9]*,8,8\]' \
    linearize --dir lin --size 80x64 a/wan.json
linearize --dir wide --size 96x64 --stage trajectories a/wan.json 2>/dev/null
expects "the same size, turned" 1 'expected latents of \[16,[0-9]*,12,8\] as of the model, got \[16,[0-9]*,8,12\]' \
    linearize --dir wide --size 64x96 a/wan.json
mkdir sizes
expects "a run that stops" 3 'linearize 2/4: error' linearize --dir sizes --until 2 a/wan.json
rm sizes/trajectories.safetensors
expects "it does not go on at another size" 1 'made with other settings' \
    linearize --dir sizes --size 80x64 a/wan.json
expects "another negative prompt" 1 'trajectories of (another )?teacher' \
    linearize --dir lin a/negative.json
sampled "the negative prompt" a/negative.json
sampled "the sampler's times" a/shift.json
sampled "the guidance scale" a/guidance.json

expects "kinds of layers, of the maps alone" 0 'attention +(linear in layer [01]|softmax)' \
    "$linvideo" inspect lin/model.json
expects "one is linear" 0 'linear in layer [01]' "$linvideo" inspect lin/model.json
first=$(hash lin/model.json)
if [ "$first" != "$(hash a/wan.json --size 64x64 --clip-frames 5)" ]; then
    ok "frames of its own"
else
    not_ok "frames of its own"
fi
succeeds "convert: a bundle" "$linvideo" convert --type f32 lin/model.json bundle.safetensors
equal "the bits of the parts" "$(hash ./bundle.safetensors)" "$first"

# other NAME FILE: the network in another form makes frames
other() {
    sed "s#model.safetensors#../$2#" lin/model.json >lin/other.json
    expects "$1: kinds" 0 'linear in layer [01]' "$linvideo" inspect lin/other.json
    expects "$1: maps" 0 'map +taylor, 16 columns, eps 0.001' "$linvideo" inspect lin/other.json
    expects "$1: frames" 0 '^[0-9]+ [0-9]+$' hash lin/other.json
}

expects "maps of another kind" 0 'wrote lin/model.json' linearize --dir lin -y \
    --map taylor --set linearize.feature_eps=0.001 --dir tay -o lin/model.json a/wan.json
for eps in abc__________ "             " nan__________; do
    eps=$(echo "$eps" | tr _ ' ')
    LC_ALL=C sed "s/0.00100000005/$eps/" lin/model.safetensors >lin/eps.safetensors
    sed 's/model.safetensors/eps.safetensors/' lin/model.json >lin/eps.json
    expects "eps '$eps'" 1 "feature_eps is '$eps', expected a number from 0 to 0.1" \
        "$linvideo" inspect lin/eps.json
done
cp lin/model.safetensors tay.safetensors
for to in "f16 f16.safetensors" "fp8 fp8.safetensors" "q8_0 q8.gguf" "q4_k q4.gguf"; do
    # shellcheck disable=SC2086
    set -- $to
    succeeds "convert: $1" "$linvideo" convert --part dit --type "$1" lin/model.safetensors "$2"
    other "$1" "$2"
done

# On from a model that has linear layers: these stay so.

layer=$("$linvideo" inspect once.json | sed -n 's/.*linear in layer \([01]\).*/\1/p')
expects "no teacher" 1 'once.json: has linear layers already; expected --teacher' \
    linearize --dir no once.json
expects "further layers" 0 'linear layers 0 1' \
    linearize --dir on --layers 2 --teacher a/wan.json once.json
expects "both are linear" 0 'linear in layers 0 to 1' "$linvideo" inspect on/model.json
expects "sensitivity beside what is linear" 0 "^$((1 - layer)) 0\\.[0-9]*[1-9]" \
    linearize --dir on --layers 2 --stage sensitivity --teacher a/wan.json once.json
for select in learned first greedy; do
    expects "further training, $select" 0 "linear layers $layer\$" \
        linearize --dir "more-$select" --select $select --teacher a/wan.json once.json
done
differ_from_once() { ! cmp -s once.safetensors "$1"; }
succeeds "it learned" differ_from_once more-first/model.safetensors
expects "further training: of maps only" 0 'wrote maps/model.json' \
    linearize --dir maps --only maps a/wan.json
expects "all else has the same bits" 0 \
    ' 0 matrices as factors of rank 0 to 0, 0 whole, 27 within 1e-06 of themselves; 0 vectors' \
    "$linvideo" convert --delta a/wan.json --error 1e-6 maps/model.json only.safetensors
expects "fewer layers" 1 'linearize.layers is 1, the model has 2 linear layers already' \
    linearize --dir no --teacher a/wan.json on/model.json
expects "another map" 1 'have maps hedgehog of 128 columns; expected the same of' \
    linearize --dir no --map relu --teacher a/wan.json once.json
expects "a list without what is linear" 1 "linearize.select lacks layer $layer, which is" \
    linearize --dir no --select $((1 - layer)) --teacher a/wan.json once.json

# A delta makes the linear network of the one that it began as, in whatever form that is.

# psnr FILE: dB of its frames against one.y4m, a whole number
psnr() {
    ffmpeg -v info -i one.y4m -i "$1" -lavfi psnr -f null - 2>&1 |
        sed -n 's/.*average:inf.*/99/p; s/.*average:\([0-9]*\)\..*/\1/p'
}

# near NAME LEAST MODEL [OPTION...]: its frames are those of once.json to so many dB
near() {
    near_name=$1 least=$2
    shift 2
    hash "$@" --size 64x64 --clip-frames 5 --frames 5 >hash
    db=$(psnr out.y4m)
    if [ "${db:-0}" -ge "$least" ]; then ok "$near_name: $db dB"; else
        not_ok "$near_name" "$db dB: $(cat hash)"
    fi
}

hash once.json >/dev/null
mv out.y4m one.y4m
expects "delta" 0 'maps of 1 linear layers; [1-9][0-9]* matrices as factors of rank .* 0 within' \
    "$linvideo" convert --delta a/wan.json --error 0.0005 once.json delta.safetensors
near "a LoRA of the command line" 55 a/wan.json --lora delta.safetensors
sed 's/{/{ "loras": [{ "file": "..\/delta.safetensors" }], /' a/wan.json >a/delta.json
near "a LoRA of a manifest" 55 a/delta.json
expects "its kinds of layers" 0 'linear in layer [01], softmax in layer [01]' \
    "$linvideo" inspect a/delta.json
"$linvideo" convert --type f32 a/wan.json base.safetensors 2>said
near "on a bundle" 55 ./base.safetensors --lora delta.safetensors
"$linvideo" convert --type q8_0 a/dit.safetensors a/q8.gguf
sed 's/dit.safetensors/q8.gguf/' a/wan.json >a/q8.json
near "on GGUF" 55 a/q8.json --lora delta.safetensors
expects "delta: with little" 0 'matrices as factors of rank 0 to 0, 0 whole, 2[0-9] within' \
    "$linvideo" convert --delta a/dit.safetensors --error 0.5 once.safetensors maps.safetensors
expects "delta: none in half" 1 'delta.safetensors: holds maps of linear layers: expected weight 1' \
    "$linvideo" generate --model a/wan.json --lora delta.safetensors@0.5 -y -o out.y4m cat
expects "delta: one" 1 'maps.safetensors: holds maps of linear layers, as delta.safetensors does' \
    "$linvideo" generate --model a/wan.json --lora "delta.safetensors|maps.safetensors" \
    -y -o out.y4m cat
expects "delta: not of a linear base" 1 'has linear layers; expected a base of softmax layers' \
    "$linvideo" convert --delta once.json a/dit.safetensors no.safetensors
expects "delta: not of the same" 1 'is the same network as a/wan.json: nothing to write' \
    "$linvideo" convert --delta a/wan.json a/dit.safetensors no.safetensors
expects "delta: not on a linear base" 1 'self_attn.map_k.weight is there, and in the file' \
    "$linvideo" generate --model once.json --lora delta.safetensors -y -o out.y4m cat
expects "delta: not as GGUF" 2 'no.gguf: a delta is a .safetensors file' \
    "$linvideo" convert --delta a/wan.json once.json no.gguf
expects "delta: the error" 2 "option error: expected a number from 0 to 1, got 'x'" \
    "$linvideo" convert --delta a/wan.json --error x once.json no.safetensors

# The same in PyTorch, where it is installed: PYTHON names the interpreter.
if "${PYTHON:-python3}" -c 'import torch' 2>said; then
    for model in once.safetensors on/model.safetensors tay.safetensors fp8.safetensors; do
        expects "PyTorch: $model" 0 'out.velocity' "${PYTHON:-python3}" "$compare" \
            --parity "$parity" $model
    done
fi

expects "distill: stopped" 3 'distill 1/2: error' \
    distill --dir four --until 1 --teacher a/wan.json once.json
expects "distill: to the end" 0 'wrote four/model.json: 2 steps, guidance 1' \
    distill --dir four --teacher a/wan.json once.json
expects "its steps are its own" 0 'sampler +renoise, 2 steps, shift [0-9.]+, guidance 1' \
    "$linvideo" inspect four/model.json
expects "and its layers" 0 'linear in layer [01]' "$linvideo" inspect four/model.json
expects "it makes frames" 0 '5 frames of 64x64' "$linvideo" generate -y --model four/model.json \
    --seed 1 -o four.y4m "a red circle"

# Clips while it learns are those that the model makes: nothing is moved here.

# cell SHEET TOP VIDEO: dB, a whole number, from the first frame of a row to that of a video
cell() {
    ffmpeg -v info -i "$1" -i "$3" -frames:v 1 -f null - -lavfi "[0]crop=64:64:0:$2,format=gbrp[a];
        [1]select=eq(n\\,0),format=gbrp[b];[a][b]psnr" 2>&1 |
        sed -n 's/.*average:inf.*/99/p; s/.*average:\([0-9]*\)\..*/\1/p'
}

# drawn NAME SHEET MODEL [OPTION...]: its first row, not its second, is the model's
drawn() {
    drawn_name=$1 sheet=$2 drawn_by=$3
    shift 3
    "$linvideo" generate -q --model "$drawn_by" --precision f32 --seed 1 --format yuv444p -y \
        -o drawn.y4m "$@" "a red circle"
    first_row=$(cell "$sheet" 0 drawn.y4m) second_row=$(cell "$sheet" 68 drawn.y4m)
    if [ "${first_row:-0}" -ge 50 ] && [ "${second_row:-99}" -lt 50 ]; then ok "$drawn_name"; else
        not_ok "$drawn_name" "$first_row and $second_row dB"
    fi
}

expects "samples" 0 'wrote drawn/model.json' linearize --dir drawn --select first --samples 4 \
    --set trajectories.solver=euler --set linearize.lr=0 --set linearize.lr_map=0 a/wan.json
drawn "samples: linearize" drawn/linearize-000004.png drawn/model.json --sampler euler --steps 3
expects "samples of few steps" 0 'wrote drawn4/model.json' distill --dir drawn4 --samples 2 \
    --set distill.lr=0 --teacher a/wan.json drawn/model.json
drawn "samples: distill" drawn4/distill-000002.png drawn4/model.json

# The whole way: stopped twice, on with two ranks and with one, published, converted, through
# ffmpeg where the filter is built, distilled, compared.

chain() {
    linearize --dir chain --threads 1 --device cpu --steps 40 "$@" a/wan.json
}

# steps: those that the log has, once each
steps() { sed -E 's/.*"step": ?([0-9]+).*/\1/' chain/linearize.jsonl | uniq | wc -l; }

ranks 1 chain --until 13
equal "40 steps: stopped" "$codes $(steps)" "3 13"
ranks 2 chain --until 29
equal "on with two ranks" "$codes $(steps)" "33 29"
ranks 1 chain
equal "and with one to the end" "$codes $(steps)" "0 40"
expects "one is linear, of 40 steps" 0 'linear in layer [01]' "$linvideo" inspect chain/model.json
for to in "fp8 fp8.safetensors" "q8_0 q8.gguf"; do
    # shellcheck disable=SC2086
    set -- $to
    succeeds "to $1" "$linvideo" convert --type "$1" chain/model.safetensors "chain/$2"
    sed "s#model.safetensors#$2#" chain/model.json >"chain/$1.json"
    [ -x "$ffmpeg" ] || continue
    expects "$1 through ffmpeg" 0 'frame=5' "$ffmpeg" -v error -nostdin -f lavfi -i \
        "linvideo=model=chain/$1.json:prompt=a red circle:steps=2:guidance=1:seed=1" \
        -f null - -progress -
done
expects "distilled" 0 'wrote chain4/model.json: 2 steps' \
    distill --dir chain4 --teacher a/wan.json chain/model.json
sed 's/{/{ "video": { "width": 64, "height": 64, "frames": 5 }, "sampler": { "steps": 2 }, /' \
    a/wan.json >a/small.json
expects "compared with the teacher" 0 'chain4/model.json' "$linvideo" compare --clips 2 -q \
    --prompts prompts.txt chain/model.json chain4/model.json a/small.json

finish
