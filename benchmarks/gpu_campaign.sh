#!/usr/bin/env bash
# Everything that is to be found out on a borrowed GPU, in the order of its worth, with a short table at the end.
#
#   benchmarks/gpu_campaign.sh                        kernels, until the time is up: tests parity forward sampling train geom
#   benchmarks/gpu_campaign.sh train geom             these parts
#   benchmarks/gpu_campaign.sh --rehearse [parts]     the same on the CPU with tiny networks, fused kernels interpreted;
#                                                     without parts, all of them
#
# Weights, in one call or in several to one machine that stays; each call may end in files of its own in OUT:
#
#   benchmarks/gpu_campaign.sh tests probe train-start   is all well; the batch and precision that this device likes; then
#                                                        training in the background
#   benchmarks/gpu_campaign.sh train-collect             wait for it, and bring its weights every few minutes; a run that
#                                                        blows up goes on from its best weights at CALM_RATE
#   benchmarks/gpu_campaign.sh draw                      N molecules from them for each of DRAWS, into one store, drawn.h5
#
# and where RDKit is: cat model.safetensors.* >model.safetensors; python benchmarks/quality.py stored drawn.h5 --strict
#
# A part that fails or takes too long loses nothing of the others. Variables:
#   OUT         folder of results (./campaign_out): campaign.log, figures.json, table.txt, and what training left
#   BUDGET      seconds of one call (570); what no longer fits is left out, and said to be
#   PYTHON      python3 with torch; gaga need not be installed
#   DEVICE      cuda
#   COMMIT      of this tree, where it comes without .git
#   QM9         a prepared file for training: gaga data prepare qm9 --lean --out qm9_lean.h5
#   RUNS        where training lives between calls (/tmp/gaga_campaign)
#   FORWARD, TRAIN, PROBE   batch sizes that these parts time
#   KERNELS     what train and forward compare (naive torch compile triton; forward leaves compile out)
#   INIT        a checkpoint to go on from, such as the last campaign's; its shape is that of the preset
#   TRAIN_OPTIONS   options of gaga train; they win over what probe chose
#   TRAIN_S     seconds of training (400); where empty, TRAIN_OPTIONS says how long
#   WORST, CALM_RATE   a validation loss above WORST (0.26) after 2,000 steps is a blow-up; then the rate (2e-4)
#               What train-start was told, train-collect remembers.
#   TRAIN_WAIT, COLLECT_EVERY   seconds that train-collect waits (520), and between the weights that it brings (180)
#   SHARD       largest file of weights (15M)
#   N, DRAWS    molecules that draw draws (10000), and ways to, options of gaga sample, separated by semicolons: side by
#               side, as most of the time goes into starting them
set -uo pipefail
cd "$(dirname "$0")/.."

REHEARSE=0 PARTS=()
for word in "$@"; do
  case $word in
    --rehearse) REHEARSE=1 ;;
    tests | parity | forward | sampling | train | geom | probe | train-start | train-collect | draw) PARTS+=("$word") ;;
    *) echo "unknown part: $word; see the head of $0" >&2; exit 2 ;;
  esac
done
if [ ${#PARTS[@]} -eq 0 ]; then
  PARTS=(tests parity forward sampling train geom)
  [ "$REHEARSE" = 0 ] || PARTS+=(probe train-start train-collect draw) BUDGET=${BUDGET:-2400}
fi

OUT=${OUT:-campaign_out} BUDGET=${BUDGET:-570} PYTHON=${PYTHON:-python3} RUNS=${RUNS:-/tmp/gaga_campaign}
COMMIT=${COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
exec > >(tee -a "$OUT/campaign.log") 2>&1

export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
GAGA=("$PYTHON" -m gaga)
failed=()

if [ "$REHEARSE" = 1 ]; then
  export TRITON_INTERPRET=1
  # An interpreted edge takes a few thousand times as long; drugs have too many of them.
  DEVICE=cpu RUNS=$scratch/runs PATIENCE=4 FORWARD=2 TRAIN=2 GEOM=1 KERNELS="naive torch triton" FULL=()
  SIZE=(--hidden 16 --layers 1 --rounds 1) PROFILED=(--hidden 16 --layers 1) CHECK=(--case qm9-train --kernel triton) GEOM_KERNELS="naive torch" DRAWN=(--batch-size 1)
  PROBE=${PROBE:-"4 8"} PROBE_KERNEL=torch CHOICE="--batch-size 8" N=${N:-4} DRAWS=${DRAWS:---method sde --steps 5; --method ddpm --stride 100}
  TRAIN_OPTIONS=${TRAIN_OPTIONS:---preset tiny --steps 3 --stability-samples 2 --warmup-steps 2} COLLECT_EVERY=2 TRAIN_S=""
else
  DEVICE=${DEVICE:-cuda} PATIENCE=1 FORWARD=${FORWARD:-"256 1024 2048 10000"} TRAIN=${TRAIN:-"256 1024 2048"} GEOM=256
  KERNELS=${KERNELS:-naive torch compile triton} FULL=(--full) SIZE=() PROFILED=()
  CHECK=(--case qm9-train --case geom-train) GEOM_KERNELS="naive triton" DRAWN=()
  PROBE=${PROBE:-"512 1024 256 2048"} PROBE_KERNEL=triton CHOICE="--batch-size 512 --precision bfloat16" N=${N:-10000}
  DRAWS=${DRAWS:---method sde; --method annealed; --method ddpm}
  TRAIN_OPTIONS=${TRAIN_OPTIONS:---preset large --sample-every 8000 --stability-samples 300 --seed 5} TRAIN_S=${TRAIN_S-400}
fi
WORST=${WORST:-0.26} CALM_RATE=${CALM_RATE:-2e-4}

left() { echo $((BUDGET - SECONDS)); }

# limited SECONDS COMMAND...: run it for so long at most (in a rehearsal, PATIENCE times that), and not into the end of the
# call. Its own words go to stderr.
limited() {
  local most=$(($1 * PATIENCE)) rest
  shift
  rest=$(($(left) - 10))
  if [ "$rest" -lt 10 ]; then
    echo "   not run, no time left: $*" >&2
    return 1
  fi
  [ "$most" -lt "$rest" ] || most=$rest
  echo "   $* (at most $most s)" >&2
  timeout -k 10 "$most" "$@"
}

# figures SECONDS WORDS...: one gaga benchmark.
figures() {
  local most=$1
  shift
  kept "$most" "${GAGA[@]}" benchmark --json --device "$DEVICE" --store "$scratch/gaga.h5" "$@"
}

# profiles SECONDS WORDS...: where the time of a step goes.
profiles() {
  local most=$1
  shift
  kept "$most" "$PYTHON" benchmarks/profile_kernels.py --json --device "$DEVICE" "$@"
}

# kept SECONDS COMMAND...: the JSON object that a command prints goes behind those before it.
kept() {
  local began=$SECONDS code
  limited "$@" >"$scratch/said"
  code=$?
  if [ "$(head -c 1 "$scratch/said")" = "{" ]; then
    cat "$scratch/said" >>"$OUT/figures.json"
  else
    cat "$scratch/said"
  fi
  echo "   code $code after $((SECONDS - began)) s"
  return $code
}

kernels() { for kernel in "$@"; do printf -- '--kernel %s ' "$kernel"; done; }

part_tests() {
  if ! "$PYTHON" -c 'import pytest' 2>/dev/null; then
    echo "   there is no pytest here: the tests of kernels on the device were not run"
    return 1
  fi
  local side_by_side=()
  # Most of the time goes into compiling kernels, one core each.
  [ "$REHEARSE" = 1 ] || ! "$PYTHON" -c 'import xdist' 2>/dev/null || side_by_side=(-n 8)
  # Without the options of pyproject.toml, which need packages that are not on every machine.
  limited 150 "$PYTHON" -m pytest -o addopts= --import-mode=importlib --continue-on-collection-errors \
    -p no:cacheprovider -p no:benchmark -q -rs -m gpu "${side_by_side[@]}" tests/models tests/stats tests/benchmark
}

part_parity() {
  local size=()
  [ "$REHEARSE" = 1 ] && size=(--hidden 16 --layers 1)
  figures 120 --check "${CHECK[@]}" "${size[@]}"
}

part_forward() {
  local ok=0
  for n in $FORWARD; do
    # shellcheck disable=SC2046
    figures 100 --case qm9-forward --batch-size "$n" --precision bfloat16 $(kernels ${KERNELS/ compile/}) \
      "${SIZE[@]}" || ok=1
    profiles 60 --case qm9-forward --batch-size "$n" "${PROFILED[@]}" || ok=1
  done
  return $ok
}

part_sampling() {
  local ok=0
  figures 150 --case qm9-sampling --kernel triton --precision bfloat16 "${FULL[@]}" "${DRAWN[@]}" "${SIZE[@]}" || ok=1
  # shellcheck disable=SC2046
  figures 120 --case qm9-sampling --precision bfloat16 $(kernels ${KERNELS/ triton/}) "${SIZE[@]}" || ok=1
  return $ok
}

part_train() {
  local ok=0
  for n in $TRAIN; do
    # shellcheck disable=SC2046,SC2086
    figures 150 --case qm9-train --batch-size "$n" --precision bfloat16 $(kernels $KERNELS) "${SIZE[@]}" || ok=1
    profiles 60 --case qm9-train --batch-size "$n" "${PROFILED[@]}" || ok=1
  done
  return $ok
}

part_geom() {
  local ok=0
  for work in train forward sampling; do
    # shellcheck disable=SC2046,SC2086
    figures 120 --case "geom-$work" --batch-size "$GEOM" --precision bfloat16 $(kernels $GEOM_KERNELS) "${SIZE[@]}" || ok=1
  done
  return $ok
}

# A batch size at a time, so that what no longer fits into the two minutes loses nothing of the others.
part_probe() {
  local until=$((SECONDS + 120)) rest
  mkdir -p "$RUNS"
  : >"$scratch/probe.json"
  for n in $PROBE; do
    rest=$((until - SECONDS))
    [ "$rest" -ge 10 ] || break
    figures "$rest" --case qm9-train --batch-size "$n" --kernel "$PROBE_KERNEL" --precision float32 \
      --precision bfloat16 --rounds 3 "${SIZE[@]}" || continue
    cat "$scratch/said" >>"$scratch/probe.json"
  done
  "$PYTHON" benchmarks/campaign_choice.py "$scratch/probe.json" >"$scratch/choice" || return 1
  mv "$scratch/choice" "$RUNS/choice"
  echo "   chosen: $(cat "$RUNS/choice")"
}

# What a run was asked for, so that a further call needs no variables again; DEADLINE is in seconds of the clock.
remember() {
  for name in QM9 INIT TRAIN_OPTIONS CALM_RATE WORST DEADLINE; do printf '%s=%q\n' "$name" "${!name}"; done >"$RUNS/asked"
}

recall() {
  # shellcheck disable=SC1091
  [ ! -f "$RUNS/asked" ] || source "$RUNS/asked"
}

part_train-start() {
  QM9=${QM9:-} INIT=${INIT:-}
  mkdir -p "$RUNS"
  if [ "$REHEARSE" = 1 ] && [ -z "$QM9" ]; then
    QM9=$RUNS/molecules.h5
    [ -f "$QM9" ] || limited 100 "${GAGA[@]}" data prepare examples/gdb17_xtb_1000.sdf.gz --lean --out "$QM9" || return 1
  fi
  [ -f "$QM9" ] || { echo "   QM9 names no prepared file"; return 1; }
  [ -z "$INIT" ] || [ -f "$INIT" ] || { echo "   INIT is no file: $INIT"; return 1; }
  ! alive || { echo "   training goes on already"; return 1; }
  DEADLINE=${TRAIN_S:+$(($(date +%s) + TRAIN_S))}
  remember
  train
}

# Start training as it was asked for, until DEADLINE where there is one.
train() {
  local more=() choice=$CHOICE
  [ ! -f "$RUNS/choice" ] || choice=$(cat "$RUNS/choice")
  [ -z "$DEADLINE" ] || more+=(--budget "$((DEADLINE - $(date +%s)))s")
  # shellcheck disable=SC2206
  more+=($TRAIN_OPTIONS)
  [ -z "$INIT" ] || more+=(--init-from "$INIT")
  [ ! -f "$RUNS/campaign/state.safetensors" ] || more+=(--resume)
  # shellcheck disable=SC2086
  set -- "${GAGA[@]}" train --dataset "$QM9" --max-t 550 --device "$DEVICE" --name campaign --runs "$RUNS" \
    --store "$RUNS/gaga.h5" --save-every-s 60 $choice "${more[@]}"
  setsid nohup "$@" >>"$RUNS/train.log" 2>&1 </dev/null &
  echo $! >"$RUNS/pid"
  echo "   training as process $!, log in $RUNS/train.log: $*"
}

# Whether the process that trains is there; one that nobody waits for is not.
alive() {
  local pid
  pid=$(cat "$RUNS/pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null && ! grep -qs '^State:.*Z' "/proc/$pid/status"
}

# Whether the newest row of the log is no training any more.
blew_up() {
  [ -f "$RUNS/campaign/metrics.jsonl" ] && [ -f "$RUNS/campaign/best.safetensors" ] || return 1
  grep -v '"measured": false' "$RUNS/campaign/metrics.jsonl" | tail -n 1 | "$PYTHON" -c '
import json, sys
row = json.loads(sys.stdin.readline() or "{}")
loss = row.get("valid_loss")
sys.exit(not (row.get("step", 0) >= 2000 and (loss is None or loss > float(sys.argv[1]))))' "$WORST"
}

# What is left of the time, if that is worth it, from the best weights there were, at CALM_RATE, and half of it next time.
calm_down() {
  local waited=0
  echo "   it blew up: $(tail -n 1 "$RUNS/campaign/metrics.jsonl")"
  kill "$(cat "$RUNS/pid")" 2>/dev/null
  while alive; do
    [ $waited -lt 60 ] || kill -9 "$(cat "$RUNS/pid")"
    waited=$((waited + 1))
    sleep 1
  done
  rm -rf "$RUNS/blown_up.2" && { [ ! -d "$RUNS/blown_up" ] || mv "$RUNS/blown_up" "$RUNS/blown_up.2"; }
  mv "$RUNS/campaign" "$RUNS/blown_up"
  if [ -n "$DEADLINE" ] && [ $((DEADLINE - $(date +%s))) -lt 30 ]; then
    echo "   too little time is left to go on"
    return 0
  fi
  INIT=$RUNS/blown_up/best.safetensors TRAIN_OPTIONS="$TRAIN_OPTIONS --lr $CALM_RATE --warmup-steps 200 --replace"
  CALM_RATE=$("$PYTHON" -c 'import sys; print(float(sys.argv[1]) / 2)' "$CALM_RATE")
  remember
  train
}

# The best weights there are: the run's as they are now, or those of before it blew up.
weights() {
  local found=$RUNS/campaign/model.safetensors
  ! blew_up || found=$RUNS/campaign/best.safetensors
  [ -f "$found" ] || found=$RUNS/blown_up/best.safetensors
  [ -f "$found" ] && echo "$found"
}

# They and the log, whole or not at all; files above 16 MiB do not come back.
bring() {
  local found
  found=$(weights) || return 1
  rm -rf "$scratch/shards" && mkdir "$scratch/shards"
  cp "$(dirname "$found")/metrics.jsonl" "$scratch/shards/" 2>/dev/null
  split -b "${SHARD:-15M}" -d "$found" "$scratch/shards/model.safetensors." || return 1
  rm -f "$OUT"/model.safetensors.[0-9]*
  mv "$scratch"/shards/* "$OUT/"
}

part_train-collect() {
  recall
  [ -f "$RUNS/pid" ] || { echo "   nothing was started in $RUNS"; return 1; }
  local until=$((SECONDS + ${TRAIN_WAIT:-520})) brought=$SECONDS
  while [ $SECONDS -lt $until ] && [ "$(left)" -gt 15 ]; do
    ! blew_up || calm_down
    alive || break
    if [ $((SECONDS - brought)) -ge "${COLLECT_EVERY:-180}" ]; then
      bring
      brought=$SECONDS
    fi
    sleep 1
  done
  tail -n 25 "$RUNS/train.log"
  bring
}

# From the weights as they are now, under their hash: drawing goes on in a further call where this one ends too early.
part_draw() {
  local model digest store ways ok=0 number=0 jobs=()
  model=$(weights) || model=${INIT:-}
  [ -f "$model" ] || { echo "   there are no weights in $RUNS, and INIT names none"; return 1; }
  digest=$(sha256sum "$model" | head -c 8)
  store=$RUNS/drawn_$digest.h5
  [ -f "$RUNS/weights_$digest.safetensors" ] || cp "$model" "$RUNS/weights_$digest.safetensors" || return 1
  IFS=';' read -ra ways <<<"$DRAWS"
  for way in "${ways[@]}"; do
    number=$((number + 1))
    # shellcheck disable=SC2086
    limited 560 "${GAGA[@]}" sample --checkpoint "$RUNS/weights_$digest.safetensors" --n "$N" --device "$DEVICE" \
      --out "$RUNS/drawn_${digest}_$number.xyz" --name "drawn_$number" --store "$store" --resume $way &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || ok=1; done
  [ ! -f "$store" ] || cp "$store" "$OUT/drawn.h5"
  return $ok
}

echo "== campaign on $DEVICE, commit $COMMIT, $(date -u +%FT%TZ), parts: ${PARTS[*]}"
[ "$DEVICE" = cuda ] && nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv
for part in "${PARTS[@]}"; do
  echo "== $part (after $SECONDS s)"
  "part_$part" || failed+=("$part")
done

echo "== figures after $SECONDS s; not whole: ${failed[*]:-none}"
"$PYTHON" benchmarks/campaign_table.py --commit "$COMMIT" "$OUT" | tee "$OUT/table.txt"
[ ${#failed[@]} -eq 0 ]
