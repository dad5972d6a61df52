#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Write the command ffmpeg-linvideo.
#
#     write-wrapper.sh FILE DROPIN LIBDIR FFMPEG MODELS
#
# DROPIN holds the libavfilter with the filter, LIBDIR liblinvideo; FFMPEG is the
# command to start, MODELS the folder of the embedded models.
set -eu

# value TEXT: one word of the shell, whatever is in it, for the right side of sed's s|||
value() {
    printf '%s\n' "$1" | sed -e "s/'/'\\\\''/g; s/^/'/; s/\$/'/" -e 's/[\\&|]/\\&/g'
}

sed -e "s|@dropin@|$(value "$2")|" -e "s|@libdir@|$(value "$3")|" \
    -e "s|@ffmpeg@|$(value "$4")|" -e "s|@models@|$(value "$5")|" \
    "$(dirname "$0")/ffmpeg-linvideo.in" >"$1"
chmod 755 "$1"
