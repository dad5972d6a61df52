#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# What the compiler said of the kernels: no warning, no products one by one instead of
# together, for any architecture; and what they take of the device: no spilled registers
# but those of kernels/spills.txt.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
report=$build/kernels/resources.txt

[ -f "$report" ] || exit 77
work=$(mktemp)
trap 'rm -f "$work"' EXIT

# Every kernel of the list, for every architecture of config.mak.
kernels=$(sed -n '/^#define LV_KERNELS_/,/[^\\]$/p' libavfilter-linvideo/backend/cuda/kernels.h |
    grep -oE '\bX\([a-z0-9_]+\)' | sed 's/X(\(.*\))/lv_\1/')
archs=$(grep -oE 'code=sm_[0-9a-z]+' "$build/config.mak" | sed 's/code=//')
for kernel in $kernels; do
    for arch in $archs; do
        echo "$kernel $arch"
    done
done | sort >"$work"
equal "kernels are known" "$([ "$(echo "$kernels" | wc -l)" -gt 80 ] && echo many)" many
equal "each is compiled for every architecture" \
    "$(cut -d ' ' -f 1,2 "$report" | sort | comm -3 - "$work")" ""
empty "the compiler has no warnings" \
    "$(grep -hiE 'warning|advisory|serialized|ignored' "$build"/kernels/*.log | sort -u)"

# spills: stores of each line of the report, or more of the list than there are
spills() {
    awk '
        FNR == NR { if ($1 !~ /^#/ && NF) may[$1] = $2; next }
        {
            most = $1 in may ? may[$1] : 0
            if ($6 > most || ($7 > 0 && !most))
                print $1, $2 ": spills", $6, "bytes, allowed are", most
            if ($6 > 0)
                seen[$1] = 1
        }
        END {
            for (kernel in may)
                if (!(kernel in seen))
                    print kernel ": spills nothing, and stands in kernels/spills.txt"
        }' kernels/spills.txt "$report"
}
empty "no kernel spills more than it may" "$(spills)"
empty "every spill has its reason" \
    "$(grep -vE '^#|^$' kernels/spills.txt | awk 'NF < 4 || $2 !~ /^[0-9]+$/')"
finish
