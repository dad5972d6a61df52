#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The command: files, pipes, pictures, exit codes, messages, signals, terminals.
# It is the one in $LINVIDEO (build/linvideo), run on the embedded model.

# A shell in the background hands an ignored SIGINT on, which the tests of Ctrl-C need.
if [ -z "${LV_SIGNALS:-}" ] && env --default-signal=INT,QUIT true 2>/dev/null; then
    LV_SIGNALS=default exec env --default-signal=INT,QUIT "$0"
fi

. "$(dirname "$0")/report.sh"

linvideo=$(absolute "${LINVIDEO:-build/linvideo}")
embedded=$(absolute "$(dirname "$0")/../samples/motion.safetensors")
models=$(absolute "${BUILD:-build}/tests/model")
samples=$(absolute "$(dirname "$0")/../samples")
recipe=$(absolute "$(dirname "$0")/ref/tiny.json")
LINVIDEO_MODEL_PATH=${LINVIDEO_MODEL_PATH:-$models}
export LINVIDEO_MODEL_PATH

[ -x "$linvideo" ] || { echo "no $linvideo here"; exit 77; }
[ -f "$models/motion.safetensors" ] || { echo "no model in $models (make tests)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

prompt="a large red circle moving right on a blue background"

# Short, quiet and the same each time.
generate() {
    "$linvideo" generate --steps 2 --seed 1 "$@"
}

# status NAME WANTED COMMAND...
status() {
    status_name=$1 wanted=$2
    shift 2
    run "$@"
    if [ "$code" = "$wanted" ]; then ok "$status_name"; else
        not_ok "$status_name" "status $code, not $wanted: $said"
    fi
}

# one_line NAME: what the last run said was a single line
one_line() {
    equal "$1" "$(echo "$said" | wc -l)" 1
}

# probe FILE FIELDS: what ffprobe sees in its video
probe() {
    ffprobe -v error -count_frames -show_entries "stream=$2" -of csv=p=0:s=_ "$1"
}

fields=width,height,pix_fmt,color_range,r_frame_rate,nb_read_frames

# The command itself

expects "help lists the commands" 0 '^ *generate ' "$linvideo" --help
expects "version" 0 '^liblinvideo [0-9]+\.[0-9]+\.[0-9]+' "$linvideo" --version
expects "no command: usage" 2 '^Usage' "$linvideo"
expects "unknown command" 2 'no command "paint"' "$linvideo" paint
for command in generate serve inspect bench dataset train linearize distill compare report eval \
               devices; do
    expects "help of $command" 0 "^Usage: linvideo $command" "$linvideo" $command --help
done
expects "generate --help names every parameter" 0 '--negative-prompt' \
    "$linvideo" generate --help

# The man page has every option: in the command's own section, or in that whose options it
# takes; -y is for all.

# section NAME: its text, with plain dashes
section() {
    awk -v name="$1" '$1 == ".SH" { inside = $2 == name } inside' "$samples/linvideo.1" |
        sed 's/\\-/-/g'
}

# options_of COMMAND: the long ones of its help
options_of() {
    "$linvideo" $1 --help | grep '^  -' | grep -oE '(^|[ ,])--[a-z_-]+' | tr -d ' ,' | tr _ - |
        sort -u
}

for command in generate serve inspect setup convert bench dataset train linearize distill compare \
               report eval devices; do
    case $command in
    serve) also=GENERATE ;;
    distill) also=LINEARIZE ;;
    *) also= ;;
    esac
    pages=$(section $(echo $command | tr a-z A-Z); [ -z "$also" ] || section $also)
    empty "the man page has all options of $command" "$(for option in $(options_of $command); do
        [ $option = --overwrite ] ||
            printf '%s\n' "$pages" | grep -qE -e "$option([^a-z-]|\$)" || echo "$option"
    done)"
done

# Completion

# complete WORD...: what bash offers for the last word
complete() {
    bash -c '. "$0"; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _linvideo; echo ${COMPREPLY[*]}' \
        "$samples/completion/linvideo.bash" "$linvideo" "$@"
}
# complete_zsh WORD...: what zsh does
complete_zsh() {
    zsh -fc 'compadd() { echo ${(P)2} }; words=("${@:2}") CURRENT=$#words; . "$1"' - \
        "$samples/completion/linvideo.zsh" "$linvideo" "$@"
}
equal "bash completes commands" "$(complete ge)" generate
equal "bash completes options" "$(complete train --check)" --checkpoint
equal "bash completes values" "$(complete generate --sampler u)" unipc
equal "bash completes names of two words as the man page has them" \
    "$(complete generate --clip) $(complete generate --clip_f)" "--clip-frames --clip-frames"
if command -v zsh >/dev/null; then
    equal "zsh completes commands" "$(complete_zsh ge | cut -d ' ' -f 1,2)" "generate serve"
    equal "zsh completes values" "$(complete_zsh serve --precision "")" "auto f32 bf16 int8 fp8"
fi
empty "every option of generate is known to it" "$("$linvideo" generate --help |
    grep -oE '^ +(-[a-z]+, )?--[a-z-]+' | grep -oE -e ' --[a-z-]+' | tr -d ' ' | sort |
    comm -23 - "$("$linvideo" complete generate | sort >known; echo known)"; rm known)"

# Files

expects "y4m to a file" 0 'seed 1$' generate -o a.y4m "$prompt"
equal "what is in it" "$(probe a.y4m $fields)" 64_64_yuv420p_tv_8/1_17
expects "times of the stages and memory" 0 \
    'loading .* s, text .* s, denoising .* s, decoding .* s, peak memory .* MiB' \
    generate -y -o a.y4m "$prompt"
expects "no overwriting" 1 'a.y4m exists; -y' generate -o a.y4m "$prompt"
status "overwriting with -y" 0 generate -y -o a.y4m "$prompt"
equal "no file is left over" "$(ls -A)" a.y4m
status "out.y4m is the default" 0 generate --frames 1 "$prompt"
equal "and is written" "$(probe out.y4m nb_read_frames)" 1
run generate -q -o q.y4m "$prompt"
equal "-q says nothing" "$said" ""
equal "same seed, same bits" "$(md5sum <a.y4m)" "$(md5sum <q.y4m)"
generate -q --seed 2 -o q2.y4m "$prompt"
equal "another seed, other bits" \
    "$(cmp -s a.y4m q2.y4m && echo same || echo differ)" differ
run generate -q --size=50x38 --rate 24000/1001 --frames=5 -o odd.y4m "$prompt"
equal "size, rate, number of frames" "$(probe odd.y4m $fields)" \
    50_38_yuv420p_tv_24000/1001_5
generate -q -size 33x17 -format yuv444p -duration 0.25 -o b.y4m -- "$prompt"
equal "odd size, 4:4:4, one dash, --" "$(probe b.y4m $fields)" \
    33_17_yuv444p_tv_8/1_2
generate -q --size 33x17 --frames 2 -o c.y4m "$prompt"
equal "odd size, 4:2:0" "$(probe c.y4m $fields)" 33_17_yuv420p_tv_8/1_2
equal "y4m's first line" "$(head -n 1 c.y4m)" \
    "YUV4MPEG2 W33 H17 F8:1 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED"
printf '%s\n' "$prompt" >prompt.txt
generate -q --prompt_file prompt.txt -o file.y4m
equal "prompt from a file" "$(md5sum <file.y4m)" "$(md5sum <a.y4m)"
equal "prompt from standard input" \
    "$(echo "$prompt" | generate -q --prompt_file - -o - | md5sum)" "$(md5sum <a.y4m)"
mkfifo fifo
echo "$prompt" >fifo &
equal "prompt from a named pipe" \
    "$(generate -q --prompt_file=fifo -o - | md5sum)" "$(md5sum <a.y4m)"
code=0
timeout -s INT 2 "$linvideo" generate --prompt_file fifo -o never.y4m 2>/dev/null || code=$?
equal "waiting for a pipe can be stopped" "$code" 124

# Pipes

generate -q -o - "$prompt" | ffmpeg -v error -y -i - -c:v ffv1 pipe.mkv
equal "into ffmpeg" "$(probe pipe.mkv width,height,pix_fmt)" 64_64_yuv420p
equal "standard output holds the same" \
    "$(generate -q -o - "$prompt" | md5sum)" "$(md5sum <a.y4m)"
{ generate --frames 400 -o - "$prompt" 2>err; echo $? >code; } | head -c 100 >/dev/null
equal "a closed pipe: status of SIGPIPE" "$(cat code)" 141
equal "a closed pipe: no complaint" "$(grep -ci -e pipe -e error err)" 0
status "a device is written as it is" 0 generate -q -o /dev/null "$prompt"
[ -c /dev/null ] && ok "and stays one" || not_ok "and stays one"
expects "a full disk" 1 'No space left' generate -o /dev/full "$prompt"

# Pictures

status "a PNG" 0 generate -q --format rgb24 -o a.png "$prompt"
equal "what is in it" "$(probe a.png width,height,pix_fmt)" 64_64_rgb24
status "a frame by number" 0 generate -q --frame 5 -o f5.png "$prompt"
status "all frames" 0 generate -q --frames 9 -o 'all%03d.png' "$prompt"
equal "as many files" "$(ls all*.png | tr '\n' ' ')" \
    "$(printf 'all%03d.png ' 0 1 2 3 4 5 6 7 8)"
cmp -s f5.png all005.png && ok "one of them is that frame" ||
    not_ok "one of them is that frame"
expects "no overwriting of any" 1 'all000.png exists' generate -o 'all%03d.png' "$prompt"
generate -q --format yuv444p -o 444.y4m "$prompt"
psnr=$(ffmpeg -hide_banner -nostats -i 444.y4m -i f5.png -lavfi "
        [0:v]select='eq(n,5)',scale=in_color_matrix=bt601:in_range=tv:flags=accurate_rnd+full_chroma_int,format=gbrp[a];
        [1:v]format=gbrp[b];[a][b]psnr" -frames:v 1 -f null - 2>&1 |
    sed -n 's/.*average:\([0-9a-z.]*\).*/\1/p')
[ "${psnr%.*}" = inf ] || [ "${psnr%.*}" -ge 38 ] && ok "it shows what the video shows" ||
    not_ok "it shows what the video shows" "PSNR $psnr dB"
equal "the prompt is kept in it" "$(grep -ac "$prompt" f5.png)" 1
expects "a frame that is not there" 2 '99 asked for, the video has 17' \
    generate --frame 99 -o b.png "$prompt"
expects "a pattern with two numbers" 2 'one %d' generate -o 'a%d%d.png' "$prompt"
expects "a pattern that is none" 2 'one %d' generate -o 'a%s.png' "$prompt"

# What has no effect is said, once, and not where all is well

warned() {
    warned_name=$1 warned_lines=$2
    shift 2
    run generate -y --steps 4 --frames 1 -o warned.y4m --model "$samples/motion.safetensors" "$@"
    said=$(echo "$said" | grep warning:)
    equal "$warned_name" "$said" "$warned_lines"
}
warned "words the model does not know" \
    "linvideo: warning: prompt: the model does not know: dragon, castle" \
    "a red dragon over a castle, a dragon"
warned "guidance 0" "linvideo: warning: guidance: 0 means the model's own; 1 turns guidance off" \
    --guidance 0 "a red circle"
warned "a negative prompt for nothing" \
    "linvideo: warning: negative_prompt: it is not used with guidance 1, which is off; nag uses it" \
    --negative_prompt "blue" "a red circle"
warned "guidance of a few-step model" "$(printf '%s' 'linvideo: warning: guidance: 7; the model ' \
    'is a few-step one, made for guidance 1: colours burn out, and it takes twice the time')" \
    --guidance 7 "a red circle"
warned "steps of a few-step model" \
    "linvideo: warning: steps: 50; the model is a few-step one, made for 4" \
    --steps 50 "a red circle"
head -n 5 "$samples/prompts.txt" >known.txt
while read -r line; do
    warned "all known: $line" "" "$line"
done <known.txt
rm -f warned.y4m known.txt fifo

# Sizes, lengths and rates that the embedded model was not made for

made() { "$linvideo" generate -y --seed 1 --model "$embedded" "$@" "$prompt" 2>&1; }
made --frame 8 -o own.png >/dev/null
for size in 640x360 384x216 100x300 96x56; do
    said=$(made --size $size --frame 8 -o scaled.png)
    equal "$size: said once" "$(echo "$said" | grep -c \
        "size: the model is made for 192x112: $size is made at 192x112 and scaled")" 1
    w=${size%x*} h=${size#*x}
    psnr=$(ffmpeg -hide_banner -nostats -i scaled.png -i own.png -lavfi "[1:v]
            scale=$w:$h:force_original_aspect_ratio=increase:flags=bicubic,crop=$w:$h,
            format=gbrp[b];[0:v]format=gbrp[a];[a][b]psnr" -f null - 2>&1 |
        sed -n 's/.*average:\([0-9a-z.]*\).*/\1/p')
    [ "${psnr%.*}" -ge 30 ] && ok "$size: the model's own clip, scaled" ||
        not_ok "$size: the model's own clip, scaled" "PSNR $psnr dB"
done
equal "native: not scaled, said" "$(made --size 96x56 --native 1 -o own.y4m |
    grep -c 'size: 96x56 is not what the model is made for (192x112)')" 1
equal "clip_frames it was not made for: said" "$(made --clip-frames 33 -o own.y4m |
    grep -c 'clip_frames: 33; the model is made for clips of 17 and makes these')" 1
equal "as many frames as asked" "$(probe own.y4m nb_read_frames)" 33
equal "another rate is another speed: said" "$(made --rate 24 -o own.y4m |
    grep -c 'rate: 24; the model makes motion for 8 frames a second: it is 3 times')" 1
equal "inspect: what it was made for" "$("$linvideo" inspect "$embedded" |
    sed -n 's/^made for *//p')" "192x112, 17 frames"

# Tiles leave no seams

seams() { made --native 1 --format yuv444p "$@" >/dev/null; }
for size in 384x224 200x328; do
    seams --size $size -o whole.y4m
    for tile in 64 72 96 136; do
        seams --size $size --tile $tile -o tile.y4m
        psnr=$(ffmpeg -hide_banner -nostats -i tile.y4m -i whole.y4m -lavfi psnr -f null - \
            2>&1 | sed -n 's/.*average:\([0-9a-z.]*\) .*/\1/p')
        [ "$psnr" = inf ] || [ "${psnr%.*}" -ge 45 ] && ok "$size in tiles of $tile" ||
            not_ok "$size in tiles of $tile" "PSNR $psnr dB"
    done
done

# Wrong use

expects "another ending" 2 "generate -o - --steps 2 --seed 1 'it'.''s' \| ffmpeg -i - x.avi" \
    generate -o x.avi "it's"

# By an ffmpeg on the PATH

tags=width,height,pix_fmt,color_range,color_space,nb_read_frames
for ending in mp4 webm mkv; do
    status "$ending by ffmpeg" 0 generate -q -o a.$ending "$prompt"
    equal "what is in it" "$(probe a.$ending $tags)" 64_64_yuv420p_tv_bt709_17
done
expects "no ffmpeg for it" 2 'b.mp4: there is no ffmpeg on the PATH' \
    env PATH=/nowhere "$linvideo" generate -o b.mp4 "$prompt"
mkdir failing
printf '#!/bin/sh\nexit 3\n' >failing/ffmpeg
chmod +x failing/ffmpeg
expects "an ffmpeg that fails" 1 'b.mp4: ffmpeg ended with status 3' \
    env PATH="$work/failing:$PATH" "$linvideo" generate --steps 1 -o b.mp4 "$prompt"
equal "leaves nothing" "$(find . -name '*b.mp4*')" ""
expects "an odd size of mp4" 2 'b.mp4: expected an even width and height, got 65x64' \
    generate -o b.mp4 --size 65x64 "$prompt"

# For programs

# previews

expects "preview: a picture at each step" 0 '17 frames' generate -y \
    -o pv.y4m --preview pv.png "$prompt"
equal "preview: a PNG of 3 x 2 frames of 8 x 8, by 4" \
    "$(od -An -tx1 -N24 pv.png | xargs)" \
    "89 50 4e 47 0d 0a 1a 0a 00 00 00 0d 49 48 44 52 00 00 00 60 00 00 00 40"
expects "preview: the same video" 0 '17 frames' generate -y -o pw.y4m "$prompt"
succeeds "preview: it changes no frame" cmp pv.y4m pw.y4m
expects "preview: a file that is there" 1 'pv.png exists; -y overwrites it' generate \
    -o px.y4m --preview pv.png "$prompt"
expects "preview: another ending" 2 'preview: expected the name of a .png file, got pv.jpg' \
    generate -o px.y4m --preview pv.jpg "$prompt"
expects "preview: the output itself" 2 'preview: pv.png is the output too' generate -y \
    -o pv.png --preview pv.png "$prompt"
expects "preview: no folder" 1 'nowhere/pv.png' generate -o px.y4m \
    --preview nowhere/pv.png "$prompt"

"$linvideo" generate --json --steps 2 --seed 1 -o j.mp4 "$prompt" >events 2>said
equal "json: a line each" "$(sed 's/^{"event":"\([a-z]*\)",".*}$/\1/' events | uniq | xargs)" \
    "begin progress done"
equal "json: nothing else is said" "$(grep -v '^linvideo: device: ' said)" ""
equal "json: the result" "$(tail -n 1 events | cut -d , -f 1-7)" \
    '{"event":"done","output":"j.mp4","frames":17,"width":64,"height":64,"rate":"8","seed":1'
"$linvideo" generate --json --steps x -o j.mp4 "$prompt" >events 2>said
equal "json: an error" "$(cut -d ';' -f 1 events)" \
    '{"event":"failed","code":2,"message":"steps: '"'x' is not understood"
for where in /dev/full '|'; do
    case $where in
    /dev/full) what="No space left on device" ;;
    *) what="Broken pipe" ;;
    esac
    if [ "$where" = '|' ]; then
        { generate --json --frames 1 -y -o j.y4m cat 2>said; echo $? >code; } | true
    else
        generate --json --frames 1 -y -o j.y4m cat >$where 2>said; echo $? >code
    fi
    equal "json: $what" "$(cat code) $(grep -v ' device: \| warning: ' said)" \
        "1 linvideo: standard output: $what; events were lost"
    equal "json: $what: the video is whole" "$(probe j.y4m nb_read_frames)" 1
done

# A signal while nobody reads: what a pipe does not take is given up
mkfifo full
exec 8<>full
for form in "--json -o unread.y4m" "-o -"; do
    dd if=/dev/zero bs=64k count=1 of=full 2>/dev/null
    "$linvideo" generate --steps 1 --frames 1 -y $form "a red circle" >full 2>said &
    maker=$!
    i=0
    until grep -q ' device: ' said || [ $((i += 1)) = 50 ]; do sleep 0.2; done
    sleep 0.5
    kill -TERM $maker
    { sleep 20; kill -KILL $maker; } >/dev/null 2>&1 &
    late=$!
    wait $maker
    equal "stopped while nobody reads: $form" $? 143
    kill $late
    dd bs=64k count=1 <full of=/dev/null 2>/dev/null
done
exec 8>&-
rm full
mkfifo alone
"$linvideo" generate --steps 1 --frames 1 -o alone "a red circle" 2>said &
maker=$!
sleep 1.5
kill -TERM $maker
{ sleep 20; kill -KILL $maker; } >/dev/null 2>&1 &
late=$!
wait $maker
equal "stopped while a pipe has no reader" $? 143
kill $late
cat alone >piped.y4m &
generate -q --frames 1 -o alone "$prompt"
wait $!
generate -q --frames 1 -o unpiped.y4m "$prompt"
succeeds "a pipe has the same frames" cmp piped.y4m unpiped.y4m
rm alone

expects "json and video to standard output" 2 'json: standard output takes the video' \
    generate --json -o - "$prompt"
expects "the same with --output=" 2 'generate -o - --steps 2 --seed 1 cat \| ffmpeg -i - x.mov' \
    generate --output=x.mov cat
expects "a folder" 2 'is a folder' generate -o . cat
expects "no such prompt file" 1 'none.txt' \
    "$linvideo" generate --prompt_file none.txt -o x.y4m
expects "a folder that is not there" 1 'No such file' generate -o none/x.y4m cat
expects "frame without a PNG" 2 'single PNG' generate --frame 3 -o x.y4m cat
expects "RGB into y4m" 2 'y4m holds no RGB' generate --format rgb24 -o x.y4m cat
expects "YUV into PNG" 2 'rgb24 only' generate --format yuv444p -o x.png cat
expects "two prompts" 2 'two prompts, the second is "dog"' generate cat dog
expects "an unknown option" 2 'no option "sede"' generate --sede 3 cat
expects "an option without its value" 2 'option steps: expected a value' \
    "$linvideo" generate cat --steps
expects "a value too many" 2 'takes no value' generate --quiet=yes cat

while IFS='|' read -r name value pattern; do
    expects "bad $name" 2 "$pattern" generate -o x.y4m "--$name=$value" cat
    one_line "bad $name: one line"
done <<'END'
size|64|size
size|8x64|size
size|64x9000|size
rate|0|rate
rate|fast|rate
frames|0|frames
duration|0|duration
duration|-3|duration
seed|4294967296|seed
seed|one|seed
steps|1001|steps
guidance|0.5|guidance
shift|-1|shift
sampler|ddim|sampler
precision|f8|precision
format|nv21|format
device|tpu|device
threads|-1|threads
memory_limit|many|memory_limit
clip_frames|5000|clip_frames
END

expects "no prompt" 2 'prompt' generate -o x.y4m
expects "an empty prompt" 2 'prompt' generate -o x.y4m ""
expects "prompt and prompt file" 2 'prompt' generate --prompt_file prompt.txt -o x.y4m cat
expects "no such model" 1 'nonesuch' generate --model nonesuch -o x.y4m cat
expects "too little memory" 1 'need .* MiB' generate --memory_limit 1M -o x.y4m cat
equal "nothing of that was written" "$(ls -A | grep -e x.y4m -e x.png -e part)" ""

# inspect and bench

expects "inspect: the clip" 0 '^clip +64x64, 17 frames at 8/s' "$linvideo" inspect
for line in '^model .*motion.safetensors' '^sampler ' '^dit +[0-9]+ layers' \
    'attention .* in layers? 0' '^text +UMT5' '^decoder ' '^dit +[0-9]+ +[0-9]+ .* F16' \
    '64x64, 17 frames: 80 tokens' '^f32 .*MiB'; do
    echo "$said" | grep -qE "$line" && ok "inspect: $line" ||
        not_ok "inspect: $line" "$said"
done
expects "inspect: another size" 0 '^128x72, 17 frames: 200 tokens .made at 128x80' \
    "$linvideo" inspect --size 128x72
expects "inspect: tensors" 0 'dit.blocks.0.ffn.0.weight +F16 +\[768,192\]' \
    "$linvideo" inspect --tensors
expects "inspect: JSON" 0 '"tokens": 80' "$linvideo" inspect --json
expects "inspect: JSON of tensors" 0 '"dit.head.modulation"' \
    "$linvideo" inspect --json --tensors
for graph in text dit decode; do
    expects "inspect: graph of $graph" 0 '^ *0 .*# [a-z0-9]+\.c:[0-9]+' \
        "$linvideo" inspect --graph $graph
done
status "inspect: a path" 0 "$linvideo" inspect "$models/motion.safetensors"
expects "inspect: no such model" 1 'nonesuch' "$linvideo" inspect nonesuch
expects "inspect: no model file" 1 'prompt.txt' "$linvideo" inspect ./prompt.txt
expects "inspect: an unknown graph" 2 'not one of text, dit, decode' \
    "$linvideo" inspect --graph vae
expects "inspect: a bad size" 2 'size' "$linvideo" inspect --size 64
expects "inspect: an unknown option" 2 'no option "depth"' "$linvideo" inspect --depth 1
odd=$(printf 'odd\033[31m\nlinvideo: done.safetensors')
cp "$models/motion.safetensors" "$odd"
expects "inspect: an odd name is shown on its line" 0 '^model .*odd.x1B.31m.x0Alinvideo: done' \
    "$linvideo" inspect "./$odd"
equal "it writes no escape" "$(echo "$said" | grep -c "$(printf '\033')")" 0
equal "it forges no line" "$(echo "$said" | grep -c '^linvideo: done')" 0
rm "$odd"
head -c 5000 "$models/motion.safetensors" >cut.safetensors
expects "inspect: a cut file" 1 'cut.safetensors' "$linvideo" inspect ./cut.safetensors

expects "bench: list" 0 '^\* +dit-1.3b-1280 ' "$linvideo" bench --list
for name in dit-1.3b-5120-linear16 dit-1.3b-32760-linear16 dit-motion dit-motion-step \
    linear-layer-2048 linear-layer-65536 tae-256; do
    echo "$said" | grep -q " $name " && ok "bench: $name" || not_ok "bench: $name"
done
expects "bench: an unknown name" 2 'named "dit-9b"' "$linvideo" bench dit-9b
expects "bench: an unknown precision" 2 'not one of auto, f32, bf16, int8, fp8' \
    "$linvideo" bench --precision f8
expects "bench: one work" 0 '^dit-motion +[0-9.]+ [mu]?s .* [0-9.]+ +[0-9]+ %' \
    "$linvideo" bench --reps 2 --ops dit-motion
for line in '^ceiling: [0-9]+ GFLOP/s in bf16, [1-9][0-9]* in f32' '^    linear ' \
    'dit\.c:[0-9]+'; do
    echo "$said" | grep -qE "$line" && ok "bench: $line" || not_ok "bench: $line" "$said"
done
expects "bench: JSON" 0 '"name": "op-norm", "seconds": [0-9]' \
    "$linvideo" bench --json --reps 2 --precision f32 --threads 1 op-norm op-gate

# whole clips, of a model in memory
expects "bench: a clip" 0 '^clip-tiny: 9 frames of 48x64, 3 steps, 1 of 4 layers linear, tiny decoder' \
    "$linvideo" bench --small --size 48x64 --clip-frames 9 --steps 3 --linear 1 --decoder tiny \
    clip-tiny
for line in opening loading text denoising decoding delivery sum \
    'text +[0-9.]*[1-9][0-9]* +[0-9.]*[1-9][0-9]* +0\.0000 ' 'denoising .* [1-9][0-9]* %$'; do
    echo "$said" | grep -qE "^    $line" && ok "bench: a clip: $line" ||
        not_ok "bench: a clip: $line" "$said"
done
expects "bench: clip: JSON" 0 '"stages": \{"opening": \{"seconds": \[' \
    "$linvideo" bench --small --json --weights fp8 clip-tiny
expects "bench: clip: in Q4_K" 0 'network stored in Q4_K' \
    "$linvideo" bench --small --reps 1 --weights q4_k clip-tiny
expects "bench: clip: what it takes" 0 'memory: weights 27\.[0-9]+ GiB, work [0-9.]+, [0-9.]+ in all' \
    "$linvideo" bench --small --plan --memory-limit 900G clip-14b-480p
expects "bench: clip: too little memory" 1 '832x480, 81 frames in tiles of 128 need .* 1024\.0 are available' \
    "$linvideo" bench --small --memory-limit 1G clip-1.3b-480p
expects "bench: an option of clips" 2 'option linear: expected whole clips .* got op-norm' \
    "$linvideo" bench --linear 3 op-norm
expects "bench: too many linear layers" 2 'option linear: expected 0 to 4, the layers of clip-tiny, got 5' \
    "$linvideo" bench --linear 5 clip-tiny
expects "bench: an unknown decoder" 2 'option decoder: "vae" is not wan, tiny' \
    "$linvideo" bench --decoder vae clip-tiny

# Training data

expects "dataset: captions" 0 '^[A-Za-z].* [a-z]' "$linvideo" dataset --captions 20
equal "as many as asked for" "$(echo "$said" | wc -l)" 20
equal "the same each time" "$("$linvideo" dataset --captions 20)" "$said"
expects "dataset: other ones are held out" 0 ' ' "$linvideo" dataset --captions 20 --held-out
expects "dataset: a sheet" 0 ' ' "$linvideo" dataset --count 3 --frames 9 --size 64x48 -o d.png
equal "its size" "$(probe d.png width,height)" "404_152"
status "dataset: a clip" 0 "$linvideo" dataset --index 7 --frames 9 -o d.y4m
equal "what is in it" "$(probe d.y4m $fields)" 192_112_yuv420p_tv_8/1_9
"$linvideo" dataset --index 8 --frames 9 -o e.y4m
empty "another number, other frames" "$(cmp -s d.y4m e.y4m && echo "the same frames")"
status "dataset: a tokenizer" 0 "$linvideo" dataset --captions 2000 --tokenizer d.spm
[ -s d.spm ] && ok "it is written" || not_ok "it is written"
expects "dataset: measurement" 0 '^  objects +[0-9]+ +100.00 %' \
    "$linvideo" dataset --size 96x64 --measure 2
expects "dataset: the reel, a sheet" 0 ' ' \
    "$linvideo" dataset --clips reel --count 2 --frames 3 --size 64x36 -y -o d.png
expects "dataset: the reel, captions with things" 0 'dog|pizza|moon|guitar' \
    "$linvideo" dataset --clips reel --art none.ttf --captions 2000
expects "dataset: a font that is none" 1 'd.png' \
    "$linvideo" dataset --clips reel --art d.png --count 1 --frames 1 -y -o e.png
expects "dataset: other clips" 2 'expected "shapes" or "reel"' \
    "$linvideo" dataset --clips films --captions 1
expects "dataset: the reel can't be measured" 2 'option measure' \
    "$linvideo" dataset --clips reel --measure 1
expects "dataset: nothing to do" 2 'nothing to do' "$linvideo" dataset
expects "dataset: an unknown option" 2 'no option "depth"' "$linvideo" dataset --depth 1
expects "dataset: a bad size" 2 'option size' "$linvideo" dataset --size 5x5 -o e.png
expects "dataset: no such folder" 1 'nowhere/e.png' "$linvideo" dataset -o nowhere/e.png

# Training

# steps_of FILE: steps that a run has taken
steps_of() {
    grep -aom 1 'step=[0-9]*' "$1" | head -n 1
}

expects "train: stopped at a step" 3 'autoencoder 3/6: psnr' "$linvideo" train --until 3 "$recipe"
equal "the stages until then" "$(cd tiny && echo *)" \
    "autoencoder.jsonl autoencoder.safetensors tokenizer.spm"
equal "the step is in the file" "$(steps_of tiny/autoencoder.safetensors)" step=3
status "train: on, a stage" 0 "$linvideo" train --stage autoencoder "$recipe"
status "train: on, the next" 0 "$linvideo" train --stage latents "$recipe"
expects "train: stopped in the last" 3 'flow 3/6: loss' "$linvideo" train --until 3 "$recipe"
status "train: to the end" 0 "$linvideo" train "$recipe"
equal "a line for each step" "$(sed 's/,.*//' tiny/flow.jsonl | tr '\n' ' ')" \
    '{"step": 1 {"step": 2 {"step": 3 {"step": 4 {"step": 5 {"step": 6 '
expects "train: nothing is left to do" 0 'wrote tiny/model' "$linvideo" train "$recipe"
status "train: without a stop" 0 "$linvideo" train --dir whole -o whole.safetensors "$recipe"
cmp -s tiny/model.safetensors whole.safetensors && ok "the same model" ||
    not_ok "the same model"
expects "inspect: what came out" 0 '^clip +32x32, 5 frames' \
    "$linvideo" inspect ./whole.safetensors
status "generate: with it" 0 generate --model ./whole.safetensors -o w.y4m "$prompt"
equal "what is in it" "$(probe w.y4m $fields)" 32_32_yuv420p_tv_8/1_5
sed 's/"steps": 6/"steps": 1000000/' "$recipe" >long.json
status "train: stopped by SIGINT" 130 timeout --preserve-status -s INT 2 \
    "$linvideo" train --stage autoencoder long.json
# two at once are one, a second later is another
rm -rf long
"$linvideo" train --stage autoencoder long.json >said 2>&1 &
child=$!
sleep 1.5
kill -INT $child
sleep 0.1
kill -INT $child 2>/dev/null
code=0
wait $child || code=$?
equal "train: SIGINT twice at once" $code 130
steps=$(steps_of long/autoencoder.safetensors)
[ "${steps#step=}" -gt 0 ] && ok "what was done is saved" ||
    not_ok "what was done is saved" "$steps"
equal "and in the log" "step=$(wc -l <long/autoencoder.jsonl)" "$steps"
expects "train: other settings" 1 'steps=1000000 .*expected steps=6 ' \
    "$linvideo" train --dir long "$recipe"
mkdir early && cp long/autoencoder.safetensors early
expects "train: latents too early" 1 'an autoencoder that is done' \
    "$linvideo" train --dir early --stage latents long.json
sed 's/"text_len": [0-9]*/"text_len": 4/' "$recipe" >narrow.json
mkdir narrow && cp tiny/*.safetensors tiny/tokenizer.spm narrow && rm narrow/flow.safetensors
expects "train: captions that do not fit" 1 'tokens' "$linvideo" train narrow.json
expects "train: which recipe" 2 'expected a recipe' "$linvideo" train
expects "train: no such recipe" 1 'none.json' "$linvideo" train none.json
expects "train: an unknown stage" 2 'no stage "text"' "$linvideo" train --stage text long.json
expects "train: an unknown precision" 2 'not one of auto, f32, bf16' \
    "$linvideo" train --precision f8 long.json
expects "train: an unknown option" 2 'no option "depth"' "$linvideo" train --depth 1 long.json
expects "train: no recipe" 1 'prompt.txt: line' "$linvideo" train prompt.txt

# Post-training, of the tiny model

# Few clips, small steps.
small="--set trajectories.prompts=6 --set trajectories.clips=6
    --set maps.steps=2 --set maps.batch=2 --set linearize.batch=4 --set linearize.micro=2
    --set distill.batch=4 --set distill.micro=2 --set fake.ratio=2"

# shellcheck disable=SC2086
linearize() {
    "$linvideo" linearize $small --layers 1 --steps 6 "$@"
}

# shellcheck disable=SC2086
distill() {
    "$linvideo" distill $small --steps 4 "$@"
}

expects "linearize: stopped at a step" 3 'linearize 3/6: error [0-9.e-]+, count [0-2],' \
    linearize --dir lin --until 3 ./whole.safetensors
equal "the stages until then" "$(cd lin && echo *)" \
    "linearize.jsonl linearize.safetensors maps.jsonl maps.safetensors trajectories.safetensors"
expects "linearize: to the end" 0 'wrote lin/model.safetensors; its velocities differ' \
    linearize --dir lin ./whole.safetensors
equal "a line for each step" "$(sed 's/,.*//' lin/linearize.jsonl | tr '\n' ' ')" \
    '{"step": 1 {"step": 2 {"step": 3 {"step": 4 {"step": 5 {"step": 6 '
for field in errors alpha eta con reg r dr rho kind lr grad_norm seconds; do
    equal "with $field" "$(grep -c "\"$field\": " lin/linearize.jsonl)" 6
done
expects "linearize: the same without a stop" 0 'linear layers [01]$' \
    linearize -o lin2.safetensors ./whole.safetensors
cmp -s lin/model.safetensors lin2.safetensors && ok "the same model" ||
    not_ok "the same model"
expects "inspect: a linear layer" 0 'attention .*linear in layer [01]' \
    "$linvideo" inspect ./lin2.safetensors
status "generate: with it" 0 generate --model ./lin2.safetensors -o l2.y4m "$prompt"
printf 'a red circle\nwaves\n' >two.txt
expects "linearize: prompts of a file, layers by number" 0 'linear layers 1$' \
    linearize --dir lin3 --prompts two.txt --select 1 --objective anchored \
    --states stream --weight unit --map relu ./whole.safetensors
expects "linearize: each layer alone" 0 '^1 [0-9.e-]+$' \
    linearize --dir lin --stage sensitivity ./whole.safetensors
expects "linearize: other settings" 1 'was made with other settings' \
    linearize --dir lin --set linearize.lambda=0.5 ./whole.safetensors
sed 's/"seed": 3/"seed": 9/' "$recipe" >other.json
run "$linvideo" train -o other.safetensors other.json
expects "linearize: another teacher" 1 'trajectories of teacher=' \
    linearize --dir lin ./other.safetensors
expects "linearize: a model that is linear" 1 'has linear layers already' \
    linearize --dir lin4 ./lin2.safetensors
expects "linearize: which model" 2 'expected a model' "$linvideo" linearize
expects "linearize: an unknown stage" 2 'no stage "text"' linearize --stage text x
expects "linearize: an unknown option" 2 'no option "depth"' linearize --depth 1 x
expects "linearize: an unknown objective" 1 'objective is "best"' \
    linearize --objective best ./whole.safetensors
expects "linearize: an unknown setting" 1 'not SECTION.KEY=VALUE' \
    linearize --set linearize.speed=1 ./whole.safetensors
status "linearize: stopped by SIGINT" 130 timeout --preserve-status -s INT 2 \
    "$linvideo" linearize --dir lin5 --steps 1000000 --set trajectories.prompts=2 \
    --set trajectories.clips=2 ./whole.safetensors
equal "what was done is in the log" "step=$(wc -l <lin5/linearize.jsonl)" \
    "$(steps_of lin5/linearize.safetensors)"

expects "report: the table" 0 '^  linear layers +[01]$' env PATH=/nowhere "$linvideo" report \
    --plots drawn --json r.json lin/linearize.jsonl lin3/linearize.jsonl
for line in 'count changed +[0-9]+ times' 'relative error +[0-9.e-]+; by time' \
    'no gnuplot here: drawn/layers.gp'; do
    echo "$said" | grep -qE "$line" && ok "report: $line" || not_ok "report: $line" "$said"
done
equal "report: scripts are left" "$(cd drawn && echo *.gp)" \
    "errors-lin.gp errors-lin3.gp layers.gp shares-lin.gp shares-lin3.gp"
expects "report: JSON" 0 '"flips": [0-9]' cat r.json
expects "report: no log" 1 'No such file' "$linvideo" report none.jsonl
expects "report: another log" 2 'not a log of linvideo linearize' \
    "$linvideo" report tiny/flow.jsonl

expects "distill: stopped at a step" 3 'distill 2/4: error' \
    distill --dir dis --teacher ./whole.safetensors --until 2 ./lin2.safetensors
equal "both nets are there" "$(cd dis && echo *)" \
    "distill.jsonl distill.safetensors distill.safetensors.fake-2 trajectories.safetensors"
expects "distill: to the end" 0 'wrote dis/model.safetensors: 4 steps, guidance 1' \
    distill --dir dis --teacher ./whole.safetensors ./lin2.safetensors
status "distill: without a stop" 0 distill --dir dis2 --teacher ./whole.safetensors \
    -o dis2.safetensors ./lin2.safetensors
cmp -s dis/model.safetensors dis2.safetensors && ok "the same model" ||
    not_ok "the same model"
expects "inspect: its sampler" 0 'sampler +renoise, 4 steps, shift 5, guidance 1' \
    "$linvideo" inspect ./dis2.safetensors
status "generate: as it says" 0 "$linvideo" generate --model ./dis2.safetensors --seed 1 \
    -o d2.y4m "$prompt"
expects "distill: an unknown stage" 2 'no stage "maps"' distill --stage maps x

expects "compare: the table" 0 '^Frechet distance +[0-9.e-]+ +[0-9.e-]+ +[0-9.]+$' \
    "$linvideo" compare -q --clips 2 --wording plain --json c.json ./lin2.safetensors \
    ./whole.safetensors
for name in frechet_ratio flicker_ratio distance_ratio distance_error median_ratio; do
    grep -q "\"$name\": [0-9]" c.json && ok "compare: $name" || not_ok "compare: $name"
done
equal "compare: of two clips the median is the mean" \
    "$(sed -n 's/.*"median": \([0-9.e-]*\).*/\1/p' c.json)" \
    "$(sed -n 's/.*"distance": \([0-9.e-]*\).*/\1/p' c.json)"
expects "compare: a model with itself" 0 '"distance": 0.0,' "$linvideo" compare -q --clips 2 \
    --json - ./whole.safetensors ./whole.safetensors
"$linvideo" compare -q --clips 2 --wording plain --json two.json ./lin2.safetensors \
    ./whole.safetensors ./whole.safetensors >two.txt
distances() { echo $(grep -o '"distance": [0-9.e-]*' "$1"); }
equal "compare: two students" "$(distances two.json)" "$(distances c.json) \"distance\": 0.0"
equal "compare: two tables" "$(grep -c '^squared distance' two.txt)" 2
expects "compare: one model" 2 'expected STUDENT... TEACHER' "$linvideo" compare motion
expects "compare: other sizes" 2 'makes 32x32' \
    "$linvideo" compare -q --wording plain ./whole.safetensors motion
expects "compare: one clip" 2 'expected an integer from 2 to' \
    "$linvideo" compare --clips 1 motion motion

# Evaluation

# Short, and of prompts that every model takes.
evaluate() {
    "$linvideo" eval --quiet --prompts 2 --steps 1 --wording plain "$@"
}

printf '{"step": %d, "loss": %s}\n' 1 2.5 2 1.25 >run.jsonl
expects "eval: the table" 0 '^  colour +[0-9.]+ % +100.0 % +[0-9.]+ %' \
    env PATH=/nowhere "$linvideo" eval --quiet --prompts 2 --steps 1 --wording plain -v \
    --json e.json --sheet e.png --plots charts --log run.jsonl
for line in '^ +0 [c-][s-][m-][b-] a .*: [a-z]+ ' '^reconstruction +[0-9.]+ dB' \
    '^Frechet distance( +[0-9.]+){3}$' 'swapped: [0-2],' \
    'no gnuplot here: charts/training.gp'; do
    echo "$said" | grep -qE "$line" && ok "eval: $line" || not_ok "eval: $line" "$said"
done
equal "eval: the sheet" "$(probe e.png width,height)" "404_132"
equal "eval: data of the curve" "$(cat charts/training.dat)" "1 2.5 2.5
2 1.25 2.475"
equal "eval: scripts are left" "$(cd charts && echo *.gp)" "accuracy.gp training.gp"
expects "eval: JSON" 0 '"prompts": 2' cat e.json
expects "eval: a log without plots" 2 'goes with option plots' evaluate --log run.jsonl
expects "eval: one prompt" 2 'expected an integer from 2 to' evaluate --prompts 1
expects "eval: an unknown wording" 2 'not one of plain, free' evaluate --wording loud
expects "eval: a bad guidance" 2 'guidance' evaluate --guidance 0.5
expects "eval: no such model" 1 'nonesuch' evaluate nonesuch
expects "eval: a folder that is not there" 1 'No such file' evaluate --sheet none/e.png
expects "eval: it is noticed before the work" 1 'none/e.json: No such file' \
    env timeout 5 "$linvideo" eval --quiet --prompts 100000 --json none/e.json

# Signals and terminals

long="--steps 1000 --frames 4000"
for pair in INT:130 TERM:143 HUP:129; do
    # shellcheck disable=SC2086
    status "stopped by SIG${pair%:*}" "${pair#*:}" timeout --preserve-status \
        -s "${pair%:*}" 1 "$linvideo" generate $long -o s.y4m "$prompt"
done
# shellcheck disable=SC2086
"$linvideo" generate --seed 1 $long -o s.y4m "$prompt" 2>/dev/null &
child=$!
sleep 1.5
kill -TERM $child
sleep 0.05
kill -TERM $child 2>/dev/null
code=0
wait $child || code=$?
equal "SIGTERM twice at once is one" $code 143
equal "nothing is left of them" "$(ls -A | grep s.y4m)" ""

# terminal COMMAND: its output, run on a terminal 70 columns wide
terminal() {
    script -qec "stty cols 70; $1" /dev/null 2>&1 </dev/null
}

# A bare chroot has no pseudo-terminals.
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    base="'$linvideo' generate --seed 1 '$prompt'"
    expects "no video to a terminal" 2 'not written to a terminal' terminal "$base -o -"
    TERM=xterm terminal "$base --steps 200 --frames 5 -o t.y4m" >bar
    grep -q '#\.*\]  *[0-9]* %' bar && ok "a bar on a terminal" ||
        not_ok "a bar on a terminal" "$(cat bar)"
    equal "it fits the width" "$(tr '\r' '\n' <bar | sed 's/.\[K//' |
        grep '%' | awk 'length > 70' | head -n 1)" ""
    TERM=dumb terminal "$base -y --steps 200 --frames 5 -o t.y4m" >bar
    equal "no bar on a dumb one" "$(grep -c '#' bar)" 0
    { sleep 1; printf '\003'; sleep 5; } |
        TERM=xterm script -qec "exec $base $long -o u.y4m" /dev/null >bar 2>&1
    equal "Ctrl-C" $? 130
    equal "leaves nothing" "$(ls -A | grep u.y4m)" ""
fi
run generate --steps 300 --frames 5 -o l.y4m "$prompt"
equal "no bar elsewhere" "$(echo "$said" | grep -c '#')" 0
equal "nor control characters" "$(echo "$said" | grep -c '[[:cntrl:]]')" 0

finish
