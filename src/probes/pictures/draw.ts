// All pictures of one frozen encoder over one set of images, in two passes: features as they come, then the joint components.
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { finiteFeatures } from '../../encoder/finite.js';
import type { FrozenEncoder } from '../../encoder/frozen.js';
import type { Engine } from '../../engine/program.js';
import { UsageError } from '../../errors.js';
import { MatrixFile, MatrixWriter } from '../../features/chunks.js';
import { type ImageSource, type RawImage, resizeBicubic } from '../../images/index.js';
import { CovarianceSums, orient, type Projection, project, projectOnOwn } from '../../solvers/pca.js';
import { patchPicture, prototypeRow } from './patches.js';
import { PrototypeMap, type PrototypeUse, type PrototypeWeights } from './prototypes.js';
import { type Canvas, heatTile, prototypeTile, rgbTile, SIGNS, signName, tileGrid } from './tiles.js';

/** Components of one image, and of all together. Source: protocol, PCA pictures. */
export const OWN_COMPONENTS = 6;
export const JOINT_COMPONENTS = 10;

/** Prototypes on the contact sheet, patches of each, and images on one sheet of a grid. */
const PROTOTYPES = 16;
const NEAREST = 10;
const PER_GRID = 64;

/** Every (n // limit)-th image of n. Source: protocol: 20,210 images and 1,024 give every 19th, 1,064 images. */
export function everyNth(n: number, limit: number): number[] {
  const step = Math.max(1, Math.floor(n / limit));
  return Array.from({ length: Math.ceil(n / step) }, (_, i) => i * step);
}

export interface DrawRequest {
  readonly engine: Engine;
  readonly encoder: FrozenEncoder;
  readonly source: ImageSource;
  /** Images of the source, ascending. */
  readonly indices: readonly number[];
  readonly prototypes?: PrototypeWeights;
  readonly heatmaps: boolean;
  readonly signs: boolean;
  /** Folder of this encoder's files, as the names that `write` gets begin with it. */
  readonly prefix: string;
  /** Existing folder where the features wait for the second pass; left as it was. */
  readonly scratch: string;
  /** Takes one picture under its file name, with / between folders. */
  write(file: string, picture: RawImage): Promise<void>;
  onProgress?(stage: 'features' | 'pictures', done: number, total: number): void;
}

/** The pictures made of one projection of one image. */
export interface ComponentFiles {
  rgb: string;
  /** By component; empty unless asked for. */
  heatmaps: string[];
  /** By sign variant in the order of SIGNS; empty unless asked for. */
  signs: string[];
}

export interface ImageFiles {
  index: number;
  name: string;
  image: string;
  own: ComponentFiles & { explained: number[] };
  joint: ComponentFiles;
  prototypes?: string;
}

export interface EncoderPictures {
  images: ImageFiles[];
  jointExplained: number[];
  grids: { title: string; file: string }[];
  prototypes?: {
    count: number;
    used: number;
    sheet: string;
    rows: { index: number; patches: number; share: number; file: string; nearest: NearestPatch[] }[];
  };
}

export interface NearestPatch {
  index: number;
  row: number;
  column: number;
  probability: number;
}

/**
 * Draws and hands over every picture; memory does not grow with the number of images but for 10 coordinates a patch.
 * Per image: the image, its own components as RGB, the joint ones as RGB, the prototype map; on request heat maps and signs.
 * @throws DataError for an image that cannot be read
 */
export async function drawEncoder(o: DrawRequest): Promise<EncoderPictures> {
  const { encoder, indices } = o;
  const { grid, size, patchWidth: width } = encoder;
  const canvas: Canvas = { ...grid, ...size };
  const patches = grid.rows * grid.columns;
  if (indices.length === 0) throw new UsageError(`${o.source.uri} has no images`);
  if (o.prototypes && o.prototypes.width !== width) {
    throw new UsageError(`prototypes of width ${o.prototypes.width} for patches of width ${width}`);
  }
  const folder = await mkdtemp(join(o.scratch, '.features-'));
  const map = o.prototypes && (await PrototypeMap.open(o.engine, o.prototypes, patches, NEAREST));
  try {
    const sums = new CovarianceSums(width);
    const file = join(folder, 'patches');
    const writer = await MatrixWriter.open(file, { dtype: 'float32', width });
    const images: ImageFiles[] = [];
    const grids = new Grids(o, indices.length);
    try {
      for await (const seen of features(o)) {
        const { picture, values } = seen;
        await writer.append(values);
        sums.add(values);
        const own = projectOnOwn(values, width, OWN_COMPONENTS);
        const name = String(indices[images.length]).padStart(5, '0');
        const base = `${o.prefix}/${name}`;
        const files: ImageFiles = {
          index: indices[images.length]!,
          name: o.source.name(indices[images.length]!),
          image: `images-${size.height}x${size.width}/${name}.png`,
          own: {
            ...(await components(o, grids, own, 0, `${base}-own`, canvas, 'own')),
            explained: own.explained,
          },
          joint: { rgb: '', heatmaps: [], signs: [] },
        };
        await o.write(files.image, picture);
        await grids.add('images', picture);
        if (map) {
          files.prototypes = `${base}-prototypes.png`;
          const tile = prototypeTile(await map.assign(values), canvas);
          await o.write(files.prototypes, tile);
          await grids.add('prototypes', tile);
        }
        images.push(files);
        o.onProgress?.('features', images.length, indices.length);
      }
      await writer.finish();
    } catch (error) {
      await writer.close().catch(() => {});
      throw error;
    }
    const joint = await jointProjection(sums, file, patches);
    for (const [i, files] of images.entries()) {
      const base = `${o.prefix}/${String(files.index).padStart(5, '0')}-joint`;
      files.joint = await components(o, grids, joint, i * patches, base, canvas, 'joint');
      o.onProgress?.('pictures', i + 1, images.length);
    }
    const result: EncoderPictures = { images, jointExplained: joint.explained, grids: grids.files };
    if (map) result.prototypes = await nearestPatches(o, map, canvas);
    return result;
  } finally {
    await map?.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Images at the encoder's size (aspect not kept) with their patch features, in order. */
async function* features(o: DrawRequest): AsyncGenerator<{ picture: RawImage; values: Float32Array }> {
  const { encoder, indices } = o;
  const { batch, size } = encoder;
  const pixels = size.height * size.width * 3;
  const input = new Uint8Array(batch * pixels);
  for (let first = 0; first < indices.length; first += batch) {
    const count = Math.min(batch, indices.length - first);
    const pictures = await Promise.all(
      indices.slice(first, first + count).map((index) => squashed(o.source, index, size)),
    );
    for (let i = 0; i < batch; i++) input.set(pictures[Math.min(i, count - 1)]!.data, i * pixels);
    const name = (i: number): string => o.source.name(indices[first + i]!);
    const { patches } = await finiteFeatures(encoder, input, count, name);
    const per = encoder.grid.rows * encoder.grid.columns * encoder.patchWidth;
    for (let i = 0; i < count; i++) {
      yield { picture: pictures[i]!, values: patches.subarray(i * per, (i + 1) * per) };
    }
  }
}

async function squashed(
  source: ImageSource,
  index: number,
  size: { height: number; width: number },
): Promise<RawImage> {
  return resizeBicubic(await source.read(index), size.height, size.width);
}

/** Joint coordinates of every patch: the second look at the features. */
async function jointProjection(sums: CovarianceSums, path: string, patches: number): Promise<Projection> {
  const model = sums.components(JOINT_COMPONENTS);
  const values = new Float64Array(sums.rows * JOINT_COMPONENTS);
  const file = await MatrixFile.open(path, 'float32');
  try {
    for (let first = 0; first < file.count; first += patches) {
      values.set(project(model, await file.read(first, patches)), first * JOINT_COMPONENTS);
    }
  } finally {
    await file.close();
  }
  return orient({ rows: sums.rows, count: JOINT_COMPONENTS, values, explained: model.explained });
}

/** RGB, heat maps and sign variants of the patches from row `first` on. */
async function components(
  o: DrawRequest,
  grids: Grids,
  p: Projection,
  first: number,
  base: string,
  canvas: Canvas,
  kind: 'own' | 'joint',
): Promise<ComponentFiles> {
  const files: ComponentFiles = { rgb: `${base}.png`, heatmaps: [], signs: [] };
  const rgb = rgbTile(p, first, canvas);
  await o.write(files.rgb, rgb);
  await grids.add(kind, rgb);
  const all = async (list: string[], tiles: RawImage[], names: string[], grid: string): Promise<void> => {
    for (const [i, tile] of tiles.entries()) {
      list.push(`${base}-${names[i]}.png`);
      await o.write(list[i]!, tile);
    }
    await o.write(`${base}-${grid}.png`, tileGrid(tiles, tiles.length === 8 ? 4 : 5));
  };
  if (o.heatmaps) {
    const tiles = Array.from({ length: p.count }, (_, k) => heatTile(p, first, k, canvas));
    await all(
      files.heatmaps,
      tiles,
      tiles.map((_, k) => `heat-${String(k + 1).padStart(2, '0')}`),
      'heat',
    );
  }
  if (o.signs) {
    const tiles = SIGNS.map((signs) => rgbTile(p, first, canvas, signs));
    await all(
      files.signs,
      tiles,
      SIGNS.map((signs) => `sign-${signName(signs)}`),
      'signs',
    );
  }
  return files;
}

const TITLES = {
  images: 'Images',
  own: 'PCA of each image',
  joint: 'PCA of all images together',
  prototypes: 'Prototypes',
};

/** Tiles of all images in sheets of at most 64, written as they fill. */
class Grids {
  readonly files: { title: string; file: string }[] = [];
  private readonly waiting = new Map<
    keyof typeof TITLES,
    { tiles: RawImage[]; sheets: number; done: number }
  >();

  constructor(
    private readonly o: DrawRequest,
    private readonly images: number,
  ) {}

  async add(kind: keyof typeof TITLES, tile: RawImage): Promise<void> {
    const state = this.waiting.get(kind) ?? { tiles: [], sheets: 0, done: 0 };
    this.waiting.set(kind, state);
    state.tiles.push(tile);
    state.done++;
    if (state.tiles.length < PER_GRID && state.done < this.images) return;
    const many = this.images > PER_GRID;
    const file = `${this.o.prefix}/grid-${kind}${many ? `-${++state.sheets}` : ''}.png`;
    await this.o.write(file, tileGrid(state.tiles));
    this.files.push({ title: TITLES[kind] + (many ? `, sheet ${state.sheets}` : ''), file });
    state.tiles = [];
  }
}

/** The contact sheet: the most used prototypes, each with the patches nearest to it. */
async function nearestPatches(
  o: DrawRequest,
  map: PrototypeMap,
  canvas: Canvas,
): Promise<NonNullable<EncoderPictures['prototypes']>> {
  const uses: PrototypeUse[] = map.mostUsed(PROTOTYPES);
  const total = map.used.reduce((sum, n) => sum + n, 0);
  const rows: NonNullable<EncoderPictures['prototypes']>['rows'] = [];
  const strips: RawImage[] = [];
  for (const use of uses) {
    const pictures: RawImage[] = [];
    for (const near of use.nearest) {
      const image = await squashed(o.source, o.indices[near.image]!, canvas);
      pictures.push(patchPicture(image, near.patch, canvas));
    }
    const strip = prototypeRow(use.index, pictures, Math.min(NEAREST, o.indices.length));
    const file = `${o.prefix}/prototype-${String(use.index).padStart(5, '0')}.png`;
    await o.write(file, strip);
    strips.push(strip);
    rows.push({
      index: use.index,
      patches: use.patches,
      share: use.patches / total,
      file,
      nearest: use.nearest.map(({ image, patch, probability }) => ({
        index: o.indices[image]!,
        row: Math.floor(patch / canvas.columns),
        column: patch % canvas.columns,
        probability,
      })),
    });
  }
  const sheet = `${o.prefix}/prototypes.png`;
  await o.write(sheet, tileGrid(strips, 1));
  return { count: map.used.length, used: map.used.filter((n) => n > 0).length, sheet, rows };
}
