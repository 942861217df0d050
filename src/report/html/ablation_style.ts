// Style and script of the report page: tables that sort by a click on their heads, charts and pictures, without server or network.

export const REPORT_STYLE = `
:root { color-scheme: light dark; --line: #d5d5d5; --quiet: #595959; --paper: #fff; --ink: #1a1a1a; --accent: #0b57d0; --base: #f1f4f8; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d3d3d; --quiet: #ababab; --paper: #161616; --ink: #ececec; --accent: #8ab4f8; --base: #22272e; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem clamp(0.75rem, 3vw, 2.5rem) 4rem; max-width: 96rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 0.5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.5rem; }
p, li { max-width: 52rem; margin: 0.4rem 0; }
a { color: var(--accent); }
code { font: 0.86em/1.45 ui-monospace, monospace; }
pre { margin: 0.5rem 0; padding: 0.6rem 0.8rem; border: 1px solid var(--line); border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 0.86em/1.45 ui-monospace, monospace; }
.quiet { color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem; margin: 0.75rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.3rem 0.9rem 0.3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 14rem; max-width: 26rem; }
li { overflow-wrap: anywhere; }
th { font-weight: 600; white-space: normal; vertical-align: bottom; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th button::after { content: ' \\2195'; color: var(--quiet); }
th[aria-sort='ascending'] button::after { content: ' \\2191'; }
th[aria-sort='descending'] button::after { content: ' \\2193'; }
tr.baseline td { background: var(--base); }
td.best { font-weight: 700; }
figure { margin: 1rem 0; overflow-x: auto; }
figure > svg { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; background: #fff; }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
.pictures img { display: block; width: 100%; image-rendering: pixelated; border-radius: 4px; background: #fff; }
.pictures figure { margin: 0; }
figcaption { font-size: 0.85rem; color: var(--quiet); }
details { margin: 0.3rem 0; }
summary { cursor: pointer; }
`;

export const REPORT_SCRIPT = `
for (const button of document.querySelectorAll('th button')) {
  button.addEventListener('click', () => {
    const head = button.closest('th');
    const table = head.closest('table');
    const up = head.getAttribute('aria-sort') === 'descending';
    for (const other of table.querySelectorAll('th')) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const place = [...head.parentNode.children].indexOf(head);
    const key = (row) => row.children[place].dataset.value ?? row.children[place].textContent;
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === '' || y === '') return x === y ? 0 : x === '' ? 1 : -1;
      const order = Number.isNaN(Number(x)) || Number.isNaN(Number(y)) ? x.localeCompare(y) : Number(x) - Number(y);
      return up ? order : -order;
    });
    body.append(...rows);
  });
}
`;
