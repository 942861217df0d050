// Every kind of file that Pillow writes gives the pixels that Pillow's convert('RGB') gives: inks, palettes, hidden alpha, 1 bit, profiles.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { decodeImage } from '../../../src/images/decode/pixels.js';
import { suiteNeeding } from '../../support/suites.js';
import { python } from '../../support/tools.js';
import { temporaryFolder } from '../support.js';

/** Writes NAME and, beside it, NAME.rgb with the bytes of its pixels as Pillow reads it again. */
const SCRIPT = `
import struct, sys
import numpy as np
from PIL import Image, ImageCms
out = sys.argv[1]
r = np.random.default_rng(0)
def noise(*shape): return r.integers(0, 256, shape).astype(np.uint8)
grey, rgb, four = noise(24, 20), noise(24, 20, 3), noise(24, 20, 4)
smooth = np.stack(np.meshgrid(np.arange(20) * 12, np.arange(24) * 10), 2).astype(np.uint8)
smooth = np.ascontiguousarray(np.concatenate([smooth, smooth[..., ::-1]], 2))
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
def save(name, image, **options): image.save(f'{out}/{name}', **options)
inks = Image.fromarray(smooth, 'CMYK')
save('cmyk.jpg', inks, quality=95)
save('cmyk-profile.jpg', inks, quality=95, icc_profile=profile)
save('cmyk.tif', Image.fromarray(four, 'CMYK'))
save('cmyk-lzw.tif', Image.fromarray(four, 'CMYK'), compression='tiff_lzw')
whole = open(f'{out}/cmyk.jpg', 'rb').read()
at = whole.find(b'\\xff\\xee')
size = struct.unpack('>H', whole[at + 2:at + 4])[0]
open(f'{out}/cmyk-without-adobe.jpg', 'wb').write(whole[:at] + whole[at + 2 + size:])
ycck = bytearray(whole); ycck[at + 15] = 2
open(f'{out}/ycck.jpg', 'wb').write(bytes(ycck))
for ending, options in (('png', {}), ('tif', {}), ('tif', {'compression': 'group4'})):
    save(f'one-bit{len(options)}.{ending}', Image.fromarray(grey > 128), **options)
for bits in (1, 2, 4, 8):
    save(f'palette{bits}.png', Image.fromarray(rgb).quantize(2 ** bits), bits=bits, transparency=1)
save('palette.tif', Image.fromarray(rgb).quantize(64))
save('palette-alpha.png', Image.fromarray(rgb).quantize(16), transparency=bytes(range(0, 160, 10)))
save('grey.png', Image.fromarray(grey)); save('grey.tif', Image.fromarray(grey)); save('grey.jpg', Image.fromarray(grey))
save('grey-alpha.png', Image.fromarray(four[..., :2].copy(), 'LA')); save('grey-alpha.tif', Image.fromarray(four[..., :2].copy(), 'LA'))
save('grey-transparent.png', Image.fromarray(grey), transparency=7)
save('hidden.png', Image.fromarray(four, 'RGBA')); save('hidden.tif', Image.fromarray(four, 'RGBA'))
save('hidden.webp', Image.fromarray(four, 'RGBA'), lossless=True, exact=True)
save('transparent.png', Image.fromarray(rgb), transparency=(1, 2, 3))
save('profile.png', Image.fromarray(rgb), icc_profile=profile); save('profile.tif', Image.fromarray(rgb), icc_profile=profile)
save('profile.jpg', Image.fromarray(smooth[..., :3].copy()), icc_profile=profile, quality=95)
save('jpeg-inside.tif', Image.fromarray(smooth[..., :3].copy()), compression='jpeg')
save('half-chroma.jpg', Image.fromarray(smooth[..., :3].copy()), quality=90, subsampling=2)
import os
for name in sorted(os.listdir(out)):
    np.asarray(Image.open(f'{out}/{name}').convert('RGB')).tofile(f'{out}/{name}.rgb')
    print(name)
`;

suiteNeeding('python')("Pillow's convert('RGB')", () => {
  const folder = temporaryFolder();

  it('gives the same pixels', async () => {
    const { stdout, stderr, status } = spawnSync(python, ['-W', 'ignore', '-c', SCRIPT, folder], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    const names = stdout.trim().split('\n');
    expect(names.length).toBeGreaterThan(28);
    for (const name of names) {
      expect(existsSync(join(folder, `${name}.rgb`)), name).toBe(true);
      const theirs = readFileSync(join(folder, `${name}.rgb`));
      const { data } = await decodeImage(join(folder, name));
      expect(data.length, name).toBe(theirs.length);
      const differences = data.map((value, i) => Math.abs(value - theirs[i]!));
      // JPEG decoders differ by a rounding of their inverse transform; everything else is exact
      const lossy = /jpg|jpeg/.test(name);
      expect(Math.max(...differences), name).toBeLessThanOrEqual(lossy ? 4 : 0);
      expect(differences.reduce((a, b) => a + b, 0) / data.length, name).toBeLessThan(0.5);
    }
  });
});
