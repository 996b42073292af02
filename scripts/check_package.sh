#!/usr/bin/env bash
# Builds a wheel and an sdist twice, to the same bytes, installs each into an empty environment, and uses it there.
#   scripts/check_package.sh [PYTHON...]     default: python3; where only a CUDA build of torch can be had, which is gigabytes, the
#                                            package is installed without it and compiled, not used
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_CONSTRAINT=$PWD/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1

BRINGS_CUDA="import json, sys; sys.exit(not any(each['metadata']['name'].startswith('nvidia') for each in json.load(open(sys.argv[1]))['install']))"

first=${1:-python3}
"$first" -m venv "$work/build"
"$work/build/bin/pip" install build hatchling

build() { # SOURCE OUT
    "$work/build/bin/python" -m build --no-isolation --outdir "$2" "$1" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
}
build . "$work/dist"
# Elsewhere, at another time, of files that others may not read.
mkdir "$work/elsewhere"
git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from - |
    (umask 077 && tar -x --no-same-permissions --touch -C "$work/elsewhere")
(umask 077 && export TZ=Asia/Tokyo LC_ALL=C && build "$work/elsewhere" "$work/again")
for file in "$work"/dist/*; do
    cmp "$file" "$work/again/$(basename "$file")"
done
echo "wheel and sdist: the same bytes when built again elsewhere"

use() { # PYTHON FILE: installs the file into an empty environment, then segments a picture with the shipped network
    local env
    env=$(mktemp -d -p "$work")
    "$1" -m venv "$env"
    "$env/bin/pip" install --dry-run --report "$env/report.json" "$2"
    if "$env/bin/python" -c "$BRINGS_CUDA" "$env/report.json"; then
        "$env/bin/pip" install --no-deps "$2"
        "$env/bin/python" -m compileall -q "$env"/lib/python*/site-packages/dpn
        echo "$("$1" --version): $(basename "$2") compiles; not run, for torch would bring CUDA with it"
        return
    fi
    "$env/bin/pip" install "$2"
    (
        cd "$work"
        "$env/bin/dpn" --version
        "$env/bin/python" -m dpn segment --help >/dev/null
        "$env/bin/python" -c "import dpn, numpy; print(dpn.segment(numpy.zeros((48, 64, 3), numpy.uint8)), dpn.functional.backends())"
    )
    echo "$("$1" --version): $(basename "$2") works"
}
for python in "${@:-python3}"; do
    if ! command -v "$python" >/dev/null || ! "$python" --version >/dev/null 2>&1; then
        echo "$python: skipped, no such interpreter"
        continue
    fi
    use "$python" "$work"/dist/*.whl
done
use "$first" "$work"/dist/*.tar.gz
