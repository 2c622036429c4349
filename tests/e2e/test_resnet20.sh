#!/bin/sh
# Slow (about 10 minutes on two cores): ResNet-20 by the short recipe of configs/cifar10/resnet20-short.yaml ends where the same
# recipe does in PyTorch (tests/bench/peer_resnet20.py: 90.54 %), give or take half a point. Needs cifar-10-batches-bin/, the
# binary version of CIFAR-10, below LMB_DATA (default: data/ of the source). Stopped, it goes on.
limbeck=$1 dir=$2/resnet20 source=$3
data=${LMB_DATA:-$source/data}
[ -d "$data/cifar-10-batches-bin" ] || { echo "skipped: $data has no cifar-10-batches-bin; LMB_DATA=... names another folder"; exit 0; }
mkdir -p "$dir" || exit 1
"$limbeck" train "$source/configs/cifar10/resnet20-short.yaml" --set run="$dir/run" --set data.path="$data/cifar-10-batches-bin" \
    >"$dir/out" 2>"$dir/err" || { echo "FAILED: $(tail -n 3 "$dir/err")"; exit 1; }
grep "^model: " "$dir/out"
sed -n 's/^model: test accuracy \([0-9.]*\) %.*/\1/p' "$dir/out" | awk '{ found = $1 >= 90.04 } END { exit !found }' ||
    { echo "FAILED: less than 90.04 %"; exit 1; }
