// Text made safe for HTML and SVG, as element content or inside a quoted attribute.
import { shown } from '../../base/text.js';

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text of one line; control characters are shown as escapes, which XML could not hold. */
export const escapeHtml = (text: string): string => shown(text).replace(/[&<>"']/g, (c) => ENTITIES[c]!);

/** A relative path of plain files as the value of `src` or `href`. */
export const fileLink = (path: string): string =>
  escapeHtml(path.split('/').map(encodeURIComponent).join('/'));
