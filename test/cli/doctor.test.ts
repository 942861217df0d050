// `capi doctor` on this machine: the default engine loads and is timed, what is missing names its mend.

import { beforeAll, describe, expect, it } from 'vitest';
import { suiteNeeding } from '../support/suites.js';
import { capi, type Run } from './capi.js';

interface Report {
  engine: string;
  device: string;
  loads: boolean;
  gflops?: number;
  version?: string;
  fix?: string;
}

let json: Run;
beforeAll(() => {
  json = capi(['doctor', '--json']);
});

describe('capi doctor', () => {
  it('--json lists every engine with its rate and version, or with what mends it', () => {
    expect(json.code).toBe(0);
    const { engines, auto, node } = JSON.parse(json.stdout) as {
      engines: Report[];
      auto: object;
      node: string;
    };
    expect(node).toBe(process.version);
    expect(auto).toHaveProperty('engine');
    const has = (engine: string) =>
      engines.find((report) => report.engine === engine && report.device === 'cpu' && report.loads);
    expect(has('onnx')).toBeDefined();
    expect(has('reference')).toBeDefined();
    expect(new Set(engines.map((report) => report.engine))).toEqual(
      new Set(['onnx', 'tensorflow', 'reference']),
    );
    for (const report of engines) {
      if (!report.loads) expect(report.fix).toBeTruthy();
      else {
        expect(report.version).toMatch(/\d+\.\d+/);
        expect(report.gflops).toBeGreaterThan(0);
      }
    }
    // A compiled product of matrices is not slower than plain JavaScript's, on any machine.
    expect(has('onnx')!.gflops!).toBeGreaterThan(has('reference')!.gflops!);
  });

  it('prints a table', () => {
    const { code, stdout } = capi(['doctor']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^engine +device +loads +GFLOP\/s +version$/m);
    expect(stdout).toMatch(/^onnx +cpu +yes +[\d.]+ +\d+\.\d+\.\d+/m);
    expect(stdout).toMatch(/^--engine auto takes \w+ on \w+\.$/m);
  });
});

suiteNeeding('tfjs-node')('capi doctor with tfjs-node', () => {
  it('loads the tensorflow engine', () => {
    const { engines } = JSON.parse(json.stdout) as { engines: Report[] };
    expect(engines.some((report) => report.engine === 'tensorflow' && report.loads)).toBe(true);
  });
});
