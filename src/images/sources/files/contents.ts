// What a source of files is known by: the contents of its files and their labels, wherever they lie and whatever they are called.

import { type DigestOptions, fileDigests } from '../../../base/files/digests.js';
import { hashOf, sha256 } from '../../../base/hash.js';
import type { DecodeOptions } from '../../decode/pixels.js';
import type { ImageSource } from '../../source.js';
import { sizesIdentity } from './listing.js';

/** Change it when a change of the code changes what a file is decoded to: features and records of before are then not taken for new ones. */
const DECODING = 'decoding 2';

/** The files of a source, in order. */
export interface Contents {
  /** What names are relative to. */
  root: string;
  images: readonly string[];
  /** Label maps, one an image. */
  maps?: readonly string[];
  /** Label names of image `i`; absent where images have none. */
  labels?: (i: number) => readonly string[];
  /** How the images are decoded (see decodeImage). */
  decoding: DecodeOptions;
  /** Text that older versions counted as part of the identity. */
  labelText?: string | undefined;
}

/** The identities of a source of files. Files are read when one of them is first asked for, then known. */
export function identities(
  made: Contents,
): Required<Pick<ImageSource, 'identity' | 'imagesIdentity' | 'formerIdentity'>> {
  const { root, images, maps, labels, labelText, decoding } = made;
  let known: Promise<string[]> | undefined;
  const digests = (options?: DigestOptions): Promise<string[]> => {
    if (!known || options?.fresh) {
      known = fileDigests(root, maps ? [...images, ...maps] : images, options);
      known.catch(() => {
        known = undefined;
      });
    }
    return known;
  };
  const decoded = `${DECODING} ${JSON.stringify(decodingSettings(decoding))}`;
  const hashed = (lines: string[]): string => sha256([decoded, ...lines, ''].join('\n'));
  return {
    async identity(options) {
      const of = await digests(options);
      return hashed(
        images.map((_, i) => {
          const map = maps ? ` ${of[images.length + i]}` : '';
          return `${of[i]}${map}${labels ? ` ${JSON.stringify(labels(i))}` : ''}`;
        }),
      );
    },
    imagesIdentity: async (options) => hashed((await digests(options)).slice(0, images.length)),
    formerIdentity: () =>
      sizesIdentity(
        root,
        images.flatMap((image, i) => (maps ? [image, maps[i]!] : [image])),
        ...(labelText === undefined ? [] : [labelText]),
      ),
  };
}

/** How images are decoded, for the card: turned upright or as stored, and the range of deep files where one is given. */
export const decodingSettings = ({
  orientation = 'upright',
  range,
}: DecodeOptions): Required<ImageSource>['settings'] => ({
  orientation,
  ...(range ? { range: [...range] } : {}),
});

/** What decides the scores of label maps beside their contents, for the card. */
export const mapSettings = (
  classes: readonly string[],
  ignore: readonly number[],
): ImageSource['settings'] => ({
  classes: classes.length,
  names: hashOf(classes).slice(0, 12),
  ignore: [...ignore],
});
