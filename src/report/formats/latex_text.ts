// Text from outside as pdflatex sets it: its special characters, accents and letters that it has, and a name for those that it has not.
import { shown } from '../../base/text.js';

const SPECIAL: Record<string, string> = {
  ...Object.fromEntries([...'&%$#_{}'].map((c) => [c, `\\${c}`])),
  ...Object.fromEntries([...'<>|'].map((c) => [c, `$${c}$`])),
  '\\': '\\textbackslash{}',
  '~': '\\textasciitilde{}',
  '^': '\\textasciicircum{}',
  '`': '\\textasciigrave{}',
  '"': "''",
  '\u00a0': '~',
  '\u2212': '$-$',
  '¿': '?`{}',
  '¡': '!`{}',
};

/** Signs of mathematics and of print that every LaTeX has without a package, each before what sets it. */
const SIGNS: Record<string, string> = Object.fromEntries(
  String.raw`
± $\pm$  × $\times$  ÷ $\div$  · $\cdot$  ° $^{\circ}$  ² $^{2}$  ³ $^{3}$  ¹ $^{1}$  ¬ $\neg$  ≤ $\leq$
≥ $\geq$  ≠ $\neq$  ≈ $\approx$  ∞ $\infty$  → $\rightarrow$  ← $\leftarrow$  ↔ $\leftrightarrow$  ∈ $\in$
∑ $\sum$  √ $\surd$  ∂ $\partial$  ∇ $\nabla$  ⊕ $\oplus$  ⊗ $\otimes$  … \dots{}  – --  — ---
‘ \textquoteleft{}  ’ \textquoteright{}  “ \textquotedblleft{}  ” \textquotedblright{}  § \S{}  ¶ \P{}
© \copyright{}  £ \pounds{}  ß \ss{}  æ \ae{}  Æ \AE{}  œ \oe{}  Œ \OE{}  ø \o{}  Ø \O{}  ł \l{}  Ł \L{}
ı \i{}  µ $\mu$`
    .trim()
    .split(/\s\s+|\n/)
    .map((pair) => pair.split(' ')),
);

/** Greek letters have their names, from alpha (U+03B1) and Alpha (U+0391) on; capitals that look like Latin ones are those. */
const GREEK =
  'alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi o pi rho varsigma sigma tau upsilon phi chi psi omega'.split(
    ' ',
  );
const CAPITALS =
  'A B Gamma Delta E Z H Theta I K Lambda M N Xi O Pi P - Sigma T Upsilon Phi X Psi Omega'.split(' ');

/** Combining marks, by their Unicode numbers, before the letter of the accent that LaTeX sets. */
const ACCENTS: Record<string, string> = Object.fromEntries(
  '0300` 0301\' 0302^ 0303~ 0304= 0306u 0307. 0308" 030ar 030bH 030cv 0323d 0327c 0331b'
    .split(' ')
    .map((pair) => [String.fromCodePoint(Number.parseInt(pair.slice(0, 4), 16)), `\\${pair[4]}`]),
);

function greek(c: string): string | undefined {
  const code = c.codePointAt(0)!;
  const name = code >= 0x3b1 && code <= 0x3c9 ? GREEK[code - 0x3b1] : CAPITALS[code - 0x391];
  if (name === undefined || name === '-' || code < 0x391) return undefined;
  return name.length === 1 ? `$\\mathrm{${name}}$` : `$\\${name}$`;
}

/** A character that is shown by its number, in text that was escaped. */
export const UNSET = /\[U\+[0-9A-F]{4,6}\]/;

/** Text as LaTeX that sets it, on one line. A character that pdflatex has no letter for becomes its number: `[U+6F22]`. */
export function escapeLatex(text: string): string {
  let out = '';
  for (const [letter] of shown(text)
    .normalize('NFC')
    .matchAll(/\P{M}\p{M}*|\p{M}/gu))
    out += glyph(letter!);
  // Two hyphens would be drawn as one longer, and a bracket or star after a line's end is taken as its argument.
  return out.replaceAll('--', '-{}-').replace(/^[[*]/, '{}$&');
}

/** One letter with the marks that combine with it. */
function glyph(letter: string): string {
  const known = SPECIAL[letter] ?? SIGNS[letter] ?? (/^[\x20-\x7e]$/.test(letter) ? letter : greek(letter));
  if (known !== undefined) return known;
  const [base, ...marks] = [...letter.normalize('NFD')];
  const accents = marks.map((mark) => ACCENTS[mark]);
  if (/^[A-Za-z]$/.test(base!) && marks.length > 0 && accents.every((accent) => accent !== undefined)) {
    const dotless = base === 'i' || base === 'j' ? `\\${base}` : base!;
    const below = accents.every((accent) => /^\\[dcb]$/.test(accent));
    return accents.reduce((set, accent) => `${accent}{${set}}`, below ? base! : dotless);
  }
  return [...letter]
    .map((c) => `[U+${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}]`)
    .join('');
}

/** Letters of a name that stand in one line; longer ones are broken. */
export const LONG = 36;

/** Letters of a word that may stand without a place to break. */
const WORD = 20;

/** Escaped text with places to break inside words that are too long for a line, after signs that join words where there are some. */
export const escapeLong = (text: string): string =>
  shown(text)
    .normalize('NFC')
    .split(' ')
    .map((word) =>
      word.length <= WORD
        ? escapeLatex(word)
        : word
            .match(/.{1,20}(?<=[,;:=/@+.-])|.{1,20}/gsu)!
            .map(escapeLatex)
            .join('\\hspace{0pt}'),
    )
    .join(' ');
