#!/usr/bin/env bash
# The GPU of this machine: are the Triton kernels right there, how fast are they, and what do networks come to that are trained there?
# Without Halide and without a network; python3 must find the package and pytest (installed, or by PYTHONPATH). Each command goes on
# where it stopped, and keeps to its time.
#   scripts/gpu.sh check [OPTION...]    the kernels' tests, and scripts/gpu_check.py; writes OUT/check
#   scripts/gpu.sh bench [OPTION...]    scripts/gpu_bench.py; writes OUT/bench
#   scripts/gpu.sh train NAME [OPTION...]    configs/NAME.yaml, then its evaluation: scripts/gpu_train.py; writes OUT/train
#     --seconds S         begin nothing more after so many seconds (150, train 420); what then runs is ended 25 seconds later
#     --out OUT           folder for what is found (results/gpu)
#     --data DATA         folder of VOCdevkit/ and weights/ (train; DPN_DATA)
#     --seed N            of the run, 0 if not given (train)
#     --convcrf FOLDER    source of MarvinTeichmann/ConvCRF, to measure it beside ours (bench)
#     --tiny              a tiny scale, to try the commands; on the CPU with TRITON_INTERPRET=1
# Exit code 0: all right; 1: something failed; 2: called wrongly, or no GPU; 3: the time was over first: call it again.
set -uo pipefail
home=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

command=${1:-}
seconds=150 out=results/gpu convcrf=() tiny=() name='' data=${DPN_DATA:-} seed=0
if [ "$command" = train ]; then
    [[ ${2:-} =~ ^[a-z] ]] || usage
    name=$2 seconds=420 && shift
fi
while [ $# -gt 1 ]; do
    case $2 in
        --tiny) tiny=(--tiny true) && shift && continue ;;
        --seconds | --out | --convcrf | --data | --seed) [ $# -gt 2 ] || usage ;;
        *) usage ;;
    esac
    case $2 in
        --seconds) [[ $3 =~ ^[0-9]+$ ]] || usage; seconds=$3 ;;
        --seed) [[ $3 =~ ^[0-9]+$ ]] || usage; seed=$3 ;;
        --data) data=$3 ;;
        --out) out=$3 ;;
        --convcrf) convcrf=(--convcrf "$3") ;;
    esac
    shift 2
done

timed() { # SCRIPT OPTION...: within what is left of the time
    local left=$((seconds > SECONDS ? seconds - SECONDS : 0))
    timeout -k 5 $((left + 25)) "$python" "$home/scripts/$1.py" --seconds "$left" "${tiny[@]}" "${@:2}"
    local code=$?
    [ $code -lt 124 ] || code=3 # it was ended
    return $code
}

tests() { # in a process of its own beside the checks: both compile for most of their time
    local which=triton log=$out/check/tests.log
    [ ${#tiny[@]} = 0 ] || which="triton and memory_layout"
    grep -qs "^all right" "$log" && return
    (cd "$home" && timeout -s INT -k 10 $((seconds + 10)) "$python" -m pytest -v -p no:cacheprovider tests/functional/test_backends.py -k "$which") >"$log" 2>&1
    local code=$?
    tail -n 3 "$log"
    case $code in
        0) echo "all right" >>"$log" ;;
        5) echo "no test: Triton cannot compute here" && return 2 ;;
        124 | 137) echo "the tests did not end in time: $log" && return 3 ;;
        *) echo "tests failed: $log" && return 1 ;;
    esac
}

check() {
    mkdir -p "$out/check"
    tests &
    local beside=$! of_tests=0
    timed gpu_check --out "$out/check" | tee -a "$out/check/log" | tail -n 40
    local code=${PIPESTATUS[0]}
    wait $beside || of_tests=$?
    case $code,$of_tests in
        2,* | 1,*) return "$code" ;;
        *,1) return 1 ;;
        *) return $((code > of_tests ? code : of_tests)) ;;
    esac
}

bench() {
    mkdir -p "$out/bench"
    timed gpu_bench --out "$out/bench" "${convcrf[@]}" | tee -a "$out/bench/log" | tail -n 80
    return "${PIPESTATUS[0]}"
}

train() {
    [ -n "$data" ] || usage
    mkdir -p "$out/train"
    timed gpu_train "$name" "$data" --out "$out/train" --seed "$seed" 2>&1 | tee -a "$out/train/$name.log" | tail -n 80
    return "${PIPESTATUS[0]}"
}

case $command in
    check | bench | train) "$command" ;;
    *) usage ;;
esac
