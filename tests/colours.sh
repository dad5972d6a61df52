#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The colours that are seen at the end of every way out: the same frame of the embedded
# model, decoded by the installed ffmpeg, which takes YUV without a tag for BT.601, and
# compared with the PNG of the command, which holds RGB.

. "$(dirname "$0")/report.sh"

ffmpeg=$(absolute "${FFMPEG_LINVIDEO:-${BUILD:-build}/ffmpeg-linvideo}")
linvideo=$(absolute "${LINVIDEO:-${BUILD:-build}/linvideo}")
samples=$(absolute "$(dirname "$0")/../samples")
models=$(absolute "${BUILD:-build}/tests/model")
LINVIDEO_MODEL_PATH=$samples
export LINVIDEO_MODEL_PATH

[ -x "$ffmpeg" ] || { echo "no $ffmpeg here (make dropin)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

prompt="a red circle bouncing on a blue background"
source="linvideo=prompt='$prompt':seed=1:frames=9"

ff() { "$ffmpeg" -hide_banner -nostdin -v error -y "$@"; }
generate() { "$linvideo" generate -q -y --seed 1 --frames 9 "$@" "$prompt"; }

# medians: those of the red and of the blue pixels of RGB bytes, six numbers
medians() {
    od -An -v -tu1 -w3 | awk '
        $1 > $3 + 60 { red++;  for (c = 1; c < 4; c++) of[0, c, $c]++ }
        $3 > $1 + 60 { blue++; for (c = 1; c < 4; c++) of[1, c, $c]++ }
        function median(k, c, n,   i, sum) {
            for (i = 0; i < 256; i++)
                if ((sum += of[k, c, i]) * 2 >= n)
                    return i
        }
        END {
            if (red < 50 || blue < 50)
                exit
            for (c = 1; c < 4; c++) printf "%d ", median(0, c, red)
            for (c = 1; c < 4; c++) printf "%d ", median(1, c, blue)
        }'
}

# seen FILE: medians of its last frame, as the installed ffmpeg shows it
seen() {
    ffmpeg -nostdin -v error -i "$1" -vf "reverse" -frames:v 1 -f rawvideo \
        -pix_fmt rgb24 - | medians
}

# shows NAME FILE [FAR]: the colours of the truth, each within 3 or FAR
shows() {
    got=$(seen "$2")
    if echo "$got $truth" | awk -v far="${3:-3}" 'NF == 12 { good = 1
            for (i = 1; i < 7; i++) if ($i - $(i + 6) > far || $(i + 6) - $i > far) good = 0 }
            END { exit !good }'; then
        ok "$1"
    else
        not_ok "$1" "shows $got, not $truth"
    fi
}

generate --frame 8 -o true.png
truth=$(seen true.png)
equal "the circle is red, the background blue" \
    "$(echo "$truth" | awk '{ print NF, ($1 > 190), ($3 < 60), ($4 < 60), ($6 > 190) }')" "6 1 1 1 1"

# The command

generate -o a.y4m
shows "y4m" a.y4m
generate --format yuv444p -o b.y4m
shows "y4m of yuv444p" b.y4m
generate -o - | ffmpeg -v error -y -i - c.mp4
shows "piped into ffmpeg, to mp4" c.mp4
generate -o - | ffmpeg -v error -y -i - -frames:v 9 'c%d.png'
shows "piped into ffmpeg, to PNG" c9.png
generate -o - | ffmpeg -v error -y -colorspace smpte170m -i - -vf scale=384:224 d.mp4
shows "piped and tagged, to mp4" d.mp4
equal "piped and tagged: the tag" "$(ffprobe -v error -show_entries \
    stream=color_space -of csv=p=0 d.mp4)" smpte170m
if generate --matrix bt709 -o e.y4m && [ "$(seen e.y4m)" != "$(seen a.y4m)" ]; then
    ok "matrix bt709 is not what a reader assumes"
else
    not_ok "matrix bt709 is not what a reader assumes"
fi

# The filter

ff -f lavfi -i "$source" -c:v libx264 f.mp4
shows "-f lavfi to mp4" f.mp4
ff -f lavfi -i "$source" 'f%d.png'
shows "-f lavfi to PNG" f9.png
ff -f lavfi -i "$source,scale=384:224" -c:v libx264 g.mp4
shows "-f lavfi, scaled in the graph" g.mp4
ff -f lavfi -i "$source[out0];anullsrc=d=1[out1]" -map 0:v -c:v libx264 h.mp4
shows "-f lavfi with two outputs" h.mp4
ff -f lavfi -i "$source,split[out1][out0]" -map 0:1 -c:v libx264 i.mp4
shows "-f lavfi, the second of two outputs" i.mp4
ff -filter_complex "$source" -c:v libx264 j.mp4
shows "-filter_complex to mp4" j.mp4
equal "-filter_complex to mp4: the tag" "$(ffprobe -v error -show_entries \
    stream=color_space -of csv=p=0 j.mp4)" bt709
ff -filter_complex "$source,split[a][b];[a]scale=96:56[c];[b][c]overlay" -c:v libx264 k.mp4
# the smaller copy has reds of its own; another matrix moves colours by more
shows "-filter_complex with an overlay" k.mp4 6
ff -filter_complex "$source" -f yuv4mpegpipe - |
    ffmpeg -v error -y -colorspace bt709 -i - -c:v ffv1 l.mkv
shows "-filter_complex to y4m, tagged by the reader" l.mkv
for format in yuv420p yuv444p nv12 gbrp rgb24; do
    ff -f lavfi -i "$source:format=$format" -c:v ffv1 m.mkv
    shows "-f lavfi, $format" m.mkv
    ff -filter_complex "$source:format=$format" -c:v ffv1 n.mkv
    shows "-filter_complex, $format" n.mkv
    ff -filter_complex "$source:format=$format" 'n%d.png'
    shows "-filter_complex to PNG, $format" n9.png
done
for matrix in bt709 bt601; do
    ff -filter_complex "$source:matrix=$matrix" -c:v libx264 o.mp4
    shows "-filter_complex, matrix $matrix" o.mp4
done
equal "matrix bt601: the tag" "$(ffprobe -v error -show_entries stream=color_space \
    -of csv=p=0 o.mp4)" smpte170m

# What a player may guess otherwise is said: in large pictures, and against the reader.
case $("$ffmpeg" -version | sed -n 's/^libavfilter *\([0-9]*\)\. *\([0-9]*\).*/\1 \2/p') in
8\ *|9\ [0-9]|9\ 1[01]) lost=1 ;;
*) lost=0 ;;
esac
while read -r way options wanted; do
    said=$("$ffmpeg" -hide_banner -nostdin -v warning "-$way" lavfi -i \
        "$source:frames=1:steps=1:model=$models/motion.safetensors:$options" \
        -f null - 2>&1 | grep -c 'drops the tag that colours are')
    equal "$options: said" "$said" "$((wanted * lost))"
done <<END
f size=64x64 0
f size=64x592 1
f size=1280x16 1
f size=1280x16:format=gbrp 0
f size=64x64:matrix=bt709 1
END
finish
