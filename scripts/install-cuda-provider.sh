#!/bin/bash
# Puts onnxruntime's CUDA provider (for CUDA 13 and cuDNN 9; Linux on x86-64) beside the library of onnxruntime-node: two files out of the package
# onnxruntime-gpu of the same version, built from the same commit. Needs pip; PYTHON names another python than python3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "onnxruntime-gpu has no such provider for $(uname -sm)" >&2
  exit 1
fi
package=$(node -p "require('node:path').dirname(require.resolve('onnxruntime-node/package.json'))")
version=$(node -p "require('$package/package.json').version")
folder=$(echo "$package"/bin/napi-v*/linux/x64)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "onnxruntime-gpu $version, about 250 MB"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
  --dest "$work" "onnxruntime-gpu==$version"
"$python" - "$work"/*.whl "$folder" <<'PYTHON'
import pathlib
import sys
import zipfile

wheel, folder = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"):
        target = pathlib.Path(folder, name)
        part = target.with_suffix(".part")
        part.write_bytes(archive.read(f"onnxruntime/capi/{name}"))
        part.replace(target)
        print(target)
PYTHON
echo "next: node dist/src/main.js doctor --gpu"
