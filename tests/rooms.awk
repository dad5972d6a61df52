# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Reads all .c, .cc and .h files of a tree. A room is NAME.c with NAME.h, its folder
# included. Prints, in no order:
#
#     circle ROOM                 its includes lead back to it
#     stray ROOM FUNCTION HEADER  it defines what the header of another room declares, and
#                                 that room does not

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
name != "" && /^\{/ { defined[name, room]; name = "" }
/^[A-Za-z]/ && !/^static/ && match($0, /lv_[a-z0-9_]+\(/) && !/^(typedef|#)/ {
    name = substr($0, RSTART, RLENGTH - 1)
}
name != "" && /;[ \t]*(\/\/.*)?$/ {
    if (header)
        declared[name] = room
    name = ""
}

function reaches(from, to,    seen, stack, top, at, i, next_room)
{
    stack[top = 1] = from
    while (top) {
        at = stack[top--]
        for (i = 1; i <= nb_out[at]; i++) {
            next_room = out[at, i]
            if (next_room == to)
                return 1
            if (!(next_room in seen)) {
                seen[next_room]
                stack[++top] = next_room
            }
        }
    }
    return 0
}

END {
    for (e in edge) {
        split(e, ends, SUBSEP)
        out[ends[1], ++nb_out[ends[1]]] = ends[2]
    }
    for (r in rooms)
        if (reaches(r, r))
            print "circle", r
    for (d in defined) {
        split(d, part, SUBSEP)
        home = declared[part[1]]
        if (home != "" && !((part[1], home) in defined))
            print "stray", part[2], part[1], home ".h"
    }
}
