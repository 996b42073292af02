#!/usr/bin/env bash
# Packs what training on a GPU needs in parts under 45 MB: VOC's train_aug and val, and the ImageNet weights.
#   scripts/gpu_pack.sh DATA [OUT] [OPTION...]    DATA holds VOCdevkit/ and weights/; OUT: results/gpu_pack; options: gpu_pack.py's
set -euo pipefail
if [ $# = 0 ] || [[ $1 == -* ]]; then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
data=$1 out=results/gpu_pack
shift
if [ $# -gt 0 ] && [[ $1 != -* ]]; then out=$1 && shift; fi
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu_pack.py" "$data" --out "$out" "$@"
