#!/usr/bin/env bash
# Is the gain of truncating training more than its noise? The same network, steps and batch on [0, T*] for each T*, several
# seeds of each, every run from its own T*, at the same number of evaluations.
#
#   benchmarks/ablation.sh                train what is missing, run after run, then draw, judge and print the table
#   benchmarks/ablation.sh --rehearse     the same with tiny networks and few steps, in a few minutes
#
# May be killed at any time: the same command goes on, a run from its last saved state, a table from its last molecules.
# Variables:
#   RUNS        folder of the runs (runs/ablation), of the store and of the finished cells, quality.jsonl
#   PYTHON      python3 with gaga's packages; gaga need not be installed
#   DATASET     qm9, or a prepared file
#   PRESET, STEPS     of gaga train: the same for all (small, 20000)
#   T_STARS, SEEDS    those trained (1000 550 250; 0 1 2): all of a seed before the next
#   TRAIN_OPTIONS     more options of gaga train, the same for all
#   N, DRAW_OPTIONS   molecules of each run (500), and how quality.py draws them (--method annealed --steps 50)
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
  "") ;;
  --rehearse)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    RUNS=${RUNS:-$scratch} PRESET=tiny STEPS=4 SEEDS=${SEEDS:-"0 1"} N=4 DATASET=examples/gdb17_xtb_1000.sdf.gz
    TRAIN_OPTIONS="--batch-size 4 --stability-samples 2 --validate-every 2 --sample-every 2"
    DRAW_OPTIONS="--method annealed --steps 3"
    ;;
  *) echo "unknown word: $1; see the head of $0" >&2; exit 2 ;;
esac

RUNS=${RUNS:-runs/ablation} PYTHON=${PYTHON:-python3} DATASET=${DATASET:-qm9} PRESET=${PRESET:-small}
STEPS=${STEPS:-20000} T_STARS=${T_STARS:-1000 550 250} SEEDS=${SEEDS:-0 1 2} N=${N:-500}
TRAIN_OPTIONS=${TRAIN_OPTIONS:-} DRAW_OPTIONS=${DRAW_OPTIONS:---method annealed --steps 50}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$RUNS"

models=()
for seed in $SEEDS; do
  for max_t in $T_STARS; do
    name=t${max_t}_s$seed going_on=()
    [ ! -f "$RUNS/$name/state.safetensors" ] || going_on=(--resume)
    # A run that is finished is found in the store and not trained again.
    # shellcheck disable=SC2086
    "$PYTHON" -m gaga train --dataset "$DATASET" --preset "$PRESET" --max-t "$max_t" --steps "$STEPS" --seed "$seed" \
      --name "$name" --runs "$RUNS" --store "$RUNS/gaga.h5" $TRAIN_OPTIONS "${going_on[@]}"
    models+=("t$max_t=$RUNS/$name")
  done
done

# shellcheck disable=SC2086
"$PYTHON" benchmarks/quality.py training --checkpoint "${models[@]}" --n "$N" --out "$RUNS/quality.jsonl" $DRAW_OPTIONS
