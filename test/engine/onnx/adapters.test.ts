// The adapters in the text of Vulkan's tool.
import { expect, it } from 'vitest';
import { parseSummary } from '../../../src/engine/onnx/adapters.js';

it('reads name and kind of every device', () => {
  const text = `Devices:
========
GPU0:
	apiVersion         = 1.3.0
	vendorID           = 0x1ae0
	deviceType         = PHYSICAL_DEVICE_TYPE_CPU
	deviceName         = SwiftShader Device (Subzero)
	driverName         = SwiftShader driver
GPU1:
	deviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
	deviceName         = A card = with a sign
`;
  expect(parseSummary(text)).toEqual([
    { name: 'SwiftShader Device (Subzero)', kind: 'cpu' },
    { name: 'A card = with a sign', kind: 'discrete' },
  ]);
  expect(parseSummary('')).toEqual([]);
});
