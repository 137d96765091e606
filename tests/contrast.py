"""What a page shows too faintly: every visible text against the nearest painted ground below it (WCAG 2.2, 1.4.3)."""

# A function of a CSS selector; returns ratio, colour and beginning of each text that falls short.
TOO_FAINT = """(inside) => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const brush = canvas.getContext('2d', {willReadFrequently: true});
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) {
      brush.clearRect(0, 0, 1, 1); brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1);
      known.set(colour, [...brush.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(colour);
  };
  const light = (c) => {
    const [r, g, b] = c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const faint = new Set();
  for (const root of document.querySelectorAll(inside)) {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const node = walk.currentNode, own = node.parentElement;
      if (!node.data.trim() || own.closest('script, style, svg') || !own.getClientRects().length) continue;
      const style = getComputedStyle(own);
      let below = own;
      while (below && rgba(getComputedStyle(below).backgroundColor)[3] < 255) below = below.parentElement;
      const ground = below ? rgba(getComputedStyle(below).backgroundColor) : [255, 255, 255, 255];
      const [low, high] = [light(rgba(style.color)), light(ground)].sort((a, b) => a - b);
      const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      const ratio = (high + .05) / (low + .05);
      if (ratio >= (large ? 3 : 4.5)) continue;
      faint.add(`${ratio.toFixed(2)} ${style.color}: ${node.data.trim().slice(0, 40)}`);
    }
  }
  return [...faint];
}"""
