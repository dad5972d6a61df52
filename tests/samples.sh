#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Runs every pipeline of samples/ and asks ffprobe what came out; with SAMPLES, names with
# blanks between, only those.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1

build=$(cd "${BUILD:-build}" && pwd)
[ -x "$build/ffmpeg-linvideo" ] ||
    { echo "no $build/ffmpeg-linvideo here (make dropin)"; exit 77; }

# as samples/pipelines.md says it
PATH=$build:$PATH LINVIDEO_MODEL_PATH=$PWD/samples
export PATH LINVIDEO_MODEL_PATH
unset FFMPEG LINVIDEO
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# probe FILE ENTRIES: their values with commas between, of the first video stream
probe() {
    ffprobe -v error -select_streams v:0 -count_packets \
        -show_entries "stream=$2" -of csv=p=0 "$1" | tr -d '\r' | head -n 1
}

# wanted NAME: it is to be run
wanted() {
    case " ${SAMPLES:-$1} " in
    *" $1 "*) ;;
    *) return 1 ;;
    esac
}

# video NAME FILE WIDTH,HEIGHT FRAMES: what the sample NAME must have made
video() {
    wanted "$1" || return 0
    succeeds "$1 runs" "samples/$1.sh" "$out"
    equal "$2: size" "$(probe "$out/$2" width,height)" "$3"
    equal "$2: frames" "$(probe "$out/$2" nb_read_packets)" "$4"
}

# colours FILE: how many different colours the first frame, 8x8, has
colours() {
    ffmpeg -v error -i "$1" -frames:v 1 -vf scale=8:8 -f rawvideo \
        -pix_fmt gray - | od -An -v -tu1 -w1 | sort -u | wc -l
}

video overlay       overlay.mp4       640,360   48
video title         title.mp4         768,448   48
video 1080p         1080p.mp4         1920,1080 48
video prompt-change prompt-change.mp4 768,448   96
video hls           hls/000.ts        768,448   48
video background    background.mp4    768,448   475
video loop          loop.mp4          768,448   48
video restyle       restyle.mp4       768,448   24

# photo MODEL VARIABLE...: a photo moves, by a model of random weights
photo() {
    photo_of=$1
    shift
    mkdir -p "$out/$photo_of"
    "$build/tests/make_wan" "$out/$photo_of" tests/ref/tokenizer.spm tiny-$photo_of &&
        "$build/linvideo" setup "$out/$photo_of" >"$out/setup.txt" 2>&1
    succeeds "photo runs with $photo_of" env "$@" MODEL="$out/$photo_of/wan.json" \
        PHOTO=samples/sheet.jpg OPTIONS=size=64x64:native=1:clip_frames=5:steps=2 \
        samples/photo.sh "$out"
    equal "photo.mp4: size and frames with $photo_of" \
        "$(probe "$out/photo.mp4" width,height,nb_read_packets)" 64,64,5
}
if wanted photo; then
    photo i2v
    succeeds "photo goes on" env MODEL="$out/i2v/wan.json" PHOTO=samples/sheet.jpg \
        OPTIONS=size=64x64:native=1:clip_frames=5:steps=2:frames=12 samples/photo.sh "$out"
    equal "photo.mp4: frames of three clips" "$(probe "$out/photo.mp4" nb_read_packets)" 12
    photo flf2v LAST=samples/sheet.jpg
fi

# xfade of some FFmpeg versions makes a frame more.
if wanted crossfade; then
    succeeds "crossfade runs" samples/crossfade.sh "$out"
    frames=$(probe "$out/crossfade.mp4" nb_read_packets)
    equal "crossfade.mp4: 3.5 seconds" "$((frames / 2 * 2))" 84
fi

if wanted hls; then
    equal "HLS: two segments of two seconds" \
        "$(grep -c '^#EXTINF:2\.0' "$out/hls/index.m3u8")" 2
    equal "HLS: the list is complete" "$(tail -n 1 "$out/hls/index.m3u8")" "#EXT-X-ENDLIST"
    equal "HLS: sound" "$(ffprobe -v error -select_streams a -show_entries \
        stream=codec_name -of csv=p=0 "$out/hls/index.m3u8" | grep . | sort -u)" aac
fi
if wanted prompt-change; then
    equal "prompt-change: two prompts" "$(grep -o 'prompt=.*' \
        "$out/prompt-change.txt" 2>&1 | sort -u | wc -l)" 2
fi
if wanted pipe; then
    succeeds "pipe runs" samples/pipe.sh "$out"
    equal "pipe.mp4: size and frames" \
        "$(probe "$out/pipe.mp4" width,height,nb_read_packets)" 768,448,48
fi
if wanted batch; then
    succeeds "batch runs" env COUNT=2 samples/batch.sh "$out"
    for file in batch-001.mp4 batch-002.mp4; do
        equal "$file: size" "$(probe "$out/$file" width,height)" 768,448
    done
fi
if wanted sheet; then
    head -n 2 samples/prompts.txt >"$out/two.txt"
    succeeds "sheet runs" env PROMPTS="$out/two.txt" samples/sheet.sh "$out"
    equal "sheet.jpg: size" "$(probe "$out/sheet.jpg" width,height)" 1164,84
fi

# Prompts with every sign that a shell, make or a filter graph knows.
cat >"$out/tricky.txt" <<'END'
it's a "red": circle, 50% $HOME $(echo no) `no` \: \\ [a]; #1 é
END
tricky=$(cat "$out/tricky.txt")
if wanted demo; then
    made=$(make demo BUILD="$build" PROMPT="$tricky" OUT="$out/demo.mp4" 2>&1) || true
    equal "make demo: any prompt" "$(printf "%s\n" "$made" | sed -n 's/.* shows: //p')" "$tricky"
    equal "demo.mp4: size and frames" \
        "$(probe "$out/demo.mp4" width,height,nb_read_packets)" 768,448,17
fi
if wanted prompt-change; then
    succeeds "prompt-change: any prompt" env FIRST="$tricky" SECOND="$tricky, two" \
        samples/prompt-change.sh "$out"
    equal "prompt-change: each as it was given" "$(sed -n 's/^lavfi.linvideo.prompt=//p' \
        "$out/prompt-change.txt" | uniq)" "$(printf '%s\n' "$tricky" "$tricky, two")"
fi
for name in hls 1080p crossfade pipe; do
    wanted $name || continue
    succeeds "$name: any prompt" env PROMPT="$tricky" FIRST="$tricky" SECOND="$tricky" \
        samples/$name.sh "$out"
done
if wanted title; then
    succeeds "title: any text" env TITLE="$tricky" samples/title.sh "$out"
fi

# Ablations, cut down, of a tiny model of four layers: rows, a set that follows another row, a table;
# and nothing twice.
ablations() {
    RECIPE=$out/recipe.json STEPS=2 BATCH=1 CLIPS=2 WORDING=plain ROWS="base set" \
        TEACHER=$out/tiny/model.safetensors samples/ablations.sh "$out/ablations" cpu 1
}
if wanted ablations; then
    echo '{ "maps": { "steps": 1, "batch": 1 }, "linearize": { "r0": 0.9, "layers": 2 },
        "trajectories": { "prompts": 2, "clips": 2 } }' >"$out/recipe.json"
    sed 's/"num_layers": 2/"num_layers": 4/' tests/ref/tiny.json >"$out/tiny.json"
    succeeds "a tiny teacher" linvideo train --device cpu --dir "$out/tiny" "$out/tiny.json"
    table=$(ablations 2>&1)
    equal "ablations: rows" "$(echo "$table" |
        grep -cE '^. (base|set) . 1 . [0-9.]+ .*[0-9],[0-9]+ .$')" 2
    before=$(ls -l --full-time "$out"/ablations/*/model.safetensors)
    ablations >/dev/null 2>&1
    equal "ablations: nothing twice" \
        "$(ls -l --full-time "$out"/ablations/*/model.safetensors)" "$before"
fi

# The embedded model does what prompts say: of 64 never trained on, how many percent; its
# teacher has 100, 86 and 92 of a thousand, five points less are fine.
if wanted eval; then
    linvideo eval --quiet --prompts 64 --json "$out/eval.json" motion >/dev/null
    for row in colour:95 shape:81 motion:86; do
        right=$(sed -n "s/.*\"${row%:*}\": \([0-9]*\).*/\1/p" "$out/eval.json" | head -n 1)
        if [ "${right:-0}" -ge "${row#*:}" ]; then
            ok "embedded model: ${row%:*} is right in $right %"
        else
            not_ok "embedded model: ${row%:*} is right in $right %, not ${row#*:}"
        fi
    done
fi

for file in "$out"/*.mp4; do
    if [ "$(colours "$file")" -gt 2 ]; then
        ok "$(basename "$file") shows something"
    else
        not_ok "$(basename "$file") shows one flat colour"
    fi
done
finish
