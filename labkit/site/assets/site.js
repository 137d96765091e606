// Search and the choice of a theme. Without this script every page can still be read, and its links work.
(function () {
  "use strict";
  const root = document.currentScript.dataset.root;
  const html = document.documentElement;

  // A theme that is chosen outlives the page; until then the system's holds.
  const theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (html.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };
  theme.addEventListener("click", () => {
    html.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("labkit-theme", html.dataset.theme); } catch (error) { /* this page only */ }
    label();
  });
  system.addEventListener("change", label);
  theme.hidden = false;
  label();

  const form = document.querySelector("form.search");
  const query = document.getElementById("query");
  const found = document.getElementById("found");
  const MOST = 14;
  form.hidden = false;

  // A page from a disk may not fetch a file, but it may load a script: the index comes when it is first wanted.
  let loading = null;
  function index() {
    loading = loading || new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = root + "assets/search-index.js";
      script.onload = () => resolve(window.labkitIndex.map((row) => ({
        row, title: words(row[0]), text: words(row[3]),
      })));
      script.onerror = reject;
      document.head.append(script);
    });
    return loading;
  }

  // "dp.train_private" is found as it is written, and by each of its parts.
  function words(text) {
    const whole = text.toLowerCase().match(/[\p{L}\p{N}_.\-]+/gu) || [];
    return whole.flatMap((word) => [word, ...word.split(/[_.\-]+/)]).filter(Boolean);
  }

  function score(entry, asked) {
    let sum = 0;
    for (const word of asked) {
      const best = Math.max(near(entry.title, word) * 4, near(entry.text, word));
      if (!best) return 0;
      sum += best;
    }
    return sum / (1 + entry.title.length / 40);
  }

  function near(list, word) {
    let best = 0;
    for (const other of list) {
      if (other === word) return 3;
      if (other.startsWith(word)) best = 2;
      else if (!best && word.length > 3 && other.includes(word)) best = 1;
    }
    return best;
  }

  async function search() {
    const text = query.value.trim();
    if (text.length < 2) return close();
    let entries;
    try { entries = await index(); } catch (error) { return say("The index of the search is missing.", []); }
    if (text !== query.value.trim()) return;  // typed on while the index came
    const asked = (text.toLowerCase().match(/[\p{L}\p{N}_.\-]+/gu) || []);
    const hits = entries.map((entry) => [score(entry, asked), entry.row]).filter((hit) => hit[0] > 0);
    hits.sort((one, other) => other[0] - one[0]);
    const count = hits.length > MOST ? `The best ${MOST} of ${hits.length} places` : `${hits.length} places`;
    say(hits.length ? count : `Nothing found for “${text}”`, hits.slice(0, MOST).map((hit) => hit[1]));
  }

  function say(message, rows) {
    const list = document.createElement("ol");
    for (const [title, kind, target, text] of rows) {
      const link = document.createElement("a");
      const small = document.createElement("small");
      link.href = root + target;
      link.textContent = title;
      small.textContent = text ? `${kind} · ${text}` : kind;
      link.append(small);
      const item = document.createElement("li");
      item.append(link);
      list.append(item);
    }
    const line = Object.assign(document.createElement("p"), { textContent: message });
    line.setAttribute("role", "status");
    found.replaceChildren(line, list);
    found.hidden = false;
  }

  function close() { found.hidden = true; found.replaceChildren(); }

  query.addEventListener("input", search);
  query.addEventListener("focus", () => { index().catch(() => {}); if (query.value) search(); });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const first = found.querySelector("a");
    if (first) first.click();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { close(); query.focus(); return; }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const stops = [query, ...found.querySelectorAll("a")];
    const at = stops.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    if (at >= 0 && at < stops.length) { event.preventDefault(); stops[at].focus(); }
  });
  found.addEventListener("click", (event) => { if (event.target.closest("a")) close(); });
  document.addEventListener("click", (event) => { if (!form.contains(event.target)) close(); });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      query.focus();
    }
  });
})();
