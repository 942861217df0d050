// Which files besides itself an ONNX model reads: tensors of external data.
import onnxProto from 'onnx-proto';
import { DataError } from '../../errors.js';

const { onnx } = onnxProto as unknown as { onnx: typeof import('onnx-proto').onnx };
const EXTERNAL = 1; // TensorProto.DataLocation

/** Paths relative to the model's folder, sorted, each once. Throws DataError, naming `path`, for bytes that are no model. */
export function externalFiles(path: string, bytes: Uint8Array): string[] {
  let model: InstanceType<typeof onnx.ModelProto>;
  try {
    model = onnx.ModelProto.decode(bytes);
  } catch (error) {
    throw new DataError(`${path} is no ONNX file: ${(error as Error).message}`, { path });
  }
  const files = new Set<string>();
  for (const tensor of model.graph?.initializer ?? []) {
    if (tensor.dataLocation !== EXTERNAL) continue;
    const location = tensor.externalData?.find((entry) => entry.key === 'location')?.value;
    if (location) files.add(location);
  }
  return [...files].sort();
}
