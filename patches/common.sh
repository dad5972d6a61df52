# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# What build-dropin.sh and build-ffmpeg.sh share; read by them, not run. They
# have set $here to this folder.

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# have_library PKG: its header files are installed.
have_library() { ${PKG_CONFIG:-pkg-config} --exists "$1" 2>/dev/null; }

# option_known SOURCE NAME: this FFmpeg has --enable-NAME.
option_known() { grep -q "^  --enable-$2 " "$1/configure"; }

# patch_for SERIES: the patch file that fits.
patch_for() {
    case $1 in
    4.4|5.1) echo "$here/ffmpeg-$1.patch" ;;
    6.1|7.1) echo "$here/ffmpeg-7.1.patch" ;;
    8.1|9.0) echo "$here/ffmpeg-8.1.patch" ;;
    *) die "FFmpeg $1 is not supported; 4.4, 5.1, 6.1, 7.1, 8.1 and 9.0 are" ;;
    esac
}

# plain_path FOLDER: FFmpeg's build splits its paths at blanks and quotes
plain_path() {
    case $1 in
    *[[:blank:]\"\']*) die "$1: FFmpeg cannot be built below a folder with blanks or quotes" \
        "in its name; move the tree, or pipe the command linvideo into ffmpeg" ;;
    esac
}

# prepare_source BUILD VERSION SERIES: fetch, patch, and print the folder.
# A folder given as FFMPEG_SOURCE is copied and stays as it is.
prepare_source() {
    plain_path "$1"
    plain_path "$here"
    patch=$(patch_for "$3")
    if [ -n "${FFMPEG_SOURCE:-}" ]; then
        from=$(cd "$FFMPEG_SOURCE" && pwd) || exit 1
        case $(cat "$from/RELEASE" 2>/dev/null) in
        "$3"|"$3".*) ;;
        *) die "$from does not hold the sources of FFmpeg $3" ;;
        esac
    else
        from=$("$here/get-ffmpeg.sh" "$1/ffmpeg-src" "$2")
    fi
    to=$1/ffmpeg-src/patched-$(cat "$from/RELEASE")
    if [ "$(cat "$to/linvideo.from" 2>/dev/null)" != "$from" ] ||
       ! cmp -s "$patch" "$to/linvideo.patch"; then
        rm -rf "$to"
        mkdir -p "$to"
        tar -C "$from" -c --exclude=.git . | tar -C "$to" -x
        patch -s -p1 -d "$to" <"$patch" >&2 ||
            die "$(basename "$patch") does not fit the sources in $from"
        cp "$patch" "$to/linvideo.patch"
        echo "$from" >"$to/linvideo.from"
    fi
    filter=$here/../libavfilter-linvideo/vf_linvideo.c
    cmp -s "$filter" "$to/libavfilter/vf_linvideo.c" ||
        cp "$filter" "$to/libavfilter/vf_linvideo.c"
    echo "$to"
}

# Libraries and interfaces that filters need: FFmpeg's option, and the name that pkg-config
# has for it or a header file.
filter_needs="libfreetype:freetype2 libharfbuzz:harfbuzz libfontconfig:fontconfig
    libfribidi:fribidi libass:libass frei0r:frei0r"
filter_wants="ladspa:ladspa.h libbs2b:libbs2b libflite:flite/flite.h
    libglslang:glslang/Include/glslang_c_interface.h libmfx:libmfx libmysofa:libmysofa
    libplacebo:libplacebo librubberband:rubberband libshaderc:shaderc libvidstab:vidstab
    libvpl:vpl libzimg:zimg libzmq:libzmq lv2:lilv-0 opencl:OpenCL pocketsphinx:pocketsphinx"

have_header() { echo "#include <$1>" | ${CC:-cc} -E - >/dev/null 2>&1; }

# filter_libraries SOURCE [NEED...]: options for the filters that need a library (without
# NEED: those of every build), as far as it is installed with its header files and this
# FFmpeg knows it.
filter_libraries() {
    known_by=$1
    shift
    [ $# != 0 ] || set -- $filter_needs
    for need; do
        option_known "$known_by" "${need%%:*}" || continue
        case $need in
        *.h) have_header "${need#*:}" ;;
        *) have_library "${need#*:}" ;;
        esac && echo "--enable-${need%%:*}"
    done
    true
}

# lean: options for a configuration with what the tests and samples use, and no more
lean() {
    echo --disable-everything --disable-network --disable-autodetect \
        --enable-zlib --enable-indev=lavfi --enable-protocol=fd,file,pipe
    echo --enable-demuxer=concat,hls,image2,matroska,mov,mpegts,nut,rawvideo \
        --enable-demuxer=wav,yuv4mpegpipe
    echo --enable-muxer=framecrc,framemd5,hls,image2,matroska,md5,mov,mp4 \
        --enable-muxer=mpegts,null,nut,rawvideo,wav,webm,yuv4mpegpipe
    echo --enable-decoder=aac,ffv1,h264,mpeg2video,mpeg4,pcm_s16le,png,ppm \
        --enable-decoder=rawvideo,wrapped_avframe
    echo --enable-encoder=aac,ffv1,libx264,mpeg4,pcm_s16le,png,rawvideo \
        --enable-encoder=wrapped_avframe
    echo --enable-parser=aac,h264,mpeg4video,mpegvideo,png \
        --enable-bsf=aac_adtstoasc,extract_extradata,h264_mp4toannexb
    echo --enable-filter=linvideo,color,gradients,mandelbrot,nullsrc,rgbtestsrc \
        --enable-filter=smptebars,sine,testsrc,testsrc2,anullsrc,nullsink \
        --enable-filter=alphaextract,alphamerge,amix,amovie,anull,aformat \
        --enable-filter=aresample,atrim,blend,boxblur,chromakey,colorkey \
        --enable-filter=concat,copy,crop,cropdetect,deshake,drawbox,drawtext \
        --enable-filter=edgedetect,eq,fade,fillborders,format,fps,framerate,hflip \
        --enable-filter=hstack,hwdownload \
        --enable-filter=hue,loop,metadata,minterpolate,movie,negate,noformat \
        --enable-filter=null,overlay,pad,psnr,reverse,rotate,scale,sendcmd \
        --enable-filter=setdar,setfield,setparams,setpts,setsar,settb,showinfo \
        --enable-filter=signalstats,split,ssim,thumbnail,tile,tmix,transpose \
        --enable-filter=trim,unsharp,vflip,vstack,xfade,xstack,zoompan
}

# configure_tree BUILD SOURCE TREE OPTION...: configure FFmpeg in TREE with the
# liblinvideo of BUILD, unless that was done before with the same options.
configure_tree() {
    build=$1 source=$2 tree=$3
    shift 3
    [ -f "$build/liblinvideo.so" ] || ln -sf liblinvideo.so.0 "$build/liblinvideo.so"
    [ -e "$build/liblinvideo.so" ] || die "build liblinvideo first: $build has none"
    mkdir -p "$tree/pkgconfig"
    include=$(cd "$here/../libavfilter-linvideo" && pwd)
    cat >"$tree/pkgconfig/liblinvideo.pc" <<END
Name: liblinvideo
Description: liblinvideo as it lies in the build folder
Version: $(version_of "$include/linvideo/linvideo.h")
Cflags: -I$include
Libs: -L$build -llinvideo
END
    printf '%s\n' "$source" "$@" >"$tree/options.new"
    if [ -f "$tree/config.h" ] && cmp -s "$tree/options.new" "$tree/options"; then
        return 0
    fi
    echo "configuring FFmpeg in $tree" >&2
    rm -f "$tree/config.h" "$tree/src"
    (cd "$tree" && PKG_CONFIG_PATH=$tree/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH} \
        "$source/configure" --enable-liblinvideo "$@") >"$tree/configure.log" 2>&1 || {
        tail -n 15 "$tree/configure.log" >&2
        die "FFmpeg's configure failed, see $tree/configure.log"
    }
    mv "$tree/options.new" "$tree/options"
}

version_of() {
    sed -n 's/^#define LINVIDEO_VERSION_M[A-Z]* \([0-9][0-9]*\)$/\1/p' "$1" |
        paste -sd. -
}

# build_tree TREE ARGUMENT...: make, quietly unless V=1. What is linked finds
# liblinvideo one folder above its own, in the build folder and installed.
build_tree() {
    tree=$1
    shift
    echo "building FFmpeg in $tree" >&2
    LD_RUN_PATH='$ORIGIN/..' MAKEFLAGS='' ${MAKE:-make} -C "$tree" \
        -j"${JOBS:-$(nproc)}" V="${V:-}" "$@" >"$tree/make.log" 2>&1 || {
        grep -v '^[A-Z]*[[:blank:]]' "$tree/make.log" | tail -n 15 >&2
        die "building FFmpeg failed, see $tree/make.log"
    }
}
