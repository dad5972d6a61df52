#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Models of separate files by the command: setup, convert, inspect, generate, with tiny
# random weights.

. "$(dirname "$0")/report.sh"

linvideo=$(absolute "${LINVIDEO:-build/linvideo}")
make=$(absolute "${BUILD:-build}/tests/make_wan")
spm=$(absolute "$(dirname "$0")/ref/tokenizer.spm")

[ -x "$linvideo" ] && [ -x "$make" ] || { echo "no $linvideo or $make here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
mkdir a b
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME

# hash MODEL: of the frames it makes
hash() {
    "$linvideo" generate --model "$1" --precision f32 --size 64x64 --frames 5 \
        --clip-frames 5 --steps 2 --guidance 1 --seed 1 -y -o out.y4m "a red circle" \
        2> said || { cat said; return; }
    cksum < out.y4m
}

# same NAME MODEL: it makes the frames of the first model
same() { equal "$1" "$(hash "$2")" "$first"; }

# matches NAME TEXT PATTERN
matches() {
    if printf '%s\n' "$2" | grep -qE -e "$3"; then ok "$1"; else
        not_ok "$1" "no \"$3\": $2"
    fi
}

# fails NAME PATTERN COMMAND...
fails() {
    fails_name=$1 pattern=$2
    shift 2
    if said=$("$@" 2>&1); then
        not_ok "$fails_name" "it succeeds"
    elif echo "$said" | grep -qE -e "$pattern"; then
        ok "$fails_name"
    else
        not_ok "$fails_name" "no \"$pattern\": $said"
    fi
}

# only FILES...: the folder b holds links to these of a
only() {
    rm -f b/*
    for file; do ln -s "$work/a/$file" b; done
}

succeeds "random weights" "$make" a "$spm" tiny
succeeds "setup" "$linvideo" setup a
first=$(hash a/wan.json)
mkdir "it's a" && ln -s "$work"/a/*.safetensors "it's a"
eval "set -- $("$linvideo" setup "it's a" | tail -n 1)"
equal "setup: the command that it suggests is one for a shell" "$1 $2 $3 $4" \
    "linvideo generate --model it's a/wan.json"
equal "frames come out" "$(($(wc -c < out.y4m) / (64 * 64 * 3 / 2)))" 5

# convert

for type in f32 bf16 f16; do
    succeeds "convert: bundle of $type" \
        "$linvideo" convert --type $type a/wan.json $type.safetensors
done
same "bundle of f32" f32.safetensors
same "bundle of bf16" bf16.safetensors
succeeds "convert: a network of a bundle" \
    "$linvideo" convert --part dit --type f32 bf16.safetensors a/dit-32.safetensors
only dit-32.safetensors text.safetensors vae.safetensors
succeeds "setup: of it" "$linvideo" setup b
same "a network of a bundle" b/wan.json
for type in bf16 q8_0 q6_k q4_k; do
    succeeds "convert: $type" \
        "$linvideo" convert --type $type a/dit.safetensors a/dit-$type.gguf
    only dit-$type.gguf text.safetensors vae.safetensors
    succeeds "setup: $type" "$linvideo" setup b
    matches "inspect: $type" "$("$linvideo" inspect b/wan.json)" \
        "dit .*$(echo $type | tr a-z A-Z)"
    hash b/wan.json > hash
    matches "generate: $type" "$(cat hash)" '^[0-9]+ [0-9]+$'
done
succeeds "convert: text encoder to GGUF" \
    "$linvideo" convert a/text.safetensors a/text.gguf
only dit.safetensors text.gguf vae.safetensors
succeeds "setup: its tokenizer is in it" "$linvideo" setup b
same "text encoder in GGUF" b/wan.json
succeeds "convert: and back" "$linvideo" convert --type f32 a/text.gguf a/text-32.safetensors
only dit.safetensors text-32.safetensors vae.safetensors
succeeds "setup: the tokenizer is in it too" "$linvideo" setup b
same "text encoder out of GGUF" b/wan.json
keys=$(tr '\0' '\n' <a/text.gguf | grep -aoE '(general|t5encoder|tokenizer\.ggml)\.[a-z_.]+' |
    sort -u | tr '\n' ' ')
for key in t5encoder.block_count t5encoder.context_length t5encoder.embedding_length \
    t5encoder.feed_forward_length t5encoder.attention.head_count \
    t5encoder.attention.layer_norm_rms_epsilon t5encoder.attention.relative_buckets_count \
    tokenizer.ggml.model tokenizer.ggml.tokens tokenizer.ggml.scores \
    tokenizer.ggml.token_type tokenizer.ggml.eos_token_id; do
    matches "convert: $key" "$keys" "$key"
done
equal "convert: whose architecture is" \
    "$(head -c 100 a/text.gguf | grep -ac 'general.architecture.*t5encoder')" 1
only dit.safetensors vae.safetensors
LC_ALL=C sed 's/tokenizer.ggml.tokens/tokenizer.ggml.nobody/' a/text.gguf >b/bare.gguf
fails "setup: no tokenizer" 'no tokenizer' "$linvideo" setup b
matches "convert: no tokenizer" "$("$linvideo" convert b/bare.gguf bare.gguf 2>&1)" \
    'bare.gguf will hold none; --tokenizer'
succeeds "convert: a tokenizer put in" \
    "$linvideo" convert --tokenizer "$spm" --type f32 b/bare.gguf a/full.gguf
cp "$spm" b
succeeds "setup: a tokenizer beside" "$linvideo" setup b
same "text encoder without one" b/wan.json
only dit.safetensors full.gguf vae.safetensors
succeeds "setup: the one put in" "$linvideo" setup b
same "text encoder with another's tokenizer" b/wan.json

# 8 bits with scales, decoded when the weights are packed: the clip stays close to that of 16

video() {
    "$linvideo" generate -q --device cpu --precision f32 --model "$1" --size 64x64 --frames 5 \
        --clip-frames 5 --steps 2 --guidance 1 --seed 1 -y -o "$2" cat
}

# psnr ONE OTHER: dB, the average over frames and planes
psnr() {
    ffmpeg -v info -i "$1" -i "$2" -lavfi psnr -f null - 2>&1 |
        sed -n 's/.*average:\([0-9.]*\|inf\) .*/\1/p'
}

only dit.safetensors text.safetensors vae.safetensors
"$linvideo" setup b >/dev/null 2>&1
video b/wan.json 16.y4m
for type in fp8:F8_E4M3:45 int8:I8:55; do
    IFS=: read -r name dtype least <<END
$type
END
    succeeds "convert: $name with scales" \
        "$linvideo" convert --type $name a/dit.safetensors a/dit-8.safetensors
    only dit-8.safetensors text.safetensors vae.safetensors
    succeeds "setup: $name" "$linvideo" setup b
    matches "inspect: $name" "$("$linvideo" inspect b/wan.json)" "dit .*$dtype"
    video b/wan.json 8.y4m
    matches "$name is close to 16 bits: $(psnr 16.y4m 8.y4m) dB" \
        "$(psnr 16.y4m 8.y4m | awk -v least=$least '{ print ($1 == $1 + 0 && $1 > least) }')" 1
    rm a/dit-8.safetensors
done

# A bundle keeps all settings of a manifest. With guidance the negative prompt matters.
mkdir c
for file in dit text vae; do ln -s "$work/a/$file.safetensors" c; done
cat >c/wan.json <<'END'
{ "dit": "dit.safetensors", "text": "text.safetensors", "vae": "vae.safetensors",
  "negative_prompt": "green waves", "video": { "width": 48, "height": 32, "frames": 5 },
  "sampler": { "solver": "euler", "steps": 3, "shift": 2, "guidance": 4 } }
END
succeeds "convert: a manifest with settings" \
    "$linvideo" convert --type f32 c/wan.json set.safetensors
succeeds "convert: its bundle again" \
    "$linvideo" convert --type f32 set.safetensors again.safetensors
for model in c/wan.json set.safetensors again.safetensors; do
    "$linvideo" generate -q --precision f32 --seed 1 --model ./$model -y -o out.y4m cat
    cksum <out.y4m
done >sums
equal "settings of a manifest are in its bundle" "$(sort -u sums | wc -l)" 1
"$linvideo" generate -q --precision f32 --seed 1 --model ./set.safetensors \
    --negative_prompt red -y -o out.y4m cat
equal "the negative prompt is one of them" "$(cksum <out.y4m | grep -cFf - sums)" 0
# unused MODEL GUIDANCE: whether its negative prompt is said to be of no use
unused() {
    "$linvideo" generate --model "$1" --guidance "$2" --size 64x64 --clip-frames 1 --frames 1 \
        --steps 1 -y -o out.y4m cat >used 2>&1 ||
        cat used
    grep -c 'negative_prompt: it is not used with guidance 1' used
}
for guidance in 1 4; do
    unused ./c/wan.json $guidance
    unused ./a/wan.json $guidance
done >said || true
equal "a manifest's own negative prompt without use is said, Wan's is not" "$(tr '\n' ' ' <said)" \
    "1 0 0 0 "
equal "bundle of a bundle has the same configuration" \
    "$(head -c 4000 again.safetensors | grep -ao '"linvideo.config":"[^}]*')" \
    "$(head -c 4000 set.safetensors | grep -ao '"linvideo.config":"[^}]*')"

# setup

fails "setup: two networks" 'say which with --dit' "$linvideo" setup a
succeeds "setup: a network is named" "$linvideo" setup --dit dit.safetensors \
    --text text.safetensors a
only text.safetensors vae.safetensors
fails "setup: no network" 'no network for text to video' "$linvideo" setup b
echo PK > b/models_t5.pth
matches "setup: PyTorch files are named" "$("$linvideo" setup b 2>&1)" 'PyTorch file'
printf 'PK\003\004' > b/models.bin
truncate -s 300M b/models.bin
matches "setup: of any size" "$("$linvideo" setup b 2>&1 | grep models.bin)" 'PyTorch file'
rm b/models.bin
# A manifest that is there: what was put in by hand stays, it is whole or as it was.
only dit.safetensors text.safetensors vae.safetensors
"$linvideo" setup b >/dev/null
before=$(cat b/wan.json)
sed 's/blocks.1.norm3.bias/blocks.1.norm3.bios/' a/dit.safetensors >b/bad.safetensors
fails "setup: files that do not open" 'b/wan.json|norm3' "$linvideo" setup --dit bad.safetensors b
equal "setup: the manifest is as it was" "$(cat b/wan.json)" "$before"
equal "setup: nothing of its part is said" "$(echo "$said" | grep -c part-)" 0
equal "setup: nothing else is left" "$(ls -A b | grep -c part)" 0
rm b/bad.safetensors
sed '$d' b/wan.json | sed '$s/$/, "sampler": { "steps": 30 }, "negative_prompt": "dull" }/' >new.json
cp new.json b/wan.json
matches "setup: says what is kept" "$("$linvideo" setup b)" '^kept .*sampler, negative_prompt'
matches "setup: what was put in by hand" "$(cat b/wan.json)" '"steps": 30'
sed 's/"preset": "[a-z0-9.]*"/"preset": "lightx2v"/' b/wan.json >new.json
cp new.json b/wan.json
fails "setup: an entry that was changed" '"preset" is "lightx2v" there, .*--preset NAME.*-y' \
    "$linvideo" setup b
equal "setup: it is as it was" "$(cat b/wan.json)" "$(cat new.json)"
matches "setup: an option says so" "$("$linvideo" setup --preset wan2.1 b; cat b/wan.json)" \
    '"preset": "wan2.1"'
succeeds "setup: anew with -y" "$linvideo" setup -y b
equal "setup: nothing is kept then" "$(cat b/wan.json)" "$before"
echo '{ "weight_map": {} }' >b/model.json
fails "setup: over what is no manifest" 'is not a manifest; -y' "$linvideo" setup --name model b
# deep folders and links in a circle
mkdir -p deep/1/2/3/4/5/6/7/8/9
for file in dit text vae; do ln -s "$work/a/$file.safetensors" deep/1/2/3/4/5/6; done
ln -s ../.. deep/1/2/up
succeeds "setup: deep folders" "$linvideo" setup deep
matches "setup: too deep is said" "$("$linvideo" setup deep 2>&1)" \
    'warning: deep/1/2/3/4/5/6/7/8/9: more than 8 folders'
mkdir many
i=0
while [ $i -lt 600 ]; do : >many/$i.txt; i=$((i + 1)); done
for file in dit text vae; do ln -s "$work/a/$file.safetensors" many/z$file.safetensors; done
succeeds "setup: many files" "$linvideo" setup many
fails "setup: no folder" 'No such file' "$linvideo" setup nothing
fails "setup: a preset that is none" 'no preset' "$linvideo" setup --preset fast a
fails "convert: q4_k is for GGUF" 'for .gguf files' \
    "$linvideo" convert --type q4_k a/dit.safetensors x.safetensors
fails "convert: not a network" 'no network|not a safetensors' "$linvideo" convert "$spm" x.gguf
matches "inspect: a network alone" "$("$linvideo" inspect a/vae.safetensors)" \
    'vae .*names of the reference'

# what stands in a folder: pipes, names that a terminal or a manifest can't take, shards

only dit.safetensors text.safetensors vae.safetensors
mkfifo b/wan.json
fails "setup: a pipe in place of a manifest" 'is not a manifest' timeout 60 "$linvideo" setup b
fails "setup: and with -y" 'expected a regular file' timeout 60 "$linvideo" setup -y b
rm b/wan.json
cp a/dit.safetensors "$(printf 'b/odd\033[31m\nlinvideo: done.safetensors')"
cp a/dit.safetensors "$(printf 'b/latin\351.safetensors')"
said=$("$linvideo" setup b 2>&1)
matches "setup: odd names are passed over" "$said" 'warning: b/(odd|latin).* it is not looked at'
matches "setup: and the others taken" "$said" '^wrote b/wan.json'
equal "setup: a name forges no line" "$(echo "$said" | grep -c '^linvideo: done')" 0
equal "setup: a name writes no escape" "$(echo "$said" | grep -c "$(printf '\033')")" 0
said=$("$linvideo" inspect "$(printf 'no\033[31m\nlinvideo: done')" 2>&1)
equal "messages: a name forges no line" "$(echo "$said" | wc -l)" 1
equal "messages: a name writes no escape" "$(echo "$said" | grep -c "$(printf '\033')")" 0
fails "setup: too many LoRAs" 'option --lora: expected at most 16' "$linvideo" setup \
    $(i=0; while [ $i -lt 17 ]; do echo "--lora x"; i=$((i + 1)); done) b
fails "setup: strict is 0 or 1" "option --strict: expected 0 or 1, got '2'" \
    "$linvideo" setup --strict 2 b
rm b/*
mkdir b/locked
for file in dit text vae; do ln -s "$work/a/$file.safetensors" b; done
chmod 0 b/locked
succeeds "setup: a folder within that can't be read" "$linvideo" setup b
chmod 700 b/locked
rmdir b/locked

only text.safetensors vae.safetensors
cp a/dit.safetensors b/weights_a.safetensors
{
    printf '{ "weight_map": {'
    "$linvideo" inspect --tensors a/dit.safetensors | sed -n \
        's/^\([a-z][^ ]*\) .*\[[0-9,]*\]$/"\1": "weights_a.safetensors",/p' | sed '$s/,//'
    printf '} }'
} > b/dit.index.json
said=$("$linvideo" setup b 2>&1)
matches "setup: an index of shards of any name" "$said" 'network +4.3 MiB  dit.index.json'
equal "setup: shards are no networks of their own" "$(echo "$said" | grep -c weights_a)" 0
rm b/*

# numbers that do not fit the type

# large BITS: a network in f32 whose last value has these bits
large() {
    "$linvideo" convert -y --type f32 a/dit.safetensors a/large.safetensors
    printf "$1" | dd of=a/large.safetensors bs=1 conv=notrunc \
        seek=$(($(wc -c < a/large.safetensors) - 4)) 2> said
}

large '\000\120\303\107' # 100000
fails "convert: too large for f16" 'holds a value that is too large for F16' \
    "$linvideo" convert --type f16 a/large.safetensors large.safetensors
succeeds "convert: not for q8_0" "$linvideo" convert --type q8_0 a/large.safetensors large.gguf
large '\377\377\177\177' # the largest of f32
for type in bf16 int8; do
    fails "convert: too large for $type" 'holds a value that is too large for' \
        "$linvideo" convert --type $type a/large.safetensors large.safetensors
done
fails "convert: too large for q8_0" 'holds a value that is too large for' \
    "$linvideo" convert -y --type q8_0 a/large.safetensors large.gguf
equal "convert: nothing is left of it" "$(ls large.safetensors 2>/dev/null)" ""
rm a/large.safetensors

# what names tell: a half of Wan2.2, distilled models, folders

cp a/dit.safetensors a/wan2.2_t2v_low_noise_14B.safetensors
only wan2.2_t2v_low_noise_14B.safetensors text.safetensors vae.safetensors
fails "setup: a half of Wan2.2" 'low_noise_14B.safetensors: "wan2.2" in its name .*Wan2.2 A14B' \
    "$linvideo" setup b
fails "setup: a half that is named" 'one half of a Wan2.2' "$linvideo" setup \
    --dit wan2.2_t2v_low_noise_14B.safetensors --preset wan2.1 b
cp a/wan.json b/half.json
sed -i 's/dit.safetensors/wan2.2_t2v_low_noise_14B.safetensors/' b/half.json
fails "generate: a half in a manifest" 'one half of a Wan2.2' \
    "$linvideo" generate --model b/half.json -y -o half.y4m cat
fails "inspect: a half" 'one half of a Wan2.2' \
    "$linvideo" inspect b/wan2.2_t2v_low_noise_14B.safetensors
matches "convert: a half keeps its name" "$("$linvideo" convert \
    a/wan2.2_t2v_low_noise_14B.safetensors b/half.safetensors 2>&1)" 'put high_noise or low_noise'
rm -r b && mkdir -p b

# both halves: by their names or by options, in memory together or one at a time

"$make" b "$spm" tiny-pair
matches "setup: both halves of Wan2.2" "$("$linvideo" setup b | tr '\n' ' ')" \
    'high noise  wan2.2_high_noise.safetensors   low noise   wan2.2_low_noise.safetensors .*40 steps, shift 12'
matches "inspect: both" "$("$linvideo" inspect b/wan.json)" 'two: for steps from noise level 0.875 on'
matches "inspect: either half by its name" "$("$linvideo" inspect b/wan.json | tr '\n' ' ')" \
    'dit +b/wan2.2_high.* dit_low +b/wan2.2_low.* dit +[0-9].* dit_low +[0-9]'
pair="--model b/wan.json --size 64x64 --native 1 --clip-frames 5 --frames 10 --steps 4 --seed 3 -y"
succeeds "generate: both halves" "$linvideo" generate $pair -o both.y4m "a cat"
matches "generate: a half at a time" \
    "$("$linvideo" generate $pair --memory-limit 22M -o turns.y4m "a cat" 2>&1)" \
    'no room for both networks'
equal "generate: the same frames" "$(cksum < both.y4m)" "$(cksum < turns.y4m)"
fails "convert: both halves to a bundle" 'two networks; expected one' \
    "$linvideo" convert b/wan.json b/bundle.safetensors
fails "convert: dit of both halves" 'two networks; expected one' \
    "$linvideo" convert --part dit b/wan.json b/bundle.safetensors
succeeds "convert: their decoder" "$linvideo" convert --part vae b/wan.json b/alone.safetensors
rm b/alone.safetensors
fails "setup: halves that are exchanged" 'expected the one for high noise' "$linvideo" setup \
    --dit wan2.2_low_noise.safetensors --dit-low wan2.2_high_noise.safetensors b

# a LoRA of both halves, all zeros: a layer of two tensors of 1024 bytes in each

header= at=0
for layer in transformer.blocks.0.attn1.to_q transformer_2.blocks.0.attn1.to_q; do
    for end in A:1,256 B:256,1; do
        header="$header, \"$layer.lora_${end%:*}.weight\": {\"dtype\": \"F32\", \"shape\": [${end#*:}],
            \"data_offsets\": [$at, $((at + 1024))]}"
        at=$((at + 1024))
    done
done
header="{${header#, }}"
{
    printf "\\$(printf %03o $((${#header} % 256)))\\$(printf %03o $((${#header} / 256)))"
    printf '\0\0\0\0\0\0%s' "$header"
    head -c $at /dev/zero
} > b/both.safetensors
matches "setup: a LoRA of both halves" \
    "$("$linvideo" setup -y --lora both.safetensors b | tr '\n' ' ')" \
    'both.safetensors: added to both networks: its keys say which of them each is for'
succeeds "generate: a LoRA of both halves" "$linvideo" generate $pair --strict 1 -o lora.y4m "a cat"
equal "generate: zeros change nothing" "$(cksum < both.y4m)" "$(cksum < lora.y4m)"
fails "generate: it is for two networks" '2 of 4 keys are of other parts' "$linvideo" \
    generate --model a/wan.json --strict 1 --lora b/both.safetensors -y -o lora.y4m "a cat"
rm b/both.safetensors b/wan.json
mv b/wan2.2_high_noise.safetensors b/wan2.2_a.safetensors
fails "setup: names that tell nothing" 'choose with --dit HIGH --dit-low LOW' "$linvideo" setup b
succeeds "setup: halves by options" "$linvideo" setup -y --dit wan2.2_a.safetensors \
    --dit-low wan2.2_low_noise.safetensors b
rm -r b && mkdir -p b/lightx2v
for file in supercmix.safetensors LongLive.safetensors my_rCM.safetensors; do
    ln -s "$work/a/dit.safetensors" "b/$file"
done
ln -s "$work/a/text.safetensors" b
ln -s "$work/a/vae.safetensors" b/lightx2v
matches "setup: parts of words and folders tell nothing" \
    "$("$linvideo" setup --dit supercmix.safetensors b)" 'unipc, 50 steps'
matches "setup: what was guessed, and from what" \
    "$("$linvideo" setup --dit my_rCM.safetensors b | tr '\n' ' ')" \
    "my_rCM.safetensors: sampler rcm, 4 steps.*guessed from the word 'rCM' in its name; --preset none"
matches "setup: --preset none" \
    "$("$linvideo" setup --preset none --dit my_rCM.safetensors b)" 'unipc, 50 steps'
matches "setup: a causal model" "$("$linvideo" setup -y --dit LongLive.safetensors b | tr '\n' ' ')" \
    "guessed from the word 'LongLive' in its name; .*blocks of 3 latents that see 12, the first 3"
matches "setup: its preset" "$(cat b/wan.json)" '"preset": "longlive"'
succeeds "setup: a causal model, as a whole" \
    "$linvideo" setup -y --preset self-forcing --dit LongLive.safetensors b
mv b/LongLive.safetensors b/krea.safetensors
fails "setup: a causal model whose preset is not known" '"krea" in its name says .*expected a preset' \
    "$linvideo" setup -y --dit krea.safetensors b
rm -r b && mkdir b

# numbers that are not finite

cp a/dit.safetensors a/nan.safetensors
printf '\300\177' | dd of=a/nan.safetensors bs=1 conv=notrunc \
    seek=$(($(wc -c < a/nan.safetensors) - 2)) 2> said
only nan.safetensors text.safetensors vae.safetensors
succeeds "setup: reads no values" "$linvideo" setup b
fails "generate: NaN in a weight" 'nan.safetensors: .* not finite' \
    "$linvideo" generate --model b/wan.json --size 64x64 --frames 1 --clip-frames 1 \
    --steps 1 -y -o nan.y4m cat

# contents decide, not names; files in parts; downloads that failed

only text.safetensors vae.safetensors
cp a/dit.safetensors b/DIT.SAFETENSORS
succeeds "setup: an ending in capitals" "$linvideo" setup b
same "an ending in capitals" b/wan.json
rm b/*
cp a/dit.safetensors b/network.sft
cp a/text.safetensors b/text.bin
cp a/vae.safetensors b/vae.weights
succeeds "setup: names with any ending" "$linvideo" setup b
same "names with any ending" b/wan.json
mv b/wan.json b/wan.model
same "a manifest with any ending" b/wan.model
cp bf16.safetensors bundle.odd
same "a bundle in this folder with any ending" bundle.odd
for kind in lfs html empty cut; do
    only text.safetensors vae.safetensors
    case $kind in
    lfs) printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n' ;;
    html) printf '<!DOCTYPE html><html>' ;;
    empty) : ;;
    cut) head -c 100000 a/dit.safetensors ;;
    esac > b/dit.safetensors
    case $kind in
    lfs) why='git-lfs pointer' ;;
    html) why='page of the web' ;;
    empty) why='empty file; download it again' ;;
    cut) why='cut off: expected [0-9]+ bytes, got 100000; download it again' ;;
    esac
    fails "setup: $kind" "$why" "$linvideo" setup b
done
rm b/*
printf 'PK\003\004....' > b/pytorch_model.bin
printf 'PK\003\004....' > b/model.ckpt
matches "setup: PyTorch files of other names" \
    "$("$linvideo" setup b 2>&1 | grep -c 'PyTorch file')" '^2$'

# features of prompts on disk

succeeds "prompt_cache" "$linvideo" generate --model a/wan.json --prompt-cache on \
    --size 64x64 --frames 1 --clip-frames 1 --steps 1 --guidance 1 -y -o out.y4m cat
equal "prompt_cache: one file" "$(find cache -name '*.safetensors' | wc -l)" 1

# cached MODEL: run with the cache, how many files it holds then
cached() {
    "$linvideo" generate -q --model "$1" --prompt-cache on --precision f32 --size 64x64 \
        --frames 1 --clip-frames 1 --steps 1 --guidance 1 -y -o out.y4m cat
    find cache -type f | wc -l
}

# The key: another setting of the encoder with the same tensors is another file.
rm -rf cache
equal "prompt_cache: of a bundle" "$(cached ./f32.safetensors)" 1
equal "prompt_cache: again" "$(cached ./f32.safetensors)" 1
LC_ALL=C sed 's/max_distance\\":128/max_distance\\":127/' f32.safetensors >near.safetensors
cmp -s f32.safetensors near.safetensors && not_ok "another setting" || ok "another setting"
touch -r f32.safetensors near.safetensors
equal "prompt_cache: of another setting" "$(cached ./near.safetensors)" 2
touch -d 2001-01-01 near.safetensors
equal "prompt_cache: of a file that was changed since" "$(cached ./near.safetensors)" 3
# What is too much goes, the oldest first; what is in the way stays.
folder=cache/linvideo/prompts
truncate -s 400M $folder/old.safetensors
touch -d 2001-01-01 $folder/old.safetensors
truncate -s 300M $folder/newer.safetensors
touch -d 2002-01-01 $folder/newer.safetensors
mkdir $folder/sub
mkfifo $folder/pipe
find $folder -type f -newermt 2020-01-01 -delete
cached ./f32.safetensors >/dev/null
equal "prompt_cache: the oldest goes, no more" \
    "$(ls $folder | grep -v '^[0-9a-f]*\.' | tr '\n' ' ')" "newer.safetensors pipe sub "
rm -rf cache

# images: to video, first to last, TI2V, both networks of Wan2.2; what is given too much or too little

# image NAME WIDTH HEIGHT BYTE: a PPM file of one grey, but for its first row
image() {
    printf 'P6\n%d %d\n255\n' $2 $3 >$1
    head -c $((3 * $2)) /dev/zero >>$1
    head -c $((3 * $2 * ($3 - 1))) /dev/zero | tr '\0' "$4" >>$1
}

# moved MODEL OPTIONS...: checksum of the frames
moved() {
    moved_by=$1
    shift
    "$linvideo" generate -q --model $moved_by/wan.json --precision f32 --native 1 --clip-frames 5 \
        --steps 2 --seed 3 -y -o moved.y4m "$@" cat && cksum <moved.y4m
}

# differ NAME ONE OTHER: both are there
differ() {
    if [ -n "$2" ] && [ -n "$3" ] && [ "$2" != "$3" ]; then ok "$1"; else
        not_ok "$1" "is $2 and $3"
    fi
}

# begins FILE: checksum of its header and first frame of 64x64
begins() { head -c 6200 $1 | cksum; }

image dark.ppm 64 64 2
image light.ppm 64 64 w
image wide.ppm 96 32 w
for kind in i2v flf2v i2v-pair 5b; do
    mkdir $kind
    succeeds "random weights of $kind" "$make" $kind "$spm" tiny-$kind
done
matches "setup: an image tower" "$("$linvideo" setup i2v; cat i2v/wan.json)" \
    '"clip": "clip.safetensors"'
matches "setup: how I2V is sampled" "$("$linvideo" setup i2v)" '832x464, 81 .*40 steps, shift 3'
matches "setup: first and last frame" "$("$linvideo" setup flf2v)" '50 steps, shift 16'
matches "setup: what to run it with" "$("$linvideo" setup flf2v)" '--image FILE --last-image FILE'
matches "setup: both networks of I2V" "$("$linvideo" setup i2v-pair)" '40 steps, shift 5, .* 3.5'
succeeds "setup: TI2V" "$linvideo" setup 5b
matches "inspect: what it takes" "$("$linvideo" inspect i2v/wan.json)" \
    "images     the first frame, and CLIP's features"
dark=$(moved i2v --size 64x64 --image dark.ppm)
light=$(moved i2v --size 64x64 --image light.ppm)
differ "image: frames depend on it" "$dark" "$light"
equal "image: the same again" "$(moved i2v --size 64x64 --image dark.ppm)" "$dark"
equal "image: in tiles too small to cut" \
    "$(moved i2v --size 64x64 --tile 256 --image dark.ppm)" "$dark"
equal "image: without a size frames have its shape" \
    "$(moved i2v --image wide.ppm >/dev/null; head -n 1 moved.y4m | cut -d ' ' -f 2,3)" \
    "W1088 H352"
moved flf2v --size 64x64 --image dark.ppm --last-image light.ppm >one
differ "last_image: frames depend on it" "$(cat one)" \
    "$(moved flf2v --size 64x64 --image dark.ppm --last-image dark.ppm)"
moved flf2v --size 64x64 --image dark.ppm --last-image wide.ppm >/dev/null &&
    ok "last_image: of another shape" || not_ok "last_image: of another shape"
both=$(moved i2v-pair --size 64x64 --image dark.ppm)
differ "image: of both networks" "$both" "$(moved i2v-pair --size 64x64 --image light.ppm)"
differ "last_image: may be given to Wan2.2" "$both" \
    "$(moved i2v-pair --size 64x64 --image dark.ppm --last-image light.ppm)"
equal "image: networks in turn" \
    "$(moved i2v-pair --size 64x64 --image dark.ppm --memory-limit 34M)" "$both"
# The first frame of TI2V is the image, decoded: no noise and no prompt changes it.
moved 5b --size 64x64 --image dark.ppm >/dev/null
first_frame=$(begins moved.y4m)
moved 5b --size 64x64 --image dark.ppm >one
moved 5b --size 64x64 --image dark.ppm --seed 4 >two
equal "TI2V: the first frame is the image's" "$(begins moved.y4m)" "$first_frame"
differ "TI2V: the others are not" "$(cat one)" "$(cat two)"
moved 5b --size 64x64 --image light.ppm >/dev/null
differ "TI2V: another image" "$(begins moved.y4m)" "$first_frame"
succeeds "TI2V: without an image" moved 5b --size 64x64
# Clips that go on: the second one is what a clip from the first one's last frame is. By hand that
# frame is an image, which is shown again, and clip 1 of a video has the noise of clip 1.
# frames FILE FROM NUMBER: of 64x64, yuv444p
frames() { tail -c +$(($(head -n 1 $1 | wc -c) + $2 * 12294 + 1)) $1 | head -c $(($3 * 12294)) | cksum; }
if grep -q '^#define HAVE_LIBPNG 1' "$(dirname "$make")/../config.h"; then
    for kind in 5b i2v i2v-pair; do
        go_on="--size 64x64 --format yuv444p --guidance 1"
        moved $kind $go_on --image dark.ppm --frames 13 >one && mv moved.y4m joined.y4m
        "$linvideo" generate -q --model $kind/wan.json --precision f32 --native 1 --clip-frames 5 \
            --steps 2 --seed 3 --size 64x64 --guidance 1 --image dark.ppm --frames 13 --frame 4 \
            -y -o last.png cat
        moved $kind $go_on --image last.png --frames 10 --join cut >/dev/null
        equal "join: $kind goes on from the last frame" "$(frames joined.y4m 5 4)" \
            "$(frames moved.y4m 6 4)"
        equal "join: $kind, another length begins alike" "$(frames joined.y4m 0 9)" \
            "$(moved $kind $go_on --image dark.ppm --frames 9 >/dev/null; frames moved.y4m 0 9)"
    done
fi
equal "join: networks in turn go on" "$(moved i2v-pair $go_on --image dark.ppm --frames 13 \
    --memory-limit 46M)" "$(moved i2v-pair $go_on --image dark.ppm --frames 13)"
moved 5b --size 64x64 --frames 13 --join continue >one
succeeds "join: TI2V goes on from a clip of a text" [ -s one ]
differ "join: and not as clips do that follow one another" "$(cat one)" \
    "$(moved 5b --size 64x64 --frames 13 --join cut)"
printf '{"output": "%s.y4m", "prompt": "cat", "seed": 3}\n' first second |
    "$linvideo" serve -q --model i2v/wan.json --precision f32 --native 1 --clip-frames 5 --steps 2 \
    --size 64x64 --image dark.ppm --frames 13 - >/dev/null
moved i2v --size 64x64 --image dark.ppm --frames 13 >/dev/null
equal "join: a video after another one begins with the image" "$(cksum <second.y4m)" \
    "$(cksum <moved.y4m)"
matches "join: what is chosen" "$("$linvideo" generate --model i2v/wan.json --native 1 --clip-frames 5 \
    --steps 1 --size 64x64 --image dark.ppm --frames 6 -y -o out.y4m cat 2>&1)" \
    'join: 6 frames are made clip after clip, of 5 each, each from the last frame of the one before'
fails "join: text to video" 'join continue: a/wan.json is a model of text to video' \
    moved a --join continue
fails "join: first to last frame" 'join continue: expected no last_image' \
    moved flf2v --join continue --image dark.ppm --last-image light.ppm
fails "join: clips of a frame" 'expected clips of 2 frames or more, got 1' \
    moved 5b --join continue --clip-frames 1 --frames 3
fails "join: a video" 'join continue: expected mode text' \
    moved a --join continue --video second.y4m
# Video to video with Wan's autoencoders: little noise leaves the frames, another one changes them.
moved a --size 64x64 >one && mv moved.y4m shot.y4m
for kind in a 5b; do
    again=$(moved $kind --video shot.y4m --size 64x64 --strength 0.5)
    equal "video: the same again with $kind" \
        "$(moved $kind --video shot.y4m --size 64x64 --strength 0.5)" "$again"
    differ "video: strength with $kind" "$again" \
        "$(moved $kind --video shot.y4m --size 64x64 --strength 1)"
done
equal "video: of a clip's frames" "$(head -n 1 moved.y4m)" "$(head -n 1 shot.y4m)"
fails "video: a model of images" 'mode video: i2v/wan.json is a model of image to video' \
    moved i2v --video shot.y4m
fails "video: beside an image" 'mode video: expected no image beside' \
    moved 5b --video shot.y4m --image dark.ppm
fails "video: is the output" 'moved.y4m' moved a --size 64x64 --video moved.y4m
fails "image: text to video" 'image: a/wan.json is a model of text to video: it takes no image' \
    moved a --image dark.ppm
fails "image: none is given" 'is a model of image to video: expected an image, got none' moved i2v
fails "last_image: none is given" 'goes from a first frame to a last one: expected last_image' \
    moved flf2v --image dark.ppm
fails "last_image: one is too many" 'takes the first frame alone' \
    moved i2v --image dark.ppm --last-image dark.ppm
fails "last_image: of TI2V" 'takes the first frame alone' \
    moved 5b --image dark.ppm --last-image dark.ppm
fails "last_image: alone" 'expected an image beside it' moved i2v --last-image dark.ppm
fails "image: no such file" 'none.png: No such file' moved i2v --image none.png
fails "image: is the output" 'moved.y4m' moved i2v --size 64x64 --image moved.y4m
sed '/"clip"/d; s/"wan2.1-i2v",/"wan2.1-i2v"/' i2v/wan.json >i2v/blind.json
fails "clip: missing" 'clip is missing: the network attends to' \
    "$linvideo" generate --model i2v/blind.json --image dark.ppm -y -o out.y4m cat
cp i2v/clip.safetensors 5b
sed 's/{/{ "clip": "clip.safetensors",/' 5b/wan.json >5b/sees.json
fails "clip: not needed" 'clip is there, and the network attends to no features' \
    "$linvideo" generate --model 5b/sees.json -y -o out.y4m cat
fails "convert: no bundle holds CLIP" 'bundles hold no image tower' \
    "$linvideo" convert i2v/wan.json i2v/bundle.safetensors
fails "linearize: image to video" 'one of image to video: training is of text to video' \
    "$linvideo" linearize --dir no i2v/wan.json

# Frames that do not fit whole are decoded in tiles, one after another.

# tiled OPTION...
tiled() {
    "$linvideo" generate --device cpu --model a/wan.json --precision f32 --size 256x208 \
        --frames 9 --clip-frames 9 --steps 1 --guidance 1 --seed 1 -y -o tiled.y4m "$@" cat
}

fails "tiles: what the smallest need" \
    '256x208, 9 frames in tiles of 128 need 5[0-9.]+ MiB .*, 1\.0 are available' \
    tiled --memory-limit 1M
succeeds "tiles: asked for" tiled --tile 128
asked=$(cksum <tiled.y4m)
said=$(tiled --memory-limit 60M 2>&1)
matches "tiles: chosen" "$said" 'no room to decode whole frames: tiles of 128 are decoded one after'
equal "tiles: the same frames" "$(cksum <tiled.y4m)" "$asked"
said=$(tiled --memory-limit 100M 2>&1)
empty "tiles: not where frames fit whole" "$(echo "$said" | grep tiles)"
differ "tiles: whole frames" "$(cksum <tiled.y4m)" "$asked"

# Memory: weights are held once, packed: neither the file's pages beside them nor what
# quantised ones were decoded to. Bytes stated before, with the 15 % that they may be off and
# 64 MiB of program and libraries.

# stated NAME MODEL WEIGHTS: which are no more than so many MiB
stated() {
    said=$("$linvideo" generate --device cpu --precision bf16 --model "$2" --size 64x64 \
        --frames 1 --clip-frames 1 --steps 1 --guidance 1 -v -y -o out.y4m cat 2>&1)
    numbers=$(echo "$said" | sed -n '
        s/.*memory: weights \([0-9.]*\) MiB, arena \([0-9.]*\) .*state \([0-9.]*\) .*/\1 \2 \3/p
        s/.*peak memory \([0-9.]*\) MiB.*/\1/p' | tr '\n' ' ')
    fits=$(echo "$numbers" | awk -v most="$3" '
        NF == 4 { print ($1 > 150 && $1 < most && $4 < 1.15 * ($1 + $2 + $3) + 64) }')
    case $fits in
    1) ok "$1" ;;
    *) not_ok "$1" "$numbers: $said" ;;
    esac
}

mkdir wide
succeeds "random weights of 200 MB" "$make" wide "$spm" wide
succeeds "setup: of these" "$linvideo" setup wide
# a sanitizer keeps what was freed
if [ -z "${LV_SANITIZED:-}" ] && "$linvideo" generate --device cpu --model a/wan.json --precision bf16 --size 64x64 \
    --frames 1 --clip-frames 1 --steps 1 -y -o out.y4m cat >said 2>&1; then
    stated "memory is what was stated" wide/wan.json 250
    succeeds "convert: wide, fp8" \
        "$linvideo" convert --type fp8 wide/dit.safetensors wide/8.safetensors
    rm wide/dit.safetensors
    succeeds "setup: fp8, wide" "$linvideo" setup wide
    stated "memory of quantised weights too" wide/wan.json 300
fi
finish
