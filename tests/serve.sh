#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# linvideo serve: jobs over a pipe and a socket, what they survive, and that the weights
# stay.

if [ -z "${LV_SIGNALS:-}" ] && env --default-signal=INT,QUIT true 2>/dev/null; then
    LV_SIGNALS=default exec env --default-signal=INT,QUIT "$0"
fi

. "$(dirname "$0")/report.sh"

linvideo=$(absolute "${LINVIDEO:-${BUILD:-build}/linvideo}")
LINVIDEO_MODEL_PATH=$(absolute "${BUILD:-build}/tests/model")
export LINVIDEO_MODEL_PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

serve() { "$linvideo" serve --steps 1 --frames 2 "$@"; }
# for &: the process is the server
exec_serve() { exec "$linvideo" serve --steps 1 --frames 2 "$@"; }

# answers: each as "id status" or "id status: error", from standard input
answers() {
    sed -E 's/^\{("id":("?[a-z0-9]+"?),)?("cancel":[0-9]+,)?"status":"([a-z]+)"(,"error":"([^"]*).*)?.*/\2 \4 \6/; s/ +$//'
}

jobs() {
    cat <<'END'
{"id": 1, "prompt": "a red circle", "seed": 1, "output": "1.y4m"}
{"id": 2, "prompt": "a blue square", "seed": 2, "output": "2.y4m"}

not JSON
[3]
{"id": 4, "prompt": "a red circle", "output": "1.y4m"}
{"id": 5, "prompt": "a red circle", "output": "5.y4m", "colour": "red"}
{"id": 6, "prompt": "", "output": "6.y4m"}
{"id": 7, "prompt": "a red circle"}
{"id": 8, "prompt": "a red circle", "output": "8.avi"}
{"id": 9, "prompt": "a red circle", "output": "9.y4m", "seed": [1]}
{"id": 10, "prompt": "a red circle", "output": "nowhere/10.y4m"}
{"id": 11, "prompt": "a blue square", "seed": 2, "output": "11.mp4", "frames": 3}
{"id": 12, "prompt": "a red circle", "seed": 1, "output": "1.y4m", "overwrite": true}
{"id": 13, "prompt": "a red circle", "seed": 1, "output": "13.png", "frame": 1}
{"id": 17, "prompt": "a red circle", "seed": 1, "output": "17.y4m", "duration": 0.25}
{"id": 14, "prompt": "a red circle", "seed": 1, "output": "14.y4m", "steps": 2}
END
    printf '{"prompt": \000"a red circle", "output": "nul.y4m"}\n'
    echo '{"id": 18, "prompt": "a", "output": "18.y4m", "frames": 2, "duration": 1}'
    echo '{"id": 19, "prompt": "a", "prompt_file": "b", "output": "19.y4m"}'
    echo '{"id": 20, "prompt": "a red circle", "output": "pipe"}'
    echo '{"id": 21, "prompt": "a red circle", "output": "pipe%d.png"}'
    echo '{"id": 22, "prompt_file": "pipe", "output": "22.y4m"}'
    printf '{"id": 15, "prompt": "%01100000d", "output": "15.y4m"}\n' 0
    printf '{"id": "last", "prompt": "a red circle", "seed": 1, "output": "16.y4m"}'
}

mkfifo pipe pipe1.png
jobs | serve - >said 2>log
equal "it ends when its input does" $? 0
equal "an answer for each" "$(answers <said | sort)" "$(sort <<'END'
1 done
2 done
 failed column 3 of a line: expected an object or a list, got 'not'
 failed column 1 of a line: expected an object, got a list
 failed column 12 of a line: expected JSON, got a NUL byte
4 failed 1.y4m exists; -y overwrites it
5 failed no option \
6 failed the prompt is empty; say what to show
7 failed output: expected the name of a file
8 failed 8.avi: expected one of the endings .y4m, .mp4, .webm, .mkv, .png
9 failed seed: expected a text, a number or true or false
10 failed nowhere/10.y4m: No such file or directory
11 done
12 done
13 done
14 done
17 done
18 failed both frames and duration are given; give one of them
19 failed both prompt and prompt_file are given; give one of them
20 failed pipe: expected a file, got a pipe
21 failed pipe1.png: expected a file, got a pipe
22 failed prompt_file: expected a regular file, got a pipe or a device: pipe
 failed a line is longer than 1048575 bytes
"last" done
END
)"
loads() { sed -n 's/^{"id":\([^,]*\),"status":"done".*"loading":0\.0,.*/\1/p' said | xargs; }
equal "jobs that differ in prompt, seed, length and output load nothing" "$(loads)" \
    "2 11 12 13 17"
for i in 1 2; do
    set -- circle red square blue
    [ $i = 1 ] || shift 2
    "$linvideo" generate -q --steps 1 --frames 2 --seed $i -o alone$i.y4m "a $2 $1"
    succeeds "the frames of generate ($i)" cmp alone$i.y4m $i.y4m
done
succeeds "as much after errors" cmp alone1.y4m 16.y4m
succeeds "a job's duration replaces the frames of the command line" cmp alone1.y4m 17.y4m
equal "an mp4 too" "$(ffprobe -v error -count_frames -show_entries stream=nb_read_frames \
    -of csv=p=0 11.mp4)" 3
equal "nothing is left over" "$(find . -name '.part*')" ""

# Cancelled: one that runs, one that waits, one that is not there

mkfifo in
exec_serve --frames 1000000 - <in >said 2>log &
exec 9>in
echo '{"id": 1, "prompt": "a", "output": "long.y4m"}' >&9
echo '{"id": 2, "prompt": "a", "output": "waits.y4m"}' >&9
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    find . -name '.part*' | grep -q . && break
    sleep 1
done
printf '{"cancel": 2}\n{"cancel": 1}\n{"cancel": 3}\n' >&9
echo '{"id": 4, "prompt": "a red circle", "seed": 1, "frames": 2, "output": "4.y4m"}' >&9
exec 9>&-
wait $!
equal "it goes on after them" "$? $(answers <said | sort | xargs)" \
    "0 failed no job with this id waits or runs 1 cancelled 2 cancelled 4 done"
succeeds "with the frames of generate" cmp alone1.y4m 4.y4m
equal "and without loading" "$(loads)" 4
equal "no file of them" "$(ls -A | grep -e long -e waits -e .part)" ""

# A signal

exec_serve --frames 1000000 - <in >said 2>log &
server=$!
exec 9>in
echo '{"id": 1, "prompt": "a", "output": "long.y4m"}' >&9
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    find . -name '.part*' | grep -q . && break
    sleep 1
done
kill -TERM $server
wait $server
equal "SIGTERM stops it" "$? $(answers <said)" "143 1 cancelled"
exec 9>&-

# Nobody reads

{ echo '{"prompt": "a red circle", "seed": 1, "output": "unread.y4m"}'
  sleep 0.5
  echo '{"prompt": "a red circle", "seed": 1, "output": "unread2.y4m"}'; } |
    { serve - 2>log; echo $? >code; } | true
equal "a reader that has gone: jobs are done, the status tells" "$(cat code)" 1
succeeds "the first" cmp alone1.y4m unread.y4m
succeeds "the second" cmp alone1.y4m unread2.y4m

# Answers that nobody takes, in a pipe that is full

mkfifo full
exec 8<>full
head -c 65536 /dev/zero >&8
exec_serve - <in >full 2>log &
server=$!
exec 9>in
printf 'no job\n{"prompt": "a red circle", "seed": 1, "output": "full.y4m"}\n' >&9
for i in 1 2 3 4 5 6 7 8 9 10; do
    grep -q 'got' log && break
    sleep 0.2
done
kill -TERM $server
{ sleep 20; kill -KILL $server; } >/dev/null 2>&1 &
late=$!
wait $server
equal "SIGTERM stops it although nobody reads" $? 143
kill $late
exec 9>&- 8>&-

# A socket

client() {
    perl -MIO::Socket::UNIX -e '
        my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$!\n";
        print $s $_ while <STDIN>;
        $s->flush;
        exit if $ARGV[1];
        $s->shutdown(1);
        print while <$s>;' "$@"
}

exec_serve socket 2>log &
server=$!
for i in 1 2 3 4 5 6 7 8 9 10; do
    [ -S socket ] && break
    sleep 0.5
done
equal "the socket is the user's own" "$(stat -c %a socket)" 600
expects "a second server on it" 1 'socket: Address already in use' serve socket
echo '{"prompt": "a red circle", "seed": 1, "output": "s0.y4m"}' | client socket away
equal "a client" "$(echo '{"id": 1, "prompt": "a red circle", "seed": 1, "output": "s1.y4m"}' |
    client socket | answers)" "1 done"
succeeds "frames for a client that went away" cmp alone1.y4m s0.y4m
succeeds "and the next" cmp alone1.y4m s1.y4m
kill -TERM $server
wait $server
equal "so does it here" $? 143
equal "the socket is removed" "$(ls socket 2>/dev/null)" ""
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => "socket", Listen => 1) or die'
exec_serve socket 2>log &
server=$!
for i in 1 2 3 4 5 6 7 8 9 10; do
    echo '{"cancel": 1}' | client socket 2>/dev/null | grep -q . && break
    sleep 0.5
done
equal "one that was left over is replaced" "$(echo '{"cancel": 1}' | client socket | answers)" \
    " failed no job with this id waits or runs"
kill -TERM $server
wait $server
echo text >file
expects "a file is no socket" 1 'file: Address already in use' serve file
equal "and stays" "$(cat file)" text

expects "no place" 2 'expected - or the path of a socket' serve
expects "two places" 2 'got a second: b' serve a b
expects "help" 0 '^Usage: linvideo serve' serve --help
finish
