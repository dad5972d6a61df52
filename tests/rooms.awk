# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Reads all .c, .cc and .h files of a tree. A room is NAME.c with NAME.h, its folder
# included. Prints, sorted by nothing:
#
#     circle ROOM            the room includes a header that leads back to it
#     stray ROOM FUNCTION HEADER   the room defines what another room's header declares

function room_of(path)
{
    sub(/^\.\//, "", path)
    sub(/\.(c|cc|h)$/, "", path)
    return path
}

FNR == 1 { room = room_of(FILENAME); header = FILENAME ~ /\.h$/; rooms[room]; name = "" }

match($0, /^ *# *include +"[^"]+\.h"/) {
    split(substr($0, RSTART, RLENGTH), part, "\"")
    other = room_of(part[2])
    if (other != room)
        edge[room, other]
}

# a definition's last line is followed by "{", a declaration's ends with ";"
name != "" && /^\{/ { defined[name] = room; name = "" }
/^[A-Za-z]/ && !/^static/ && match($0, /lv_[a-z0-9_]+\(/) && !/^(typedef|#)/ {
    name = substr($0, RSTART, RLENGTH - 1)
}
name != "" && /;[ \t]*(\/\/.*)?$/ {
    if (header)
        declared[name] = room
    name = ""
}

# Rooms that include nothing which is left are taken away until none is; then those that
# nothing which is left includes.
END {
    do {
        gone = 0
        split("", out)
        split("", in_)
        for (e in edge) {
            split(e, ends, SUBSEP)
            if (ends[1] in rooms && ends[2] in rooms) {
                out[ends[1]]
                in_[ends[2]]
            }
        }
        for (r in rooms)
            if (!(r in out) || !(r in in_)) {
                delete rooms[r]
                gone++
            }
    } while (gone)
    for (r in rooms)
        print "circle", r
    for (f in defined)
        if (f in declared && declared[f] != defined[f])
            print "stray", defined[f], f, declared[f] ".h"
}
