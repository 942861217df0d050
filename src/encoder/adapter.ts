// The adapter of a foreign ONNX encoder: a small YAML file that says what goes in and where the features come out.
import { existsSync, readFileSync } from 'node:fs';
import { parse, stringify, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { sha256 } from '../base/hash.js';
import { DataError, UsageError } from '../errors.js';
import { IMAGENET } from '../images/index.js';

const positive = 'a whole number of at least 1';
const side = z.int({ error: positive }).min(1, { error: positive });
const threeNumbers = (what: string) => z.tuple([z.number(), z.number(), z.number()], { error: what });
const text = (what: string) => z.string({ error: what }).min(1, { error: what });

/** Tokens [first, end) of an output, counted from 0; an end of null is the last one. */
const tokens = z
  .tuple([z.int().min(0), z.int().min(1).nullable()], {
    error: 'tokens [first, end), counted from 0, where end may be null for the last',
  })
  .refine(([first, end]) => end === null || end > first, {
    error: 'tokens [first, end) with end above first',
  });

const part = <T extends z.core.$ZodLooseShape>(more: T) =>
  z.union(
    [
      text('the name of an output').transform((output) => ({ output })),
      z.strictObject({ output: text('the name of an output'), tokens: tokens.optional(), ...more }),
    ],
    { error: 'the name of an output, or {output: NAME, tokens: [first, end]}' },
  );

const adapterSchema = z.strictObject({
  input: z.strictObject(
    {
      name: text('the name of the input'),
      layout: z.enum(['nchw', 'nhwc'], { error: 'nchw or nhwc' }),
    },
    { error: '{name: NAME, layout: nchw or nhwc}' },
  ),
  /** Pixels: one number for a square, or [height, width]. */
  size: z.union([side, z.tuple([side, side])], { error: 'pixels, or [height, width]' }),
  patch: side,
  normalise: z.union(
    [
      z.literal('imagenet').transform(() => ({ mean: [...IMAGENET.mean], std: [...IMAGENET.std] })),
      z.literal('bytes'),
      z.strictObject({
        mean: threeNumbers('[r, g, b]'),
        std: threeNumbers('[r, g, b] above 0').refine((std) => std.every((v) => v > 0), {
          error: '[r, g, b] above 0',
        }),
      }),
    ],
    {
      error:
        'imagenet, {mean: [r, g, b], std: [r, g, b]} on a scale of 0 to 1, or bytes (the file takes uint8)',
    },
  ),
  outputs: z.strictObject(
    {
      patches: part({
        layout: z.enum(['tokens', 'nhwc', 'nchw'], { error: 'tokens, nhwc or nchw' }).optional(),
      }),
      global: part({}).nullable().default(null),
      registers: part({}).nullable().default(null),
    },
    { error: '{patches: OUTPUT, global: OUTPUT or null, registers: OUTPUT or null}' },
  ),
});

export type Adapter = z.infer<typeof adapterSchema>;
export type AdapterPart = { output: string; tokens?: [number, number | null] | undefined };

/** The file that belongs to an ONNX file unless the spec names another. */
export const adapterFile = (onnx: string): string => `${onnx}.yaml`;

const EXAMPLE =
  '{input: {name: images, layout: nchw}, size: 224, patch: 14, normalise: imagenet, outputs: {global: {output: tokens, tokens: [0, 1]}, patches: {output: tokens, tokens: [1, null]}}}';

/**
 * Reads an adapter.
 * @throws UsageError when there is none (with an example), DataError naming file, key, value and what is accepted
 */
export function readAdapter(file: string, onnx: string): Adapter {
  if (!existsSync(file)) {
    throw new UsageError(
      `${onnx} needs an adapter, ${file}, that says its input and outputs; for example ${EXAMPLE}`,
    );
  }
  let value: unknown;
  try {
    value = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const why = error instanceof YAMLParseError ? error.message.split('\n')[0]!.replace(/:$/, '') : error;
    throw new DataError(`${file} is not YAML: ${why}`);
  }
  const result = adapterSchema.safeParse(value);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]!);
  const at = issue.path.join('.') || 'adapter';
  if (issue.code === 'unrecognized_keys') {
    throw new DataError(`${file}: unknown key ${issue.keys.join(', ')} in ${at}`);
  }
  const is = issue.path.reduce<unknown>(
    (v, key) => (v as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  throw new DataError(
    `${file}: ${at} is ${is === undefined ? 'missing' : JSON.stringify(is)}; accepted: ${issue.message}`,
  );
}

/** Of a union that was given a mapping, what is wrong inside that mapping. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const inside = issue.errors.flat().find((e) => e.path.length > 0 || e.code === 'unrecognized_keys');
  return inside ? deepest({ ...inside, path: [...issue.path, ...inside.path] }) : issue;
}

/** Any line that may be one with a digest, damaged or not. */
const DIGEST = /^.*[0-9a-f]{24}.*\n/im;

/** The line, above the text of an adapter, by which an exported model and its adapter are known again. */
export const digestLine = (model: Uint8Array, adapter: string): string =>
  `# sha256 of the model and of the other lines here: ${sha256(model, adapter)}\n`;

/**
 * Compares an exported model and its adapter with the digest that the adapter holds: `intact`, or `unsealed` where it has none (of an older
 * version, or not of ours).
 * @throws DataError naming the files when either was changed
 */
export function checkDigest(file: string, onnx: string): 'intact' | 'unsealed' {
  const text = readFileSync(file, 'utf8');
  const line = DIGEST.exec(text)?.[0];
  if (line === undefined) return 'unsealed';
  if (existsSync(onnx) && digestLine(readFileSync(onnx), text.replace(line, '')) === line) return 'intact';
  throw new DataError(
    `${onnx} or its adapter ${file} was changed after it was exported: export it again, or take the line with the sha256 out of the adapter to use both as they are`,
    { path: onnx, fault: 'changed' },
  );
}

/** An adapter as its file. */
export function adapterYaml(
  adapter: Omit<Adapter, 'outputs'> & { outputs: Partial<Adapter['outputs']> },
): string {
  return stringify(adapter, { collectionStyle: 'any', flowCollectionPadding: false });
}
