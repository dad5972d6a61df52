#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The source filter in a real ffmpeg: $FFMPEG_LINVIDEO, or the command in the
# build folder. Any FFmpeg with the filter will do, also one of "make ffmpeg".

. "$(dirname "$0")/report.sh"

ffmpeg=$(absolute "${FFMPEG_LINVIDEO:-${BUILD:-build}/ffmpeg-linvideo}")
linvideo=$(absolute "${LINVIDEO:-${BUILD:-build}/linvideo}")
models=$(absolute "${BUILD:-build}/tests/model")
samples=$(absolute "$(dirname "$0")/../samples")
make=$(absolute "${BUILD:-build}/tests/make_wan")
spm=$(absolute "$(dirname "$0")/ref/tokenizer.spm")
emu=$(absolute "${BUILD:-build}/tests/emu")
LINVIDEO_MODEL_PATH=${LINVIDEO_MODEL_PATH:-$models}
export LINVIDEO_MODEL_PATH

[ -x "$ffmpeg" ] || { echo "no $ffmpeg here (make dropin)"; exit 77; }
[ -f "$models/motion.safetensors" ] || { echo "no model in $models (make tests)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

prompt="a large red circle moving left on a blue background"
# Quick, and the same each time and by either way.
quick="linvideo=steps=2:seed=1:matrix=bt709"
plain="$quick:prompt=$prompt"
tiny="$plain:size=32x32:steps=1"

ff() { "$ffmpeg" -hide_banner -nostdin -v "${level:-error}" "$@"; }

# The ffprobe of the same FFmpeg.
probe() {
    if [ -x "${ffmpeg%/*}/ffprobe" ]; then
        "${ffmpeg%/*}/ffprobe" -v error "$@"
    else
        LINVIDEO_FFMPEG=ffprobe "$ffmpeg" -v error "$@"
    fi
}

# md5 GRAPH [OPTION...]: framemd5 of a graph; hashes: its lines alone
md5() {
    md5_graph=$1
    shift
    ff -f lavfi -i "$md5_graph" "$@" -f framemd5 -
}
hashes() { md5 "$@" | grep -v '^#'; }
complex() { ff -filter_complex "$1" -f framemd5 - | grep -v '^#'; }

# count: lines of a stream of hashes; stamps: their timestamps
count() { grep -c .; }
stamps() { awk -F ', *' '{ printf "%s ", $3 }'; }

# matches NAME TEXT PATTERN
matches() {
    if printf '%s\n' "$2" | grep -qE -e "$3"; then ok "$1"; else
        not_ok "$1" "no \"$3\" in: $2"
    fi
}

# differ NAME A B: neither is empty, and they are not the same
differ() {
    if [ -n "$2" ] && [ -n "$3" ] && [ "$2" != "$3" ]; then ok "$1"; else
        not_ok "$1" "the same or nothing"
    fi
}

# fails NAME PATTERN ARGUMENT...: an error that ffmpeg ends with, and its message
fails() {
    fails_name=$1 pattern=$2
    shift 2
    code=0
    said=$(ff "$@" -f null - 2>&1) || code=$?
    case $code in
    0|13[2-9]) wrong=1 ;;   # no failure, or a signal
    *) wrong=0 ;;
    esac
    if [ $wrong = 0 ] &&
       printf '%s\n' "$said" | grep -i linvideo | grep -qE -e "$pattern"; then
        ok "$fails_name"
    else
        not_ok "$fails_name" "status $code, no \"$pattern\" in: $said"
    fi
}

# refuses NAME PATTERN OPTIONS: the filter itself with these options
refuses() { fails "$1" "$2" -f lavfi -i "linvideo=$3"; }

# listing and help

matches "-filters lists it" "$(ff -filters)" ' linvideo +N->V +Make'
help=$(ff -h filter=linvideo)
for name in model prompt prompt_file textfile negative_prompt size s rate r \
            duration d frames join loop clip_frames causal causal_window causal_sink seed steps guidance guidance_start guidance_end nag nag_tau nag_alpha shift sampler cache \
            precision format pixel_format matrix native sw_format device memory_limit lora tile \
            prompt_cache strict image last_image mode video mask alpha strength inputs; do
    matches "help: $name" "$help" "^ +$name +<"
done
for name in auto text cut window euler unipc renoise 'dpm[+][+]' causvid rcm causvid-causal f32 bf16 off on; do
    matches "help: value $name" "$help" "^ +$name +[0-9]"
done
equal "help: no number where the model decides" \
    "$(printf '%s\n' "$help" | grep -E 'model.s|drawn|free|whole' | grep -c '(default [-0-9]')" 0
matches "help: the prompt alone can change" \
    "$(printf '%s\n' "$help" | grep '\.T\.')" '^ +prompt +<'

# what it is told at the start is what it delivers

said=$(level=info; ff -f lavfi -i "$plain" -f null - 2>&1)
told() { printf '%s\n' "$said" | sed -n "s/.* $1:\([^ ]*\).*/\1/p" | head -n 1; }
first=$(hashes "$plain")
equal "one clip by default" "$(echo "$first" | count)" "$(told frames)"
equal "size and rate of the model" \
    "$(md5 "$plain" -frames:v 1 | sed -n 's/^#dimensions 0: //p; s/^#tb 0: //p' | xargs)" \
    "$(told rate | awk -F / '{ print $2 "/" $1 }') $(told size)"
matches "progress" "$said" \
    ' (loading|text|denoising|decoding) clip 1/1: step [0-9]+/[0-9]+, [0-9]+ %'
begun=$(date +%s)
lines=$(level=info; ff -f lavfi -i "$plain:frames=40:steps=20" -f null - 2>&1 |
        grep -c 'clip [123]/3: step')
if [ "$lines" -le $(($(date +%s) - begun + 2)) ]; then
    ok "progress: at most a line every second"
else
    not_ok "progress: $lines lines"
fi
equal "quiet when asked" \
    "$(level=warning; ff -f lavfi -i "$tiny:matrix=auto" -f null - 2>&1)" ""

# the same bits

equal "same frames twice" "$(hashes "$plain")" "$first"
equal "same frames with 1 thread" "$(hashes "$plain:threads=1")" "$first"
equal "same frames with 2 threads" "$(hashes "$plain:threads=2")" "$first"
equal "same frames by -filter_complex" "$(complex "$plain")" "$first"
equal "same frames with -filter_complex_threads 1" \
    "$(ff -filter_complex_threads 1 -filter_complex "$plain" -f framemd5 - |
       grep -v '^#')" "$first"
differ "another seed, another video" "$(hashes "$plain:seed=2")" "$first"
differ "another prompt, another video" \
    "$(hashes "$quick:prompt=green snow falling on a black background")" "$first"
differ "frames move" "$(echo "$first" | awk '{ print $6 }' | head -n 1)" \
    "$(echo "$first" | awk '{ print $6 }' | tail -n 1)"

drawn=$(level=info; hashes "$plain:seed=-1:frames=2" 2>drawn.txt)
said=$(cat drawn.txt)
seed=$(told seed)
matches "seed -1: the seed is logged" "$seed" '^[0-9]+$'
equal "seed -1: the seed makes the video again" \
    "$(hashes "$plain:seed=${seed:-0}:frames=2")" "$drawn"
said=$(level=info; ff -f lavfi -i "$tiny:seed=-1:frames=1" -f null - 2>&1)
differ "seed -1: another one each time" "$(told seed)" "$seed"

# ffmpeg builds the graph anew when its input changes: the same seeds, the same frames

for size in 64x64 96x96; do
    ffmpeg -v error -y -f lavfi -i "testsrc=size=$size:rate=25:duration=0.2" -c:v mpeg2video \
        -f mpegts -
done >sizes.ts
both="[0:v]scale=32:32,fps=8[v];$tiny:seed=-1[a];$tiny:seed=-1[b];[v][a][b]hstack=inputs=3"
said=$(level=info; ff -i sizes.ts -filter_complex "$both" -f null - 2>&1 |
       sed -n 's/.*_\([0-9]*\) @.* seed:\([0-9]*\).*/\1 \2/p')
equal "a rebuilt graph: its filters are there twice" "$(echo "$said" | count)" 4
equal "a rebuilt graph: each keeps the seed it drew" "$(echo "$said" | sort -u | count)" 2
equal "two filters of a graph: two seeds" \
    "$(echo "$said" | cut -d ' ' -f 2 | sort -u | count)" 2

# frame counts and timestamps

while read -r options wanted base; do
    got=$(md5 "$tiny:$options")
    equal "$options: frames" "$(echo "$got" | grep -v '^#' | count)" "$wanted"
    equal "$options: timestamps" "$(echo "$got" | grep -v '^#' | stamps)" \
        "$(seq 0 $((wanted - 1)) | tr '\n' ' ')"
    equal "$options: timebase" "$(echo "$got" | sed -n 's/^#tb 0: //p')" "$base"
done <<END
duration=1:rate=8       8  1/8
d=1.3:r=10              13 1/10
d=0.01:r=8              1  1/8
d=1:r=ntsc              30 1001/30000
d=1.001:r=30000/1001    30 1001/30000
d='00\\:00\\:01.5':r=2  3  1/2
frames=1:r=25           1  1/25
frames=20:r=25          20 1/25
frames=7:clip_frames=5:r=8 7  1/8
END
equal "the end comes in time" \
    "$(complex "$tiny:frames=3[a];$tiny:frames=2[b];[a][b]concat" | stamps)" "0 1 2 3 4 "
equal "every frame lasts 1" \
    "$(hashes "$tiny" | awk -F ', *' '{ print $4 }' | sort -u)" 1

# sizes and rates that the embedded model was not made for

embedded="$samples/motion.safetensors"
own="linvideo=prompt=$prompt:seed=1:model=$embedded:frames=2:matrix=bt709"
outside() { level=info; ff -f lavfi -i "$own:$1" -f null - 2>&1; }
matches "a size it was not made for is scaled, and said" "$(outside size=100x300)" \
    'size: the model is made for 192x112: 100x300 is made at 192x112 and scaled'
equal "said once" "$(outside size=100x300 | grep -c 'and scaled')" 1
matches "native=1: it is not" "$(outside size=96x56:native=1)" \
    'size: 96x56 is not what the model is made for'
equal "scaled: the command's bytes" "$(hashes "$own:size=100x300:matrix=bt601" |
    awk '{ print $6 }' | tail -n 1)" "$("$linvideo" generate -q --seed 1 \
    --model "$embedded" --frames 2 --size 100x300 -o - "$prompt" | ff -i - -f framemd5 - |
    awk '/^[^#]/ { print $6 }' | tail -n 1)"
equal "another rate is another speed: said once" "$(outside rate=25 | grep -c \
    'rate: 25; the model makes motion for 8 frames a second: it is 3.12 times')" 1
for filter in fps=24 minterpolate=fps=24; do
    equal "$filter: the same speed" "$(ff -filter_complex "linvideo=prompt=$prompt:seed=1
        :model=$embedded:duration=2,$filter,trim=duration=1.5" -f framemd5 - |
        grep -vc '^#')" 36
done

# sizes and formats

while read -r w h; do
    got=$(md5 "$plain:steps=1:frames=1:s=${w}x$h" | grep -v '^#[fvhsmct]')
    bytes=$((w * h + 2 * ((w + 1) / 2) * ((h + 1) / 2)))
    equal "size ${w}x$h" "$(echo "$got" | sed -n 's/^#dimensions 0: //p')" "${w}x$h"
    equal "size ${w}x$h: bytes" "$(echo "$got" | awk -F ', *' '!/^#/ { print $5 }')" \
        "$bytes"
done <<END
16 16
33 17
65 49
100 40
31 127
96 64
END

formats="yuv420p yuv444p gbrp rgb24 nv12"
for format in $formats; do
    for option in format pixel_format; do
        equal "$option=$format" "$(level=info; ff -f lavfi \
            -i "$tiny:frames=1:$option=$format,showinfo" -f null - 2>&1 |
            sed -n 's/.*n: *0 .*fmt:\([^ ]*\).*/\1/p' | sort -u)" "$format"
    done
    equal "unset, and $format wanted: nothing converts" "$(level=verbose; ff \
        -filter_complex "$tiny:frames=1,format=$format,showinfo" -f null - 2>&1 |
        sed -n 's/.*n: *0 .*fmt:\([^ ]*\).*/\1/p; s/.*auto.*scale.*/converted/p' |
        xargs)" "$format"
done
equal "unset, and anything wanted: yuv420p" \
    "$(level=info; ff -f lavfi -i "$tiny:frames=1,showinfo" -f null - 2>&1 |
       sed -n 's/.*n: *0 .*fmt:\([^ ]*\).*/\1/p')" yuv420p

# like FORMAT FILTERS LUMA CHROMA: our own conversion is like FFmpeg's from RGB, by
# so many decibels at least; scalers differ in how they make chroma smaller
like() {
    decibels=$(level=info; ff -filter_complex "$plain:frames=2:format=rgb24,$2[a];
        $plain:frames=2:format=$1[b];[a][b]psnr" -f null - 2>&1 |
        sed -n 's/.*PSNR [yr]:\([^ ]*\) [ug]:\([^ ]*\) [vb]:\([^ ]*\).*/\1 \2 \3/p')
    if echo "$decibels" | awk -v luma="$3" -v chroma="$4" '
           function enough(got, want) { return got == "inf" || got + 0 >= want }
           NF == 3 && enough($1, luma) && enough($2, chroma) && enough($3, chroma) {
               good = 1
           }
           END { exit !good }'; then
        ok "$1 shows what rgb24 shows"
    else
        not_ok "$1 shows what rgb24 shows" "decibels: $decibels"
    fi
}
to709="scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"
like yuv444p "$to709,format=yuv444p" 50 50
like yuv420p "$to709,format=yuv420p" 50 28
like gbrp "format=gbrp" 100 100

tags() {
    ff -y -filter_complex "$tiny:frames=2:format=$1" -c:v "$2" tags.mkv || return
    probe -select_streams v:0 -of csv=p=0 -show_entries \
        stream=color_range,color_space,color_transfer,color_primaries tags.mkv
    probe -select_streams v:0 -of csv=p=0 -read_intervals '%+#1' -show_entries \
        frame=color_range,color_space,color_transfer,color_primaries tags.mkv
}
equal "colour tags of yuv420p" "$(tags yuv420p ffv1 | grep . | sort -u)" \
    "tv,bt709,bt709,bt709"
equal "colour tags of yuv444p" "$(tags yuv444p ffv1 | grep . | sort -u)" \
    "tv,bt709,bt709,bt709"
matches "colour of rgb24 is full range" "$(level=info; ff -filter_complex \
    "$tiny:frames=1:format=rgb24,showinfo" -f null - 2>&1)" 'color_range:pc'

# frames in GPU memory, with tests/emu in place of the driver for FFmpeg and library

refuses "format=cuda on the cpu" 'format=cuda: expected a GPU, but device is cpu|convert' \
    "prompt=$prompt:format=cuda:device=cpu"
fails "format=cuda on the cpu, in a graph" 'format=cuda: expected a GPU, but device is cpu' \
    -filter_complex "$tiny:format=cuda:device=cpu,hwdownload,format=nv12"
fails "sw_format we do not make" 'sw_format rgb24 is not one of nv12, yuv420p, yuv444p' \
    -filter_complex "$tiny:format=cuda:sw_format=rgb24,hwdownload,format=rgb24"

# gpu FUNCTION ARGUMENT...: with the stand-in
mkdir gpu
ln -s "$emu/libcuda.so" gpu/libcuda.so.1
gpu() (
    LINVIDEO_LIBCUDA=$emu/libcuda.so LINVIDEO_LIBCUBLASLT=$emu/libcublasLt.so
    LD_LIBRARY_PATH=$work/gpu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LINVIDEO_LIBCUDA LINVIDEO_LIBCUBLASLT LD_LIBRARY_PATH
    "$@"
)

# made DEVICE FORMAT OPTIONS [OPTION...]: frames of the GPU, from where FORMAT keeps them
made() {
    made_graph="$tiny:frames=2:clip_frames=2:size=34x18:device=$1:$2"
    shift 2
    gpu ff "$@" -filter_complex "$made_graph" -f framemd5 - | grep -v '^#'
}

# no_frames NAME PATTERN SETTING OPTIONS [OPTION...]: the same, when it must fail
no_frames() {
    no_name=$1 no_pattern=$2 no_setting=$3 no_graph="$tiny:$4,hwdownload,format=nv12"
    shift 4
    said=$(export "$no_setting"; gpu ff "$@" -filter_complex "$no_graph" -f null - 2>&1) &&
        said="status 0: $said"
    matches "$no_name" "$(echo "$said" | grep linvideo)" "$no_pattern"
}

if ! ff -hwaccels | grep -q '^cuda$'; then
    fails "no CUDA in this FFmpeg" 'this FFmpeg is built without CUDA' \
        -filter_complex "$tiny:format=cuda,hwdownload,format=nv12"
elif [ -f "$emu/libcuda.so" ] && ! "$linvideo" devices | grep -q 'no CUDA device'; then
    for format in nv12 yuv420p yuv444p; do
        there=$(made cuda format=$format)
        differ "frames of the GPU: $format" "$there" "-"
        equal "frames in GPU memory: $format" \
            "$(made cuda "format=cuda:sw_format=$format,hwdownload,format=$format")" "$there"
    done
    there=$(made cuda format=nv12)
    equal "frames in GPU memory: nv12 unless asked, auto is the GPU" \
        "$(made auto "format=cuda,hwdownload,format=nv12")" "$there"
    equal "frames in GPU memory: the device of filters" "$(made cuda \
        "format=cuda,hwdownload,format=nv12" -init_hw_device cuda=cu:0 -filter_hw_device cu)" \
        "$there"
    equal "frames in GPU memory: the second GPU" "$(export EMU_DEVICES=2
        made "'cuda\\:1'" "format=cuda,hwdownload,format=nv12")" "$there"
    matches "frames in GPU memory: colour" "$(level=info; gpu ff -filter_complex \
        "$tiny:frames=1:format=cuda,hwdownload,format=nv12,showinfo" -f null - 2>&1)" \
        'color_range:tv color_space:bt709'
    no_frames "no GPU" 'format=cuda: FFmpeg opens no CUDA device' EMU_DEVICES=0 format=cuda
    no_frames "no second GPU" 'format=cuda: .* there is no GPU 1' EMU_DEVICES=1 \
        "format=cuda:device='cuda\\:1'"
    no_frames "another GPU than that of filters" 'device is cuda:1, .* is of cuda:0' \
        EMU_DEVICES=2 "format=cuda:device='cuda\\:1'" -init_hw_device cuda=cu:0 \
        -filter_hw_device cu
    no_frames "a height that has no half" 'even height, got 17; nv12' EMU_DEVICES=1 \
        size=32x17:format=cuda:sw_format=yuv420p
    no_frames "a size that is scaled" 'scaled from 192x112, which is not done in GPU memory' \
        EMU_DEVICES=1 "model=$samples/motion.safetensors:size=100x60:format=cuda"
    no_frames "a GPU that is too old" 'compute capability 8.0 is needed' EMU_ARCH=75 format=cuda
fi

# what has no effect

warned=$(level=warning; ff -f lavfi -i "linvideo=a red dragon over a castle:frames=1:guidance=0:\
negative_prompt=blue:model=$samples/motion.safetensors" -f null - 2>&1 | sed 's/^[^]]*\] //')
equal "what has no effect is said, in the library's words" "$warned" \
"guidance: 0 means the model's own; 1 turns guidance off
negative_prompt: it is not used with guidance 1, which is off; nag uses it
prompt: the model does not know: dragon, castle"

# the prompt: file, metadata, command

text="it's 2:30, a \"red\" circle; [b] %d \\n"
printf '%s\n' "$text" >prompt.txt
printf '%s' "$prompt" >plain.txt
printed() {
    ff -f lavfi -i "$1,metadata=print:file=-" -f null - |
        sed -n "s/^lavfi\.linvideo\.$2=//p"
}
equal "a value without a name is the prompt" "$(hashes "linvideo=$prompt:${quick#linvideo=}")" \
    "$first"
mkfifo fifo
echo "$prompt" >fifo &
equal "a named pipe gives the prompt" "$(hashes "$quick:prompt_file=fifo")" "$first"
equal "prompt_file and prompt are the same" \
    "$(hashes "$quick:prompt_file=plain.txt")" "$first"
equal "textfile and prompt are the same" \
    "$(hashes "$quick:textfile=plain.txt")" "$first"
equal "prompt_file needs no escaping" \
    "$(printed "$quick:steps=1:s=32x32:prompt_file=prompt.txt" prompt | sort -u)" \
    "$text"
equal "metadata: prompt" "$(printed "$tiny" prompt | sort -u)" "$prompt"
equal "metadata: seed" "$(printed "$tiny" seed | sort -u)" 1
equal "metadata: clip" "$(printed "$tiny:frames=7:clip_frames=5" clip | xargs)" \
    "0 0 0 0 0 1 1"
matches "metadata: model" "$(printed "$tiny:frames=1" model)" '^[^/]+$'
equal "metadata reaches ffprobe" "$(probe -f lavfi -i "$tiny:frames=2" \
    -show_entries frame_tags=lavfi.linvideo.seed -of csv=p=0 | xargs)" "1 1"
echo "0.1 linvideo prompt 'green snow falling on a black background';" >change.txt
echo "0.1 linvideo prompt '';" >clear.txt
equal "command prompt: from the next clip on" \
    "$(printed "$tiny:frames=10:clip_frames=5,sendcmd=f=change.txt" \
        prompt | uniq -c | xargs)" \
    "5 $prompt 5 green snow falling on a black background"
equal "command prompt: an empty one leaves the old" \
    "$(printed "$tiny:frames=10:clip_frames=5,sendcmd=f=clear.txt" prompt \
        2>empty.txt | sort -u)" "$prompt"
equal "command prompt: a whole keeps its own" \
    "$(printed "$tiny:frames=10:clip_frames=5:native=1:join=window,sendcmd=f=change.txt" prompt \
        2>whole.txt | uniq -c | xargs)" "10 $prompt"
matches "command prompt: which is said" "$(cat whole.txt)" 'made as a whole; expected it before'
matches "command prompt: an empty one is said" "$(cat empty.txt)" 'linvideo.*empty'

# graphs

equal "two instances in one graph: the first" \
    "$(complex "$plain[a];$plain:seed=2[b];[a][b]hstack,crop=iw/2:ih:0:0")" "$first"
equal "two instances in one graph: the second" \
    "$(complex "$plain[a];$plain:seed=2[b];[a][b]hstack,crop=iw/2:ih:iw/2:0")" \
    "$(hashes "$plain:seed=2")"
equal "an early stop by -frames:v" \
    "$(hashes "$plain" -frames:v 2)" "$(echo "$first" | head -n 2)"
equal "an early stop by -t" "$(hashes "$tiny:r=8:frames=100" -t 0.5 | count)" 4
equal "an early stop within the graph" \
    "$(complex "$plain,trim=end_frame=3")" "$(echo "$first" | head -n 3)"

# inputs: images

image() {
    printf 'P6\n64 64\n255\n' >$1
    head -c 6000 /dev/zero >>$1
    head -c 6288 /dev/zero | tr '\0' "$2" >>$1
}
image dark.ppm 2
image light.ppm w
for kind in i2v flf2v; do
    mkdir $kind
    "$make" $kind "$spm" tiny-$kind && "$linvideo" setup $kind >setup.txt 2>&1 ||
        not_ok "random weights of $kind" "$(cat setup.txt)"
done
still="native=1:clip_frames=5:steps=2:seed=1:precision=f32:format=rgb24:prompt=cat"
# pads GRAPH ARGUMENT...: hashes of the frames of a graph with inputs
pads() {
    pads_graph=$1
    shift
    ff "$@" -filter_complex "$pads_graph" -f framemd5 - | grep -v '^#'
}
moved=$(hashes "linvideo=model=i2v/wan.json:image=dark.ppm:$still" 2>/dev/null)
equal "inputs: an image is that of option image" \
    "$(pads "[0:v]linvideo=inputs=1:model=i2v/wan.json:$still" -i dark.ppm 2>/dev/null)" "$moved"
equal "inputs: an image without an end" \
    "$(pads "[0:v]linvideo=inputs=1:model=i2v/wan.json:$still" -loop 1 -i dark.ppm 2>/dev/null)" \
    "$moved"
differ "inputs: another image" \
    "$(pads "[0:v]linvideo=inputs=1:model=i2v/wan.json:$still" -i light.ppm 2>/dev/null)" "$moved"
equal "inputs: first and last image" \
    "$(pads "[0:v][1:v]linvideo=inputs=2:model=flf2v/wan.json:$still" -i dark.ppm -i light.ppm \
        2>/dev/null)" \
    "$(hashes "linvideo=model=flf2v/wan.json:image=dark.ppm:last_image=light.ppm:$still" \
        2>/dev/null)"
# Files of other forms are images too, by FFmpeg; exact where they have no loss. PNG is there always.
for form in png bmp tga; do
    ff -y -i dark.ppm -pix_fmt $([ $form = png ] && echo rgb24 || echo bgr24) dark.$form || continue
    equal "image: $form" "$(hashes "linvideo=model=i2v/wan.json:image=dark.$form:$still:size=64x64" 2>/dev/null)" \
        "$(hashes "linvideo=model=i2v/wan.json:image=dark.ppm:$still:size=64x64" 2>/dev/null)"
done
ff -y -i dark.ppm -q:v 1 dark.jpg
equal "image: JPEG" "$(hashes "linvideo=model=i2v/wan.json:image=dark.jpg:$still:size=64x64" 2>/dev/null | count)" 5
head -c $(($(wc -c <dark.png) - 20)) dark.png >short.png
cp prompt.txt text.png
: >none.png
for broken in short text none; do
    fails "image: $broken.png" "image $broken.png: not an image that this FFmpeg reads" \
        -f lavfi -i "linvideo=model=i2v/wan.json:image=$broken.png:$still"
done
ff -y -f lavfi -i color=black:size=16380x4200,format=gray -frames:v 1 huge.png
fails "image: too large" 'image huge.png: .* more than 67108864 pixels' \
    -f lavfi -i "linvideo=model=i2v/wan.json:image=huge.png:$still"
equal "inputs: a photo goes on over clips" \
    "$(pads "[0:v]linvideo=inputs=1:model=i2v/wan.json:frames=11:size=64x64:$still,format=yuv444p" \
        -i dark.ppm 2>/dev/null | awk '{ print $6 }' | xargs)" \
    "$("$linvideo" generate -q --model i2v/wan.json --image dark.ppm --native 1 --clip-frames 5 \
        --frames 11 --size 64x64 --steps 2 --seed 1 --precision f32 --format rgb24 --join continue \
        -o f%02d.png cat && ff -i f%02d.png -vf format=yuv444p -f framemd5 - | awk '/^[^#]/ { print $6 }' |
        xargs)"
each=$(level=warning; ff -i dark.ppm -i light.ppm -filter_complex "[0:v]setfield=tff[a];
    [1:v]format=rgba[b];[a][b]linvideo=inputs=2:model=flf2v/wan.json:frames=1:$still" -f null - 2>&1)
matches "inputs: warnings for each: the first" "$each" 'Input 0: interlaced'
matches "inputs: warnings for each: the last" "$each" 'Input 1: with alpha'
fails "inputs: no image comes" 'Input 0 ended before its first frame' -i dark.ppm \
    -filter_complex "[0:v]trim=start=9[a];[a]linvideo=inputs=1:model=i2v/wan.json:$still"
fails "inputs: a model of text to video" 'image: .*text to video: it takes no image' -i dark.ppm \
    -filter_complex "[0:v]linvideo=inputs=1:prompt=$prompt"
fails "inputs: an image by option too" 'both image and image_data are given' -i dark.ppm \
    -filter_complex "[0:v]linvideo=inputs=1:image=dark.ppm:model=i2v/wan.json:$still"

# without an end: -t, a number of frames, or another input ends it; frames and times are right

endless="$tiny:native=1:clip_frames=5:duration=-1"
equal "endless: -t ends it" "$(hashes "$endless" -t 1.5)" \
    "$(hashes "$tiny:native=1:clip_frames=5:duration=1.5")"
equal "endless: times of many frames" "$(ff -f lavfi -i "$endless:rate=30000/1001" -frames:v 600 \
    -f framemd5 - | awk -F ', *' '/^[^#]/ { bad += $3 != n++ } /^#tb/ { tb = $0 }
        END { print tb, n, bad + 0 }')" "#tb 0: 1001/30000 600 0"
equal "endless: a filter that takes what it needs" \
    "$(complex "$endless,trim=end_frame=7")" "$(complex "$tiny:native=1:clip_frames=5:frames=7")"
equal "endless: another input ends it" "$(complex "testsrc=size=32x32:rate=8:duration=1[a];
    $endless:rate=8[b];[a][b]hstack=shortest=1" | count)" 8
matches "endless: it is said" "$(level=info; ff -f lavfi -i "$endless" -frames:v 1 -f null - 2>&1)" \
    'frames:endless'
refuses "endless: a loop" 'loop: expected a length' "prompt=$prompt:loop=1:duration=-1"

# a video in blocks: another prompt is that of the next one; the command makes the same frames

blocks="$tiny:native=1:causal=1:causal_window=3:duration=-1"
equal "causal: as the command" "$(hashes "$blocks" -frames:v 20)" \
    "$(hashes "$tiny:native=1:causal=1:causal_window=3:frames=20")"
equal "causal: command prompt: from the next block on" \
    "$(printed "$tiny:native=1:causal=1:frames=11,sendcmd=f=change.txt" prompt | uniq -c | xargs)" \
    "5 $prompt 6 green snow falling on a black background"
matches "causal: it is said" "$(level=info; ff -f lavfi -i "$blocks" -frames:v 1 -f null - 2>&1)" \
    'blocks of 1 latents, which see 3'

# inputs: a video

ff -f lavfi -i "smptebars=s=64x64:r=8,format=gbrp" -frames:v 20 -c:v ffv1 bars.mkv
onto="mode=video:seed=1:precision=f32:steps=4:prompt=$prompt"
restyle="linvideo=inputs=1:$onto"
again=$(pads "[0:v]$restyle" -i bars.mkv)
equal "video: as many frames as come" "$(echo "$again" | count)" 20
equal "video: the same again" "$(pads "[0:v]$restyle" -i bars.mkv)" "$again"
differ "video: strength" "$(pads "[0:v]$restyle:strength=0.2" -i bars.mkv)" "$again"
equal "video: clip after clip" \
    "$(ff -i bars.mkv -filter_complex "[0:v]$restyle,metadata=print:key=lavfi.linvideo.clip:file=-" \
        -f null - | grep -c 'clip=1')" 3
uneven="settb=1/1000,setpts=100+(N*N*7+N)*(TB^0)"
equal "video: times are the input's" "$(pads "[0:v]$uneven,$restyle" -i bars.mkv | stamps)" \
    "$(pads "[0:v]$uneven" -i bars.mkv | stamps)"
equal "video: the rate is the input's" \
    "$(ff -i bars.mkv -filter_complex "[0:v]$restyle" -f yuv4mpegpipe - 2>/dev/null |
        head -n 1 | tr ' ' '\n' | grep ^F)" F8:1
equal "video: fewer frames" "$(pads "[0:v]$restyle:frames=3" -i bars.mkv)" \
    "$(pads "[0:v]trim=end_frame=3,$restyle" -i bars.mkv)"
for whole in "join window" "loop 1"; do
    equal "$whole: the command's frames" \
        "$(complex "linvideo=${whole% *}=${whole#* }:frames=26:seed=1:steps=2:matrix=bt601:prompt=$prompt" |
            awk '{ print $6 }' | xargs)" \
        "$("$linvideo" generate -q "--${whole% *}" "${whole#* }" --frames 26 --seed 1 --steps 2 -o - \
            "$prompt" | ff -i - -f framemd5 - | awk '/^[^#]/ { print $6 }' | xargs)"
done
times="0\: red waves on a yellow background|1.5\: green waves on a black background"
complex "linvideo=join=window:frames=26:seed=1:steps=2:matrix=bt601:prompt='$times',metadata=print:file=times.txt" |
    awk '{ print $6 }' >times.md5
equal "prompts over time: the command's frames" "$(xargs <times.md5)" \
    "$("$linvideo" generate -q --join window --frames 26 --seed 1 --steps 2 -o - \
        "$(printf %s "$times" | tr -d '\\')" | ff -i - -f framemd5 - | awk '/^[^#]/ { print $6 }' | xargs)"
equal "prompts over time: metadata" "$(sed -n 's/.*prompt=//p' times.txt | uniq -c | xargs)" \
    "12 red waves on a yellow background 14 green waves on a black background"
ff -i bars.mkv -pix_fmt yuv444p -f yuv4mpegpipe bars.y4m
equal "video: of a file as by the command" \
    "$(complex "linvideo=video=bars.y4m:seed=1:precision=f32:steps=4:matrix=bt601:prompt=$prompt" |
        awk '{ print $6 }' | xargs)" \
    "$("$linvideo" generate -q --video bars.y4m --seed 1 --precision f32 --steps 4 -o - "$prompt" |
        ffmpeg -v error -i - -f framemd5 - | grep -v '^#' | awk '{ print $6 }' | xargs)"

# Colours that are the same in other matrices, ranges and depths give the same frames; the bars
# come back from the autoencoder.
back() { ff -y -i $1 -filter_complex "[0:v]$restyle:strength=0.01:frames=5:format=rgb24" \
             -c:v ffv1 -pix_fmt bgr0 $2; }
near() {
    ff -i $1 -i $2 -filter_complex "[0:v]format=gbrp[a];[1:v]format=gbrp[b];[a][b]psnr=f=-" \
        -f null - | sed 's/.*psnr_avg:\([0-9]*\).*/\1/' | sort -n | head -n 1
}
back bars.mkv rgb.mkv
while read -r kind matrix range format tag; do
    ff -y -i bars.mkv -vf "scale=flags=accurate_rnd+full_chroma_int:out_color_matrix=$matrix:out_range=$range,format=$format" \
        -colorspace $tag -color_range $range -c:v ffv1 other.mkv
    back other.mkv back.mkv
    got=$(near rgb.mkv back.mkv)
    [ "${got:-0}" -ge 34 ] && ok "video: colours of $kind" || not_ok "video: colours of $kind" "$got dB"
done <<'END'
BT.709 bt709 tv yuv420p bt709
BT.601 bt601 tv yuv420p smpte170m
full-range bt709 pc yuv444p bt709
10-bit bt709 tv yuv420p10le bt709
END
colours=$(for at in 13 23 33 43 53; do
    for file in bars rgb; do
        ff -i $file.mkv -vf "crop=4:20:$at:8,scale=1:1:flags=area,format=rgb24" -frames:v 1 \
            -f rawvideo - | od -An -tu1
    done
done | awk 'NR % 2 { split($0, want); next }
    { for (i = 1; i <= 3; i++) { d = $i - want[i]; if (d * d > 75 * 75) bad++ } }
    END { print NR, bad + 0 }')
equal "video: bars there and back" "$colours" "10 0"

warnings=$(level=warning; ff -i bars.mkv -filter_complex \
    "[0:v]setfield=tff,setsar=4/3,setparams=color_trc=smpte2084,format=rgba,$restyle:frames=2" -f null - 2>&1)
for what in 'pixels of 4:3 are taken as square' 'Input 0: interlaced' 'Input 0: with alpha' \
    'high dynamic range (smpte2084)'; do
    equal "video: said once: $what" "$(printf '%s\n' "$warnings" | grep -cF "$what")" 1
done
untimed=$(level=info; ff -i bars.mkv -filter_complex \
    "[0:v]trim=end_frame=6,setpts=NAN,$restyle,showinfo" -f null - 2>&1)
equal "video: no timestamps: said once" \
    "$(printf '%s\n' "$untimed" | grep -cF 'Input 0: frames without timestamps')" 1
equal "video: each frame follows the one before it" "$(printf '%s\n' "$untimed" |
    sed -n 's/.* pts_time:\([^ ]*\) .*/\1/p' | awk 'NR == 1 { at = $1 } NR == 2 { step = $1 }
        { d = $1 - (NR - 1) * step; bad += !(d < 1e-3 && d > -1e-3) } END { print NR, at, bad + !(step > 0) }')" \
    "6 0 0"
matches "video: as many frames as come: said" "$untimed" 'rate:[^ ]* frames:all seed:'
matches "video: a duration without a rate: said" "$(level=warning; ff -i bars.mkv \
    -filter_complex "[0:v]split[a][b];[b]fps=4[c];[a][c]concat,$restyle:duration=0.5" -f null - 2>&1)" \
    'duration: the video has no rate: it is counted in frames of the model'
change="[0:v]linvideo=inputs=1:$onto"
equal "video: another size within it" \
    "$(pads "$change" -reinit_filter 0 -i sizes.ts 2>/dev/null | count)" \
    "$(ff -i sizes.ts -f framemd5 - 2>/dev/null | grep -v '^#' | count)"
matches "video: frames that are lost" "$(level=warning; pads "$change" -i sizes.ts 2>&1)" \
    'frames of the input are lost: the graph ends before'
fails "video: none is there" 'expected a video, got none' -filter_complex "linvideo=$onto"
# masks: an option's, a second input's (once, for ever, or with times of its own), and alpha
ff -f lavfi -i "color=black:size=64x64:rate=8:duration=2.5,format=gbrp,drawbox=w=32:h=64:color=white:t=fill:enable='gte(t,1)'" \
    -c:v ffv1 when.mkv
ff -i when.mkv -pix_fmt yuv444p -f yuv4mpegpipe when.y4m
ff -sseof -0.125 -i when.mkv -frames:v 1 -pix_fmt rgb24 half.ppm
masked="linvideo=inputs=2:$onto"
half=$(pads "[0:v]$restyle:mask=half.ppm" -i bars.mkv)
differ "mask: a part is kept" "$half" "$again"
equal "mask: of a second input" "$(pads "[0:v][1:v]$masked" -i bars.mkv -i half.ppm)" "$half"
equal "mask: of one without an end" "$(pads "[0:v][1:v]$masked" -i bars.mkv -loop 1 -i half.ppm)" "$half"
equal "mask: alpha" "$(pads "[0:v]format=rgba[a];[1:v]format=gray[b];[a][b]alphamerge,$restyle:alpha=1" \
    -i bars.mkv -i half.ppm)" "$half"
times=$(pads "[0:v]$restyle:mask=when.y4m" -i bars.mkv)
differ "mask: of each frame" "$times" "$half"
equal "mask: by its timestamps" "$(pads "[0:v][1:v]$masked" -i bars.mkv -i when.mkv)" "$times"
equal "mask: the last one stays" \
    "$(pads "[1:v]trim=end=1.1[m];[0:v][m]$masked" -i bars.mkv -i when.mkv)" "$times"
fails "mask: none comes" 'Input 1 ended before its first frame, which is a mask' -i bars.mkv -i when.mkv \
    -filter_complex "[1:v]trim=start=9[m];[0:v][m]$masked"
fails "mask: alpha without a video" 'alpha: expected mode=video:inputs=1' \
    -filter_complex "linvideo=alpha=1:prompt=$prompt"
fails "mask: without a video" 'mask: expected mode video' -filter_complex "linvideo=mask=half.ppm:prompt=$prompt"
fails "video: a rate" 'rate: in mode video it is that of the input' -i bars.mkv \
    -filter_complex "[0:v]$restyle:rate=24"
fails "video: no frame comes" 'it ended before its first frame' -i bars.mkv \
    -filter_complex "[0:v]trim=start=99[a];[a]$restyle"
fails "video: a model of images" 'is a model of image to video: expected one of text' -i bars.mkv \
    -filter_complex "[0:v]$restyle:model=i2v/wan.json"

# errors: each with its own message, none with a wrong

head -c 100000 "$models/motion.safetensors" >cut.safetensors
head -c 5 "$models/motion.safetensors" >short.safetensors
: >empty.safetensors
: >nothing.txt
yes word | head -n 600 | xargs >long.txt

p="prompt=$prompt"
refuses "missing model" 'nosuchmodel' "$p:model=nosuchmodel"
refuses "missing model file" '/no/such/folder/x\.safetensors' \
    "$p:model=/no/such/folder/x.safetensors"
printf 'P6\n2 1\n255\nABCDEF' >image.ppm
refuses "image: a model of text to video" 'image: .*text to video: it takes no image' \
    "$p:image=image.ppm"
refuses "image: no image" 'image prompt\.txt: not an image' "$p:image=prompt.txt"
refuses "image: no file" 'nosuch\.png: No such file' "$p:image=nosuch.png"
refuses "truncated model" 'cut\.safetensors' "$p:model=./cut.safetensors"
refuses "model of 5 bytes" 'short\.safetensors' "$p:model=./short.safetensors"
refuses "empty model" 'empty\.safetensors' "$p:model=./empty.safetensors"
refuses "model is a text" 'prompt\.txt' "$p:model=./prompt.txt"
refuses "no prompt" 'prompt' "seed=1"
refuses "empty prompt" 'prompt' "prompt=:seed=1"
refuses "both prompt and prompt_file" 'prompt_file is .plain.txt.; give one' "$p:prompt_file=plain.txt"
while read -r options; do
    refuses "a colon in a prompt: $options" 'is .30 red.; give one of them. A colon' "$options"
done <<'END'
'a clock 10:30 red'
prompt='a clock 10:30 red'
seed=1:prompt='a clock 10:30 red'
seed=1:steps=2:prompt='a clock 10:30 red'
seed=1:steps=2:frames=1:prompt='a clock 10:30 red'
END
# both ends of every range: the model is what is missing then
while read -r option; do
    refuses "the end of a range: $option" "no model 'none'" "$p:$option:model=none"
done <<'END'
size=16x16
size=8192x8192
rate=1/1048576
rate=1048576
duration=0.000001
duration=10000000
frames=1
frames=1000000000
clip_frames=1
clip_frames=1021
seed=0
seed=4294967295
steps=1
steps=1000
guidance=1
guidance=100
guidance_start=0
guidance_end=0.01
guidance_end=1
cache=0.001
cache=1
join=cut
join=window
causal=1
causal=64
causal_window=1
causal_window=1024
causal_sink=0
causal_sink=1023
loop=0
loop=1
nag=1
nag=100
nag_tau=0.1
nag_alpha=0.01
shift=0.01
shift=100
memory_limit=1
memory_limit=1e18
tile=64
tile=8192
END
refuses "a duration that overflows" 'duration is 1e\+?300, allowed' "$p:duration=1e300"
refuses "bytes that overflow" 'memory_limit is .*allowed' "$p:memory_limit=1e300G"
refuses "missing prompt_file" 'nosuch\.txt' "prompt_file=nosuch.txt"
refuses "empty prompt_file" 'prompt' "prompt_file=nothing.txt"
refuses "a prompt that is too long" 'token' "prompt_file=long.txt"
refuses "zero duration" 'duration' "$p:duration=0"
refuses "negative duration" 'duration' "$p:duration=-2"
refuses "zero frames" 'frames' "$p:frames=0"
refuses "both frames and duration" 'frames|duration' "$p:frames=3:duration=1"
refuses "size too small" '8' "$p:size=8x8"
refuses "size too large" '9000' "$p:size=9000x64"
refuses "size that is none" 'wide' "$p:size=wide"
refuses "rate that is none" 'slow' "$p:rate=slow"
refuses "rate of zero" '0' "$p:rate=0"
refuses "unknown sampler" 'heun' "$p:sampler=heun"
refuses "unknown precision" 'f12' "$p:precision=f12"
refuses "unknown device" 'toaster' "$p:device=toaster"
refuses "unknown pixel format" 'pink' "$p:format=pink"
refuses "pixel format we do not make" 'nv21' "$p:format=nv21"
refuses "too many steps" 'steps' "$p:steps=5000"
refuses "guidance below 1" 'guidance' "$p:guidance=0.5"
refuses "guidance for no step" 'no step of 2' "$p:guidance=3:steps=2:guidance_start=0.5:guidance_end=0.5"
refuses "cache too large" 'cache' "$p:cache=2"
refuses "shift too small" 'shift' "$p:shift=0.001"
refuses "seed too large" 'seed' "$p:seed=4294967296"
refuses "too little memory" 'memory|MiB|bytes' "$p:memory_limit=1000"
refuses "unknown option" 'colour' "$p:colour=red"
fails "an error in -filter_complex" 'nosuchmodel' \
    -filter_complex "linvideo=$p:model=nosuchmodel"

# numbers that are not finite: no black frames; -xerror and -abort_on make it an exit code

header=$(od -An -tu8 -N8 "$models/motion.safetensors" | tr -d ' ')
cp "$models/motion.safetensors" nan.safetensors
printf '\000\000\300\177' |
    dd of=nan.safetensors bs=1 seek=$((header + 8)) conv=notrunc 2> /dev/null
fails "NaN in a weight, -xerror" 'nan.safetensors: .* not finite' \
    -xerror -f lavfi -i "$tiny:model=nan.safetensors"
fails "NaN in a weight, -abort_on" 'nan.safetensors: .* not finite' \
    -abort_on empty_output -f lavfi -i "$tiny:model=nan.safetensors"
fails "NaN in a weight, in a graph" 'nan.safetensors: .* not finite' \
    -abort_on empty_output -filter_complex "$tiny:model=nan.safetensors"
equal "NaN in a weight: no frames" \
    "$(md5 "$tiny:model=nan.safetensors" 2> /dev/null | grep -v '^#' | count)" 0
finish
