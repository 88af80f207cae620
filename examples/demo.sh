#!/bin/sh
# The main job on the sample models, in a folder that is thrown away: look, re-initialise, tie, set, compare, convert, across frameworks.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/sample_models/*.pt "$here"/sample_models/*.safetensors "$here"/sample_models/*.ckpt "$work"
cd "$work"

run() {
    printf '\n$ %s\n' "$1"
    status=0
    sh -c "$1" || status=$?
    [ "$status" -eq "${2:-0}" ] || { echo "exit status $status, not ${2:-0}" >&2; exit 1; }
}

echo "# What is in a file: nothing but its header is read."
run "ckpt ls mlp.pt"
run "ckpt ls nested.pt '[0][1][0].bias'"
run "ckpt summary training.ckpt"

echo; echo "# Fresh values: a scheme for each block, reproducible from the seed."
run "ckpt reinit mlp.pt '0.weight=xavier_uniform' '2.weight=constant(42)' '*.bias=zeros' --seed 0 -o fresh.pt"
run "ckpt get fresh.pt 2.weight"

echo; echo "# One layer under two names: what is set under one is seen under the other."
run "ckpt tied shared-mlp.pt"
run "ckpt set shared-mlp.pt '2.weight[0,0] = 100' -i"
run "ckpt get shared-mlp.pt '4.weight[0,0]'"
run "ckpt tie nested.pt '0.block 0.0.weight' '0.block 1.0.weight' -o tied.pt"

echo; echo "# The same network in another framework's names and layouts: a map compares values, not spellings."
run "ckpt new mlp --framework keras --seed 0 -o keras.weights.h5"
run "ckpt ls keras.weights.h5"
run "ckpt convert keras.weights.h5 gluon.params --map keras-to-mxnet"
run "ckpt diff keras.weights.h5 gluon.params --map keras-to-mxnet && echo the same, to the last bit"

echo; echo "# What changed: exit status 1 where something did, 0 where nothing did."
run "ckpt diff nested.pt tied.pt" 1
run "ckpt convert training.ckpt training.safetensors --select 'model.*' --rename 'model.*=*'"
run "ckpt convert mlp.pt copy.safetensors"
run "ckpt diff mlp.pt copy.safetensors && echo the same"
