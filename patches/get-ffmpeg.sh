#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Fetch and unpack FFmpeg's sources through apt, and print where they lie.
#
#     get-ffmpeg.sh DIR VERSION
#
# VERSION is a series (5.1, 7.1, 8.1, 9.0) or a release (5.1.9). The sources go
# to DIR/ffmpeg-RELEASE; what is there already is not fetched again. A release
# that was replaced by a later one of its series gives that. Only the upstream
# tarball is taken, checked by apt against the signed index. Neither root nor a
# change of the system's own package lists is needed: the machine's own archives
# are asked for sources, and on Debian also the suite which has the series. A
# series that no suite carries (4.4 and 6.1 on Debian) has to be brought as a folder,
# see FFMPEG_SOURCE in build-ffmpeg.sh.
set -eu

die() { echo "get-ffmpeg: $*" >&2; exit 1; }

[ $# = 2 ] || die "usage: get-ffmpeg.sh DIR VERSION"
version=$2
mkdir -p "$1"
dir=$(cd "$1" && pwd)
apt=$dir/apt

for old in "$dir/ffmpeg-$version" "$dir/ffmpeg-$version".*; do
    if [ -f "$old/RELEASE" ]; then
        echo "$old"
        exit 0
    fi
done

command -v apt-get >/dev/null || die "apt-get is needed to fetch FFmpeg" \
    "$version; where there is none, give a source folder as FFMPEG_SOURCE"

# The suites of Debian that carry a series, beside the machine's own.
case $version in
5.1*) suites="bookworm" ;;
7.1*) suites="trixie" ;;
8.1*|9.0*) suites="sid" ;;
*) suites="" ;;
esac
. /etc/os-release
[ "${ID:-}" = debian ] || suites=""

# Write the machine's archives as source archives, then the extra suites.
write_sources() {
    mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial"
    rm -f "$apt"/parts/*
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] || continue
        awk -v RS= -v ORS='\n\n' -v own="${VERSION_CODENAME:-}" \
            -v more="$suites" '
            function named(list, word) {
                return index(" " list " ", " " word " ") > 0
            }
            {
                gsub(/(^|\n)#[^\n]*/, "")
                sub(/^\n/, "")
                if (!sub(/(^|\n)Types:[^\n]*/, "\nTypes: deb-src"))
                    next
                sub(/^\n/, "")
                print
                match($0, /\nSuites:[^\n]*/)
                have = substr($0, RSTART + 8, RLENGTH - 8)
                if (more == "" || named(have, more) || !named(have, own))
                    next
                sub(/\nSuites:[^\n]*/, "\nSuites: " more)
                print
                more = ""
            }' "$file" >"$apt/parts/$(basename "$file")"
    done
    [ -f /etc/apt/sources.list ] || return 0
    awk -v own="${VERSION_CODENAME:-}" -v more="$suites" '
        $1 == "deb" {
            $1 = "deb-src"
            at = $2 ~ /^\[/ ? 3 : 2
            while (at > 2 && $(at - 1) !~ /\]$/)
                at++
            print
            if (more != "" && more != own && $(at + 1) == own) {
                $(at + 1) = more
                print
                more = ""
            }
        }' /etc/apt/sources.list >"$apt/parts/own.list"
}

ask() {
    tool=$1
    shift
    [ "$(id -u)" != 0 ] || set -- -o APT::Sandbox::User=root "$@"
    "$tool" -qq -o Dir::Etc::sourcelist=/dev/null \
        -o Dir::Etc::sourceparts="$apt/parts" -o Dir::State::lists="$apt/lists" \
        -o Dir::Cache="$apt/cache" "$@"
}

write_sources
ask apt-get update >&2 || echo "get-ffmpeg: some archives were not read" >&2

# The newest package of a series or release; apt lists them in no certain order.
newest() {
    ask apt-cache showsrc --only-source ffmpeg 2>/dev/null |
        sed -n 's/^Version: //p' | sort -V | awk -v want="$1" '
        {
            upstream = $0
            sub(/^[0-9]+:/, "", upstream)
            if (index(upstream, want ".") == 1 || index(upstream, want "-") == 1)
                found = $0
        }
        END { print found }'
}
package=$(newest "$version")
series=$(echo "$version" | cut -d. -f1,2)
if [ -z "$package" ]; then
    package=$(newest "$series")
    [ -n "$package" ] || die "no archive of this system has the sources of" \
        "FFmpeg $series; give a folder with them as FFMPEG_SOURCE"
    echo "get-ffmpeg: FFmpeg $version is not to be had any more," \
        "taking $package of the same series" >&2
fi

new=$dir/new.$$
trap 'rm -rf "$new"' EXIT
mkdir "$new"
(cd "$new" && ask apt-get source --download-only --tar-only \
    "ffmpeg=$package") >&2 || die "apt could not fetch ffmpeg $package"
tar -C "$new" -xf "$new"/ffmpeg_*.orig.tar.*[!c]
found=$(echo "$new"/*/RELEASE)
release=$(cat "$found")
rm -rf "$dir/ffmpeg-$release"
mv "$(dirname "$found")" "$dir/ffmpeg-$release"
echo "$dir/ffmpeg-$release"
