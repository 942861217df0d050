// The engines and devices that a config and the flags may name. Adding an engine begins here; how each opens: src/engine/select.ts.

/** `auto`: the best that works. */
export const ENGINE_NAMES = ['auto', 'onnx', 'tensorflow', 'reference'] as const;
export const DEVICE_NAMES = ['auto', 'cpu', 'cuda', 'webgpu'] as const;
