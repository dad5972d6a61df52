#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# One folder that runs on any x86-64 Linux: ffmpeg and ffprobe with the filter, the command
# linvideo, all libraries, the models.
#
#     patches/packages/bundle.sh BUILD
#
# It comes to BUILD/linvideo-bundle. What is built here asks for the C library that is here,
# or a later one. So the folder has that too, with its loader, which the commands start
# with: the system's own does not matter. Drivers of a GPU are the system's, and found by
# it; theirs must be content with this C library.
set -eu

[ $# = 1 ] || { echo "usage: patches/packages/bundle.sh BUILD" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"
build=$(pwd)

die() {
    echo "bundle.sh: $*" >&2
    exit 1
}

[ -f ffmpeg-linvideo ] || die "there is no $build/ffmpeg-linvideo; make dropin makes it"
ffmpeg=$(sed -n "s/^ffmpeg='\(.*\)'$/\1/p" ffmpeg-linvideo)
ffprobe=$(dirname "$ffmpeg")/ffprobe
bundle=linvideo-bundle
rm -rf "$bundle"
mkdir -p "$bundle/lib" "$bundle/bin" "$bundle/models"

cp -L linvideo "$ffmpeg" "$ffprobe" "$bundle/bin"
cp "$here"/../../samples/motion*.safetensors "$bundle/models"
cp "$here/../../LICENSE" "$bundle"

# all that they load, ours first; and what the C library loads by itself
LD_LIBRARY_PATH=$build/dropin:$build
export LD_LIBRARY_PATH
for file in linvideo "$ffmpeg" "$ffprobe"; do
    ldd "$file"
done | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*ld-linux[^ ]*\) .*/\1/p' |
    sort -u >"$bundle/list"
[ -s "$bundle/list" ] || die "ldd tells no libraries of $ffmpeg"
while read -r library; do
    cp -L "$library" "$bundle/lib"
done <"$bundle/list"
rm "$bundle/list"
loader=$(cd "$bundle/lib" && ls ld-linux*)

# command NAME: starts bin/NAME with the loader of the folder
command() {
    cat >"$bundle/$1" <<END
#!/bin/sh
# $1 of this folder, with the libraries of this folder
here=\$(dirname "\$(readlink -f "\$0")")
LINVIDEO_MODEL_PATH=\${LINVIDEO_MODEL_PATH:+\$LINVIDEO_MODEL_PATH:}\$here/models
PATH=\$here:\$PATH
export LINVIDEO_MODEL_PATH PATH
exec "\$here/lib/$loader" --library-path "\$here/lib" --argv0 "$1" "\$here/bin/$1" "\$@"
END
    chmod 755 "$bundle/$1"
}
for name in linvideo ffmpeg ffprobe; do
    command $name
done
echo "$build/$bundle: $(du -sm "$bundle" | cut -f 1) MB; its commands are ffmpeg, ffprobe, linvideo"
