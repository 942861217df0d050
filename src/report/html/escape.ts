// Text made safe for HTML, as element content or inside a quoted attribute.

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => ENTITIES[c]!);

/** A relative path of plain files as the value of `src` or `href`. */
export const fileLink = (path: string): string =>
  escapeHtml(path.split('/').map(encodeURIComponent).join('/'));
