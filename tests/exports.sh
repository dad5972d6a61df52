#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# The shared library exports what linvideo.h marks LINVIDEO_API, nothing else.

. "$(dirname "$0")/report.sh"
library=${BUILD:-build}/liblinvideo.so.0
header=$(dirname "$0")/../libavfilter-linvideo/linvideo/linvideo.h

[ -f "$library" ] || { echo "no $library here (--disable-shared)"; exit 77; }

wanted=$(tr '\n' ' ' <"$header" | grep -oE 'LINVIDEO_API [^();]*\(' |
    grep -oE 'linvideo_[a-z_]+' | sort)
exported=$(nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' |
    sed 's/@.*//' | sort)

for name in $wanted; do
    case " $(echo $exported) " in
    *" $name "*) ok "$name" ;;
    *) not_ok "$name is not exported" ;;
    esac
done
empty "nothing else is exported" "$(for name in $exported; do
    case " $(echo $wanted) " in *" $name "*) ;; *) echo "$name" ;; esac
done)"
finish
