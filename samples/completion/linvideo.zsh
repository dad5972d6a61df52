#compdef linvideo
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Completion for zsh: the command knows its words.

local -a found

if (( CURRENT == 2 )); then
    found=(${(f)"$($words[1] complete)"})
elif [[ $words[CURRENT] == -* ]]; then
    found=(${(f)"$($words[1] complete $words[2])"})
elif [[ $words[CURRENT-1] == -* ]]; then
    found=(${(f)"$($words[1] complete $words[2] $words[CURRENT-1])"})
fi
if (( $#found )); then
    compadd -a found
else
    _files
fi
