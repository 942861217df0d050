// What a page that we write may do: show its own style, script and pictures, and nothing else.
import { createHash } from 'node:crypto';

const hashed = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/**
 * A Content-Security-Policy for a page with one `<style>`, one `<script>` and pictures: `embedded` ones (data:), or also files `beside` the
 * page. Nothing is loaded from or sent to anywhere, and no other style, script or attribute runs.
 */
export function contentPolicy(o: { style: string; script: string; pictures: 'embedded' | 'beside' }): string {
  const rules = [
    "default-src 'none'",
    `style-src ${hashed(o.style)}`,
    `script-src ${hashed(o.script)}`,
    `img-src data:${o.pictures === 'beside' ? " 'self' file:" : ''}`,
    "base-uri 'none'",
    "form-action 'none'",
  ];
  return `<meta http-equiv="Content-Security-Policy" content="${rules.join('; ')}">`;
}
