// Names of the GPUs that WebGPU can find here, as far as Vulkan's own tool knows them.
import { spawnSync } from 'node:child_process';

/** A device as `vulkaninfo --summary` lists it. */
export interface Adapter {
  name: string;
  /** `discrete`, `integrated`, `virtual`, `cpu` (a driver in software) or `other`. */
  kind: string;
}

/**
 * The devices of this machine in Vulkan's order, or undefined where that cannot be known: onnxruntime does not tell which adapter it
 * opened, and `vulkaninfo` (Debian: vulkan-tools) may not be there. With several, onnxruntime takes the one of high performance;
 * the environment variable VK_DRIVER_FILES hides the drivers that it does not name.
 */
export function vulkanAdapters(): Adapter[] | undefined {
  const found = spawnSync('vulkaninfo', ['--summary'], { encoding: 'utf8', timeout: 10_000 });
  return found.status === 0 ? parseSummary(found.stdout) : undefined;
}

/** The devices in the text of `vulkaninfo --summary`. */
export function parseSummary(text: string): Adapter[] {
  const values = (key: string): string[] =>
    [...text.matchAll(new RegExp(`^\\s*${key}\\s*= (.*)$`, 'gm'))].map((match) => match[1]!.trim());
  const kinds = values('deviceType');
  return values('deviceName').map((name, i) => ({
    name,
    kind:
      kinds[i]
        ?.replace(/^PHYSICAL_DEVICE_TYPE_/, '')
        .replace(/_GPU$/, '')
        .toLowerCase() ?? 'other',
  }));
}
