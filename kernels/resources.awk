# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# What ptxas says with -v, as a line for each kernel and architecture:
#
#     lv_norm sm_90a registers 40 spilled 0 0 shared 1024
#
# Registers of a thread; bytes it spills, stored and loaded; shared memory of a block, of
# a size known to the compiler, in bytes. PTX that is compiled when it is loaded has none.

/Compiling entry function/ {
    split($0, quoted, "'")
    name = quoted[2]
    arch = quoted[4]
}
/spill stores/ {
    sub(/.*frame, */, "")
    stores = $1 + 0
    sub(/.*stores, */, "")
    loads = $1 + 0
}
/Used [0-9]+ registers/ {
    registers = shared = $0
    sub(/.*Used /, "", registers)
    if (!sub(/ bytes smem.*/, "", shared))
        shared = 0
    sub(/.* /, "", shared)
    print name, arch, "registers", registers + 0, "spilled", stores, loads, "shared", shared
}
