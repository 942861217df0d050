// Reads onnxruntime's profile of a run: which provider ran each operator, on which types of inputs.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

interface ProfileEvent {
  cat: string;
  name: string;
  args?: { provider?: string; op_name?: string; input_type_shape?: Record<string, number[]>[] };
}

/** `{ WebGpuExecutionProvider: { 'Add(float,float)': 12, ... }, ... }`: runs of each operator, from the profiles with this file prefix. */
export function placement(prefix: string): Record<string, Record<string, number>> {
  const runs: Record<string, Record<string, number>> = {};
  const files = readdirSync(dirname(prefix)).filter((name) => name.startsWith(basename(prefix)));
  for (const file of files) {
    for (const event of JSON.parse(readFileSync(join(dirname(prefix), file), 'utf8')) as ProfileEvent[]) {
      const { provider, op_name, input_type_shape } = event.args ?? {};
      if (event.cat !== 'Node' || !provider || !event.name.endsWith('_kernel_time')) continue;
      const types = (input_type_shape ?? []).map((input) => Object.keys(input)[0]);
      runs[provider] ??= {};
      const operator = `${op_name}(${types})`;
      runs[provider][operator] = (runs[provider][operator] ?? 0) + 1;
    }
  }
  return runs;
}
