#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Every header compiles alone, and twice: the public ones as C99 and as C++ with
# all warnings as errors, the internal ones as C11. A *_tmpl.h is no header but
# the body of several files.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/../libavfilter-linvideo" || exit 1

# alone HEADER COMPILER FLAGS...
alone() {
    alone_header=$1
    shift
    printf '#include "%s"\n#include "%s"\n' "$alone_header" "$alone_header" |
        "$@" -Wall -Wextra -Werror -fsyntax-only -I. -
}

for public in linvideo/linvideo.h linvideo/option_table.h; do
    succeeds "$public as C99" alone $public ${CC:-gcc} -x c -std=c99 -pedantic
    succeeds "$public as C++" alone $public ${CXX:-g++} -x c++ -std=c++11 -pedantic
done

for header in $(find . -name '*.h' ! -name '*_tmpl.h' ! -path './linvideo/*' | sort); do
    succeeds "${header#./}" alone "$header" ${CC:-gcc} -x c -std=c11 \
        -D_GNU_SOURCE -Wno-unused-function
done
finish
