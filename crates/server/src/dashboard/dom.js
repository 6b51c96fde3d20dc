// Nodes from values, and the one way in which they reach the page. Views build new nodes from figures; `show`
// changes the old ones to match, so that focus, selection, scroll positions and open details survive a refresh.

const SVG = "http://www.w3.org/2000/svg";

// A node of HTML: `h("p.soft", "text")`, with attributes in between where there are some. Text goes in as text, never
// as markup: labels come from clients.
export const h = (kind, ...rest) => filled((tag) => document.createElement(tag), kind, rest);

// A node of SVG.
export const s = (kind, ...rest) => filled((tag) => document.createElementNS(SVG, tag), kind, rest);

const isThere = (value) => value !== null && value !== undefined && value !== false;

function filled(make, kind, [first, ...rest]) {
  const [tag, ...classes] = kind.split(".");
  const node = make(tag);
  const hasAttributes = first?.constructor === Object;
  const attributes = { class: classes.join(" ") || null, ...(hasAttributes ? first : {}) };
  for (const [name, value] of Object.entries(attributes)) if (isThere(value)) node.setAttribute(name, value);
  node.append(...present(hasAttributes ? rest : [first, ...rest]));
  return node;
}

const present = (children) => children.flat(Infinity).filter(isThere);

// A label as plain text: no line breaks, and no marks that turn the direction of what stands around it.
export function plain(label) {
  return String(label).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, " ");
}

// The same, cut after so many characters.
export function short(label, most) {
  const letters = [...plain(label)];
  return letters.length > most ? `${letters.slice(0, Math.max(1, most - 1)).join("")}…` : letters.join("");
}

// A label as a node with its own direction; one that is cut says all of itself on hovering.
export function name(label, most = 48) {
  const cut = short(label, most);
  return h("bdi", { title: cut === plain(label) ? null : plain(label) }, cut);
}

// Turns the children of `target` into `children`.
export function show(target, ...children) {
  const wanted = present(children).map((child) => (child instanceof Node ? child : document.createTextNode(child)));
  const kept = new Set(wanted.map((child) => child.id).filter(Boolean));
  let at = target.firstChild;
  for (const child of wanted) {
    // What is keyed and gone makes room, so that what stays need not move: a node that is moved loses its focus.
    while (at?.id && !kept.has(at.id)) at = removed(at);
    if (at && isLike(at, child)) {
      become(at, child);
      at = at.nextSibling;
    } else if (at && !at.id && !child.id) {
      const next = at.nextSibling;
      at.replaceWith(child);
      at = next;
    } else {
      const old = child.id ? [...target.childNodes].find((node) => node.id === child.id) : null;
      target.insertBefore(old ?? child, at);
      if (old) become(old, child);
    }
  }
  while (at) at = removed(at);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function isLike(a, b) {
  return a.nodeName === b.nodeName && (a.id ?? "") === (b.id ?? "");
}

function become(old, wanted) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Whether details are open is the reader's.
    if (!wanted.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  show(old, ...wanted.childNodes);
}

// Columns of a table: how the cell of a row is made.
export const words = (head, cell) => ({ head, cell, kind: "text" });
export const label = (head, field) => words(head, (row) => name(row[field]));
export const figure = (head, field, format) => ({ head, cell: (row) => format(row[field]) });

// A table that scrolls inside its own box.
export function table(caption, columns, rows) {
  const head = columns.map(({ head, kind }) => h("th", { scope: "col", class: kind }, head));
  const body = rows.map((row) =>
    h("tr", columns.map(({ cell, kind }, at) => h(at ? "td" : "th", { scope: at ? null : "row", class: kind }, cell(row)))));
  return h("div.scroll", { tabindex: 0, role: "region", "aria-label": caption },
    h("table", h("caption", caption), h("thead", h("tr", head)), h("tbody", body)));
}

// The same, folded away: what a chart says, for those who do not see it.
export function folded(caption, columns, rows) {
  return h("details", h("summary", `Table: ${caption}`), table(caption, columns, rows));
}
