# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Completion for bash: the command knows its words.

_linvideo() {
    local command=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]}
    local before=${COMP_WORDS[COMP_CWORD-1]} words=

    if [ "$COMP_CWORD" = 1 ]; then
        words=$("$command" complete)
    elif [[ $word == -* ]]; then
        word=${word//_/-}
        words=$("$command" complete "${COMP_WORDS[1]}")
    elif [[ $before == -* ]]; then
        words=$("$command" complete "${COMP_WORDS[1]}" "$before")
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o bashdefault -o default -F _linvideo linvideo
