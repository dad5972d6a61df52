#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# ablations.sh DIR [DEVICE [SEEDS]]: selective transfer of the teacher, shortened, once for
# each row of the table below and each seed; then every student against the teacher, and a
# table of means in DIR/table.md. What is done already is not done again, and several of
# these may work in one DIR at once, each on its own device. DIR/stop ends them after the
# run they are at.
#
# To change: STEPS, BATCH, LR of each run, CLIPS that are compared (0: none yet), RECIPE, FEW
# (the recipe of distillation), TEACHER, ROWS (names of the rows that are run; all), WORDING
# of the prompts that are compared (free), LINVIDEO (the command).
set -eu

dir=${1:?folder} device=${2:-auto} seeds=${3:-"1 2 3"}
here=$(dirname "$0")
linvideo=${LINVIDEO:-linvideo} teacher=${TEACHER:-motion-teacher}
recipe=${RECIPE:-$here/configs/motion-linear.json} few=${FEW:-$here/configs/motion-4step.json}

# name|options; SET: the layers that row `base` chose with this seed; OWN: other maps than
# the shared ones; FEW N: what comes out is distilled with N steps. After one step a model
# is as it was, but samples in four steps without guidance, for which row one-stage learns.
rows() {
    cat <<'ROWS'
base|
untrained|--select SET --steps 1 --set linearize.warmup=0 --set linearize.lr=1e-8 --set linearize.lr_map=1e-8
set|--select SET
first|--select first
random|--select random
greedy|--select greedy
T2|--layers 2
T4|--layers 4
T8|--layers 8
T10|--layers 10
T12|--layers 12
onpolicy-unit|--select SET --weight unit
onpolicy-joint|--select SET --compare joint
onpolicy-stream|--select SET --states stream
joint-stream|--select SET --states stream --compare joint
anchored|--select SET --objective anchored
step|--select SET --objective step
step-literal|--select SET --objective step --weight literal
mse|--select SET --objective mse --weight unit
mse-online|--select SET --objective mse-online --weight unit
mse-stream|--select SET --states stream --weight unit
dmd|--select SET --objective dmd
one-stage|FEW 1 --objective dmd --set fake.lr=2e-4 --set fake.beta1=0
two-stage|FEW 200
literal|--set linearize.r0=1 --set linearize.eta_end=1 --set linearize.anneal=1 --set linearize.freeze=1 --set linearize.r_end=round --objective step --weight literal
no-reg|--set linearize.l_reg=0
no-reg-round|--set linearize.l_reg=0 --set linearize.r_end=round
round|--set linearize.r_end=round
alpha-4-4|--set linearize.alpha_start=4 --set linearize.alpha_end=4
alpha-2-2|--set linearize.alpha_start=2
alpha-8-2|--set linearize.alpha_start=8
lambda-0.001|--set linearize.lambda=0.001
lambda-0.1|--set linearize.lambda=0.1
soft-count|--set linearize.soft_count=1
sigmoid|--set linearize.r_range=sigmoid
relu|OWN --map relu
taylor|OWN --map taylor --set linearize.feature_dim=16
width-32|OWN --set linearize.feature_dim=32
width-64|OWN --set linearize.feature_dim=64
no-warm-up|OWN --set maps.steps=0
ROWS
}

# What all runs have in common. Velocities are for `mse`.
common() {
    "$linvideo" linearize --device "$device" --recipe "$recipe" --set trajectories.seed=1 \
        --set trajectories.velocities=1 --trajectories "$dir/trajectories.safetensors" "$@" \
        "$teacher"
}

# Only one of those at work does it: claim THING COMMAND...
claim() {
    thing=$1
    shift
    mkdir "$thing.claim" 2>/dev/null || return 1
    claimed=$thing.claim
    result=0
    "$@" || result=$?
    rmdir "$claimed"
    claimed=
    return $result
}

shared() {
    common --dir "$dir/shared" --stage maps >"$dir/shared.log" 2>&1 &&
        mv "$dir/shared/maps.safetensors" "$dir/maps.safetensors"
}

# distil STEPS: what lies in $out
distil() {
    "$linvideo" distill --device "$device" --recipe "$few" --seed "$seed" --teacher "$teacher" \
        --trajectories "$dir/trajectories.safetensors" --set "distill.steps=$1" \
        --set "distill.warmup=$(($1 / 8))" --set "distill.ema_from=$(($1 / 2))" \
        --dir "$out/few" "$out/model.safetensors" >"$out/few.log" 2>&1 || return 1
    mv "$out/few/model.safetensors" "$out/model.safetensors"
    rm -r "$out/few"
}

# run NAME SEED [FEW N] OPTIONS...
run() {
    out=$dir/$1-$2 seed=$2 distil=:
    shift 2
    case "${1-}" in
    FEW)
        distil="distil $2"
        shift 2 ;;
    esac
    start=$(date +%s)
    if common --seed "$seed" --set "linearize.steps=${STEPS:-1200}" \
              --set linearize.warmup=60 --set "linearize.batch=${BATCH:-16}" \
              --set "linearize.micro=${BATCH:-16}" --set "linearize.lr=${LR:-5e-4}" \
              --dir "$out" "$@" >"$out.log" 2>&1 && $distil; then
        sed -n 's/.*linear layers *//p' "$out.log" | tr ' ' , >"$out/layers"
        echo $(($(date +%s) - start)) >"$out/seconds"
        rm -f "$out/linearize.safetensors"* "$out/maps.safetensors"
    else
        echo "ablations.sh: see $out.log" >&2
    fi
}

# row NAME OPTIONS...: for the seed in $seed
row() {
    name=$1 out=$dir/$1-$seed
    shift
    [ ! -e "$out/layers" ] || return 0
    case " $* " in
    *" SET "*)
        [ -e "$dir/base-$seed/layers" ] || { later=1; return 0; }
        set=$(cat "$dir/base-$seed/layers")
        set -- $(echo "$*" | sed "s/SET/$set/") ;;
    esac
    case " $* " in
    *" OWN "*) shift ;;
    *) set -- "$@" --maps "$dir/maps.safetensors" ;;
    esac
    claim "$out" run "$name" "$seed" "$@" || later=1
}

all_rows() {
    for seed in $seeds; do
        rows >"$dir/rows.$$"
        while IFS='|' read -r name options <&3; do
            [ ! -e "$dir/stop" ] || return 0
            case " ${ROWS:-$name} " in
            *" $name "*) row "$name" $options ;;
            esac
        done 3<"$dir/rows.$$"
        rm -f "$dir/rows.$$"
    done
}

# Students that have none of these numbers yet, eight by eight: compare NUMBER_OF_EIGHT
compare() {
    last=$((8 * $1 + 8)) n=0 json=$dir/compare-$1.json
    set --
    for model in "$dir"/*/model.safetensors; do
        [ -e "${model%/*}/layers" ] || continue
        n=$((n + 1))
        [ $n -le $((last - 8)) ] || [ $n -gt $last ] || [ -e "${model%/*}/numbers" ] ||
            set -- "$@" "$model"
    done
    [ $# -gt 0 ] || return 0
    [ $# -gt 1 ] || set -- "$1" "$1"
    "$linvideo" compare -y -q --device "$device" --clips "${CLIPS:-64}" \
        --wording "${WORDING:-free}" --json "$json" "$@" "$teacher" \
        >>"${json%json}log" 2>&1 || return 1
    awk -F'"' '
        { gsub(/[ ,:]/, "", $3) }
        $2 == "student"        { file = $4; sub(/model.safetensors$/, "numbers", file) }
        $2 == "frechet_ratio"  { frechet = $3 }
        $2 == "flicker_ratio"  { flicker = $3 }
        $2 == "distance_ratio" { distance = $3 }
        $2 == "median_ratio"   { print frechet, flicker, distance, $3 > file; close(file) }
    ' "$json"
}

# What another of these scripts compares is waited for.
compare_all() {
    students=$(ls -d "$dir"/*/layers | wc -l) eight=0
    while [ $((8 * eight)) -lt $students ]; do
        claim "$dir/compare-$eight" compare $eight || :
        eight=$((eight + 1))
    done
    while ls -d "$dir"/compare-*.claim >/dev/null 2>&1; do
        sleep 1
    done
}

# Relative squared error of velocities over the last 100 steps.
error() {
    tail -n 100 "$1/linearize.jsonl" | sed 's/.*"error": \([0-9.e+-]*\).*/\1/' |
        awk '{ s += $1 } END { printf "%.6f", s / NR }'
}

table() {
    echo "| run | runs | error | squared distance | its median | Frechet | flicker | seconds | layers |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    rows | while IFS='|' read -r name options; do
        for out in "$dir/$name"-[0-9]*; do
            [ ! -e "$out/layers" ] || echo "$(error "$out") $(cat "$out/numbers" \
                2>/dev/null || echo - - - -) $(cat "$out/seconds") $(grep . "$out/layers" ||
                echo none)"
        done | awk -v name="$name" '
            function add(i, x) { if (x != "-") { n[i]++; s[i] += x; q[i] += x * x } }
            function mean(i, form,   m, d) {
                if (!n[i])
                    return "-"
                m = s[i] / n[i]
                d = q[i] - n[i] * m * m
                d = n[i] > 1 && d > 0 ? sqrt(d / (n[i] - 1)) : 0
                return n[i] > 1 ? sprintf(form " ± " form, m, d) : sprintf(form, m)
            }
            { for (i = 1; i <= 6; i++) add(i, $i)
              sets = sets (sets == "" ? "" : "; ") $7 }
            END { if (NR) printf "| %s | %d | %s | %s | %s | %s | %s | %.0f | %s |\n", name,
                      NR, mean(1, "%.4f"), mean(4, "%.3f"), mean(5, "%.3f"), mean(2, "%.2f"),
                      mean(3, "%.4f"), s[6] / n[6], sets }'
    done
}

mkdir -p "$dir"
claimed=
trap '[ -z "$claimed" ] || rmdir "$claimed" 2>/dev/null' EXIT
trap 'exit 130' INT TERM
until [ -e "$dir/maps.safetensors" ]; do
    claim "$dir/shared" shared || sleep 1
    [ -e "$dir/maps.safetensors" ] || [ -e "$dir/shared.claim" ] || exit 1
done
later=1
while [ $later = 1 ] && [ ! -e "$dir/stop" ]; do
    later=0
    all_rows
    [ $later = 0 ] || sleep 1
done
[ "${CLIPS:-64}" = 0 ] || compare_all
table >"$dir/table.md"
cat "$dir/table.md"
