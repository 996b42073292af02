#!/usr/bin/env bash
# What needs a GPU, in one go: checks and timings of the Triton kernels, the long recipes, their evaluation, the experiments. Only the
# pretraining on COCO (configs/coco_pretrain.yaml) is left out.
#   pip install -c constraints.txt -e '.[dev,gpu]'
#   scripts/full.sh DATA [OUT]       DATA holds VOCdevkit/, CamVid/ and weights/; runs that were stopped go on
set -euo pipefail
data=$(realpath "$1") out=$(realpath -m "${2:-results/full}")
cd "$(dirname "$0")/.."
pytest -q tests/functional/test_backends.py
python scripts/gpu_check.py --out "$out/gpu/check"
python scripts/gpu_bench.py --out "$out/gpu/bench" || true # a row that failed says why
run() { # NAME RECIPE WEIGHTS DATASET [OPTION...]
    dpn train "configs/$2.yaml" --unary.weights "$3" --data.root "$data" --out "$out/$1" "${@:5}"
    dpn evaluate "$out/$1" --data "$4" --data-root "$data" --out "$out/$1/evaluated"
}
for seed in 0 1 2; do
    run "voc_$seed" voc_full "$data/weights/deeplabv3_mobilenet_v2_voc.safetensors" voc --seed "$seed"
    run "camvid_$seed" camvid_full "$data/weights/mobilenet_v2_imagenet.safetensors" camvid --seed "$seed"
done
run voc_imagenet voc_imagenet "$data/weights/mobilenet_v2_imagenet.safetensors" voc --stages.unary.steps 10000
vgg16=$data/weights/vgg16-397923af.pth
if [ -f "$vgg16" ]; then
    run voc12 voc12 "$vgg16" voc
    run camvid_vgg16 camvid_vgg16 "$vgg16" camvid
fi
for name in voc camvid; do
    dpn experiment all comparison control ablation training test-time flips calibration --data "$name" --data-root "$data" \
        --model "$out/${name}_0" --out "$out/experiments_$name" --report "$out/experiments_$name/report.html"
done
