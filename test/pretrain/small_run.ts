// A pretraining run small enough for a test: its config, running it in this process, and reading what it left.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { type Config, loadConfig } from '../../src/config/index.js';
import type { ImageSource } from '../../src/images/index.js';
import { type PretrainOptions, type PretrainResult, pretrain } from '../../src/pretrain/loop.js';
import { prepareRun } from '../../src/pretrain/prepare.js';
import { relativeError } from '../support/golden.js';

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'capi-pretrain-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** 16 pixels, width 16, 10 steps of 8 images; `sets` change it as --set does. */
export function smallConfig(...sets: string[]): Config {
  const base = [
    'model.image_size=16',
    'model.patch_size=4',
    'model.width=16',
    'model.heads=2',
    'model.depth=1',
    'model.registers=4',
    'model.predictor.depth=1',
    'masking.predict=1',
    'clustering.prototypes=16',
    'data.source=synthetic:scenes?size=32',
    'train.steps=10',
    'train.batch=8',
    'engine.name=onnx',
    'engine.device=cpu',
    'engine.threads=1',
    'checkpoint.every=4',
  ];
  return loadConfig({ sets: [...base, ...sets] }).config;
}

/** Runs it into `folder`; `source` replaces the images of the config. */
export async function smallRun(
  folder: string,
  sets: string[] = [],
  options: Partial<PretrainOptions> & { source?: ImageSource } = {},
): Promise<PretrainResult> {
  return pretrain({ ...(await prepareRun(smallConfig(...sets))), folder, ...options });
}

/** The lines of metrics.jsonl, without the columns of time. */
export function metricsOf(folder: string): Record<string, number | null>[] {
  const lines = readFileSync(join(folder, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  return lines.map((text) => {
    const { images_per_second, waiting_share, ...rest } = JSON.parse(text);
    return rest;
  });
}

/** Largest relative difference of a metric between the lines of two runs. */
export function deviation(
  found: Record<string, number | null>[],
  wanted: Record<string, number | null>[],
  name: string,
): number {
  return Math.max(...wanted.map((line, i) => relativeError([found[i]![name]!], [line[name]!])));
}

/** The messages of log.txt, without their times. */
export function logOf(folder: string): string[] {
  const lines = readFileSync(join(folder, 'log.txt'), 'utf8').trimEnd().split('\n');
  return lines.map((line) => line.replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z /, ''));
}
