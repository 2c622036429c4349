#!/bin/sh
# The exported models in ONNX Runtime 1.30, on all 10,000 test images of Fashion-MNIST: a float model answers as ours does,
# be it as training leaves it, exported or with thinner layers, an integer model to the last bit. Students of the zoo, trained for a moment; what they have learnt does not matter.
limbeck=$1 dir=$2/onnxruntime compare=$3 data=/usr/share/datasets/fashion-mnist
[ -r $data/t10k-images-idx3-ubyte.gz ] || { echo "skipped: the package dataset-fashion-mnist is not installed"; exit 0; }
grep -q 'avx512_vnni\|avx_vnni' /proc/cpuinfo || { echo "skipped: without VNNI ONNX Runtime's u8 s8 products saturate"; exit 0; }
mkdir -p "$dir" || exit 1
python=$2/venv/bin/python
if ! "$python" -c 'import onnxruntime, numpy' 2>/dev/null; then
    python3 -m venv "$2/venv" >"$dir/log" 2>&1 || { echo "skipped: python3 can not make a virtual environment"; exit 0; }
    timeout 120 "$python" -m pip install -q --retries 0 --timeout 10 'onnxruntime==1.30.*' numpy >"$dir/log" 2>&1 ||
        { echo "skipped: onnxruntime could not be had from PyPI: $(tail -n 1 "$dir/log")"; exit 0; }
fi
bad=0
# check NAME MODEL QUANTIZE [PROFILE]
check() {
    rm -rf "$dir/$1"
    cat >"$dir/$1.yaml" <<Y
run: $dir/$1
data: {name: idx, path: $data}
split: {train: 3000, validation: 500}
student:
  model: $2
  train: {epochs: 1, batch: 100, lr: 0.05}
  quantize: $3
Y
    "$limbeck" distill "$dir/$1.yaml" >"$dir/log" 2>&1 && "$limbeck" export "$dir/$1.yaml" --profile "${4:-ort-x86}" >>"$dir/log" 2>&1 ||
        { echo "FAILED: $1"; tail -n 3 "$dir/log"; bad=1; return; }
    files=student-int8/model-int8.onnx:exact
    case $1 in
    pot | symmetric*) ;; # of floats the same model as another
    resnet)
        "$limbeck" factorise "$dir/$1/student/model.onnx" --lowrank "{energy: 0.6, gain: 0}" --out "$dir/$1/thin.onnx" >"$dir/log" 2>&1
        files="$files student/model-f32.onnx:close student/model.onnx:close thin.onnx:close" ;;
    *) files="$files student/model-f32.onnx:close student/model.onnx:close" ;;
    esac
    for file in $files; do
        model=$dir/$1/${file%:*}
        { "$limbeck" eval "$dir/$1.yaml" "$model" --logits "$dir/logits.npy" >"$dir/log" 2>&1 &&
            "$python" "$compare" "$model" "$dir/logits.npy" $data/t10k-images-idx3-ubyte.gz "${file#*:}"; } ||
            { echo "FAILED: $model"; cat "$dir/log"; bad=1; }
    done
}
check resnet "{name: resnet, depth: 8, width: 8, mean: 73, scale: 0.0111}" \
    "{qat: {momentum: 0.9}, train: {epochs: 1, batch: 100, lr: 0.001, clip: 1}, distill: {alpha: 0}}"
check mobilenet_v1 "{name: mobilenet_v1, width: 0.25, mean: 73, scale: 0.0111}" "{calibration: 300}"
check mobilenet_v2 "{name: mobilenet_v2, width: 0.25, mean: 73, scale: 0.0111}" "{calibration: 300}"
check vgg "{name: vgg, channels: [8, 0, 16, 0, 24], mean: 73, scale: 0.0111}" "{calibration: 300}"
check pot "{name: resnet, depth: 8, width: 8, mean: 73, scale: 0.0111}" "{qat: {scales: power_of_two}, calibration: 300}" pot
for profile in ort-x86 universal; do # a Relu before zero point 128 is one that bites
    check symmetric-$profile "{name: resnet, depth: 8, width: 8, mean: 128, scale: 0.0111}" "{qat: {activations: symmetric}, calibration: 300}" $profile
done
check lenet "{name: lenet, mean: 73, scale: 0.0111}" "{calibration: 300}"
exit $bad
