#!/bin/bash
# Puts a working @tensorflow/tfjs-node (CPU) into this project's node_modules, for the `tensorflow` engine.
#
# The package's own install step downloads libtensorflow from a host that many networks refuse. This script takes the same
# library out of PyPI's tensorflow-cpu wheel instead and compiles the binding against it (about a minute, 300 MB).
# It changes nothing but node_modules/@tensorflow/tfjs-node: neither package.json nor package-lock.json nor other packages.
# `npm ci` and `npm install` remove what they do not know: run the script again after them.
#
#   scripts/build-tfjs-node.sh
#
# Needs: Linux on x86-64, Node 20 or newer, npm, g++, make, Python 3 with pip (PYTHON names another than python3).
# NODE_HEADERS names the folder above include/node where Node's headers are not beside node itself.
set -euo pipefail

tfjs_version=4.22.0
tensorflow_version=2.12.1
wheel_python=3.11 # which of PyPI's wheels is taken; the Python that runs this script may be another

python=${PYTHON:-python3}
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$project/node_modules/@tensorflow/tfjs-node

fail() { echo "error: $*" >&2; exit 1; }
[ "$(uname -sm)" = "Linux x86_64" ] || fail "this script knows Linux on x86-64 only, not $(uname -sm)"
[ -d "$project/node_modules/@tensorflow/tfjs" ] || fail "run npm ci first"
for tool in node npm g++ make "$python"; do
  command -v "$tool" >/dev/null || fail "$tool is not installed"
done
"$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip (Debian: apt-get install python3-pip, or name a virtual environment's Python in PYTHON)"

work=$(mktemp -d "$project/node_modules/.tfjs-node-XXXXXX") # beside the target, so that the last step is a rename
trap 'rm -rf "$work"' EXIT

echo "1/4 @tensorflow/tfjs-node $tfjs_version"
# Nested: all that it needs comes to lie below it, and nothing beside it. Its copies of TensorFlow.js go, so that it uses the project's.
echo '{"private":true}' >"$work/package.json"
(cd "$work" && npm install --silent --no-audit --no-fund --ignore-scripts --install-strategy=nested \
  "@tensorflow/tfjs-node@$tfjs_version" node-gyp@10)
package=$work/node_modules/@tensorflow/tfjs-node
rm -rf "$package/node_modules/@tensorflow" "$package"/{deps,lib,build}

echo "2/4 libtensorflow $tensorflow_version"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work/wheel" \
  --python-version "$wheel_python" --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  "tensorflow-cpu==$tensorflow_version"
"$python" - "$work"/wheel/*.whl "$package/deps" <<'PYTHON'
# Takes the two libraries and the headers of the C interface out of the wheel.
import pathlib
import shutil
import sys
import zipfile

wheel, deps = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
libraries = {"libtensorflow_cc.so.2": "libtensorflow.so", "libtensorflow_framework.so.2": "libtensorflow_framework.so"}
headers = [f"tensorflow/include/{part}/" for part in ("tensorflow/c", "tensorflow/core/platform", "tensorflow/tsl", "tsl", "xla/tsl")]
for name in wheel.namelist():
    path = pathlib.PurePosixPath(name)
    if path.parent == pathlib.PurePosixPath("tensorflow") and path.name in libraries:
        to = deps / "lib" / path.name
    elif any(name.startswith(folder) for folder in headers) and not name.endswith("/"):
        to = deps / "include" / path.relative_to("tensorflow/include")
    else:
        continue
    to.parent.mkdir(parents=True, exist_ok=True)
    with wheel.open(name) as source, open(to, "wb") as file:
        shutil.copyfileobj(source, file)
for library, link in libraries.items():
    (deps / "lib" / link).symlink_to(library)
PYTHON
rm -rf "$work/wheel"

echo "3/4 the binding"
prefix=${NODE_HEADERS:-$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")}
headers=() # without them beside node, node-gyp fetches them
[ -f "$prefix/include/node/node_api.h" ] && headers=("--nodedir=$prefix")
log=$work/node-gyp.log
(cd "$package" && PYTHON=$python "$work/node_modules/.bin/node-gyp" rebuild "${headers[@]}" \
  --napi_version=8 --napi_build_version=8 --module_name=tfjs_binding --module_path="$package/lib/napi-v8") >"$log" 2>&1 ||
  { tail -n 40 "$log" >&2; fail "the binding did not compile"; }
rm -rf "$package/build"

echo "4/4 a product of two matrices"
rm -rf "$target"
mkdir -p "$(dirname "$target")"
mv "$package" "$target"
cd "$project"
TF_CPP_MIN_LOG_LEVEL=2 node -e "
  const util = require('util');
  util.isNullOrUndefined ??= (value) => value === null || value === undefined; // gone from Node 24, and tfjs-node calls it
  const tf = require('@tensorflow/tfjs-node');
  const [product] = tf.matMul([[1, 2]], [[3], [4]]).dataSync();
  if (tf.getBackend() !== 'tensorflow' || product !== 11) throw new Error('backend ' + tf.getBackend() + ', 1*3 + 2*4 = ' + product);
  console.log('tfjs-node ' + tf.version['tfjs-node'] + ' on libtensorflow ' + tf.backend().binding.TF_Version + ' works');
"
