// Reads a digit as mnist_nb does: the ink of a sheet to MNIST's form, the network, and when to refuse.
// Pictures and maps are flat arrays, row after row, channels last. Numbers are rounded as OpenCV and NumPy round them.
const SIDE = 28, BOX = 20, INKED = 64, THINNEST = 0.1
const { fround, max, min, abs, round, floor, ceil, sqrt, exp } = Math

const roundEven = value => {
  const down = floor(value), rest = value - down
  return rest > 0.5 || (rest == 0.5 && down % 2) ? down + 1 : down
}
const sum = values => values.reduce((one, other) => one + other, 0)
const toByte = value => max(0, min(255, roundEven(value)))

// ---- From ink to a picture of 28 by 28 pixels -------------------------------------------------------------------

// The rectangle around what is brighter than a level: left, top, width, height; no width where there is nothing.
function boxOf({ data, width, height }, level) {
  let left = width, right = -1, top = height, bottom = -1
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (data[i] <= level) continue
      left = min(left, x)
      right = max(right, x)
      top = min(top, y)
      bottom = y
    }
  }
  if (right < 0) return { left: 0, top: 0, width: 0, height: 0 }
  return { left, top, width: right - left + 1, height: bottom - top + 1 }
}

function cut({ data, width }, box) {
  const part = new Uint8Array(box.width * box.height)
  for (let y = 0; y < box.height; y++) {
    const start = (box.top + y) * width + box.left
    part.set(data.subarray(start, start + box.width), y * box.width)
  }
  return { data: part, width: box.width, height: box.height }
}

function padded({ data, width, height }, margin) {
  const wide = width + 2 * margin, result = new Uint8Array(wide * (height + 2 * margin))
  for (let y = 0; y < height; y++) result.set(data.subarray(y * width, (y + 1) * width), (y + margin) * wide + margin)
  return { data: result, width: wide, height: height + 2 * margin }
}

// The connected pieces of ink, corners included: a label for each pixel, 0 for the ground, and each piece's place.
function piecesOf({ data, width, height }) {
  const labels = new Int32Array(data.length), stack = [], pieces = []
  for (let start = 0; start < data.length; start++) {
    if (data[start] <= INKED || labels[start]) continue
    const piece = { left: width, top: height, right: 0, bottom: 0, area: 0 }
    pieces.push(piece)
    labels[start] = pieces.length
    stack.push(start)
    while (stack.length) {
      const at = stack.pop(), x = at % width, y = (at - x) / width
      piece.left = min(piece.left, x)
      piece.right = max(piece.right, x + 1)
      piece.top = min(piece.top, y)
      piece.bottom = max(piece.bottom, y + 1)
      piece.area++
      for (let v = max(0, y - 1); v <= min(height - 1, y + 1); v++) {
        for (let u = max(0, x - 1); u <= min(width - 1, x + 1); u++) {
          const next = v * width + u
          if (data[next] <= INKED || labels[next]) continue
          labels[next] = pieces.length
          stack.push(next)
        }
      }
    }
  }
  for (const piece of pieces) {
    piece.wide = piece.right - piece.left
    piece.high = piece.bottom - piece.top
    piece.longer = max(piece.wide, piece.high)
    piece.shorter = min(piece.wide, piece.high)
  }
  return { labels, pieces }
}

// Whether a piece is a frame: hollow, with another one, not tiny, within.
const isFrame = (piece, pieces) =>
  piece.area < 0.2 * piece.wide * piece.high && piece.shorter > 0.5 * piece.longer &&
  pieces.some(other => piece.left < other.left && piece.top < other.top && piece.right > other.right &&
    piece.bottom > other.bottom && other.longer > 0.2 * piece.longer)

// The pieces that are the digit: the longest, and those near it; neither a frame nor a long thin line.
function mainGroup(all) {
  let pieces = all.length > 1 && all.length < 500 ? all.filter(piece => !isFrame(piece, all)) : all
  const thin = piece => piece.shorter < 0.1 * piece.longer
  const others = max(0, ...pieces.filter(piece => !thin(piece)).map(piece => piece.longer))
  if (others) pieces = pieces.filter(piece => !(thin(piece) && piece.longer > 1.5 * others))
  if (!pieces.length) return new Set()
  const longest = max(...pieces.map(piece => piece.longer))
  const group = new Set([pieces.find(piece => piece.longer == longest)])
  for (let times = 0; times < 3; times++) {
    const left = min(...[...group].map(piece => piece.left)), right = max(...[...group].map(piece => piece.right))
    const top = min(...[...group].map(piece => piece.top)), bottom = max(...[...group].map(piece => piece.bottom))
    const size = max(right - left, bottom - top)
    for (const piece of pieces) {
      const gap = max(left - piece.right, piece.left - right, top - piece.bottom, piece.top - bottom)
      if (gap < size / 2 && piece.longer > 0.12 * size) group.add(piece)
    }
  }
  return group
}

// The ink of the digit alone, with the soft edge around it.
function digitInk(ink) {
  const { labels, pieces } = piecesOf(ink), group = mainGroup(pieces)
  if (group.size == pieces.length) return ink
  const kept = [false, ...pieces.map(piece => group.has(piece))], { width, height } = ink
  const data = ink.data.map((value, at) => {
    if (!value) return 0
    const x = at % width, y = (at - x) / width
    for (let v = max(0, y - 1); v <= min(height - 1, y + 1); v++) {
      for (let u = max(0, x - 1); u <= min(width - 1, x + 1); u++) if (kept[labels[v * width + u]]) return value
    }
    return 0
  })
  return { data, width, height }
}

// The mean width of the strokes: four times the mean distance from the ground, less two.
// Distances are counted in steps to the side (1), to a corner (1.4), and as a knight moves (2.1969).
function penWidth(part) {
  const { data, width, height } = padded(part, 2), depth = new Float64Array(data.length)
  for (let at = 0; at < data.length; at++) if (data[at] > 127) depth[at] = 1e6
  const two = 2 * width, first = two + 2, last = (height - 2) * width - 3
  const nearest = (at, way) => min(
    depth[at], depth[at - way] + 1, depth[at - way * width] + 1,
    min(depth[at - way * (width + 1)], depth[at - way * (width - 1)]) + 1.4,
    min(depth[at - way * (width + 2)], depth[at - way * (width - 2)],
      depth[at - way * (two + 1)], depth[at - way * (two - 1)]) + 2.1969)
  let total = 0, count = 0
  for (let at = first; at <= last; at++) if (depth[at]) depth[at] = nearest(at, 1)
  for (let at = last; at >= first; at--) {
    if (!depth[at]) continue
    depth[at] = nearest(at, -1)
    total += depth[at]
    count++
  }
  return count ? max(1, 4 * total / count - 2) : 0
}

// Ink widened by a disc of some pixels' diameter: in each row of the disc, a run of one grey grows to both sides.
function dilated({ data, width, height }, diameter) {
  const radius = diameter >> 1, result = new Uint8Array(data.length)
  for (let down = -radius; down < diameter - radius; down++) {
    const reach = roundEven(sqrt(radius * radius - down * down)), after = min(reach, diameter - 1 - radius)
    for (let y = max(0, -down); y < min(height, height - down); y++) {
      const from = (y + down) * width, to = y * width
      for (let x = 0, start = 0; x < width; start = ++x) {
        const value = data[from + x]
        if (!value) continue
        while (x + 1 < width && data[from + x + 1] == value) x++
        const end = to + min(width - 1, x + reach)
        for (let at = to + max(0, start - after); at <= end; at++) if (result[at] < value) result[at] = value
      }
    }
  }
  return { data: result, width, height }
}

function withVisiblePen(part) {
  const longer = max(part.width, part.height)
  if (longer <= 3 * BOX) return part
  const missing = roundEven(THINNEST * longer - penWidth(part))
  return missing < 1 ? part : dilated(padded(part, missing), missing + 1)
}

// Which pixels of a line of `from` fall on each of `to`, and by what share.
function shares(from, to) {
  const scale = from / to
  return Array.from({ length: to }, (_, at) => {
    const start = at * scale, end = min(start + scale, from), found = []
    for (let pixel = floor(start); pixel < end; pixel++) {
      const share = min(end, pixel + 1) - max(start, pixel)
      if (share > 1e-3) found.push([pixel, fround(share / (end - start))])
    }
    return found
  })
}

// A picture reduced: each pixel is the mean of the area that it covers.
function reduced({ data, width, height }, wide, high) {
  const across = shares(width, wide), down = shares(height, high), rows = new Float32Array(height * wide)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < wide; x++) {
      let mean = 0
      for (const [pixel, share] of across[x]) mean = fround(mean + fround(data[y * width + pixel] * share))
      rows[y * wide + x] = mean
    }
  }
  const result = new Uint8Array(wide * high)
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      let mean = 0
      for (const [pixel, share] of down[y]) mean = fround(mean + fround(rows[pixel * wide + x] * share))
      result[y * wide + x] = toByte(mean)
    }
  }
  return { data: result, width: wide, height: high }
}

function shifted(picture, down, right) {
  const result = new Uint8Array(SIDE * SIDE)
  for (let y = max(0, down); y < min(SIDE, SIDE + down); y++) {
    const from = (y - down) * SIDE - right
    for (let x = max(0, right); x < min(SIDE, SIDE + right); x++) result[y * SIDE + x] = picture[from + x]
  }
  return result
}

// The brightest pixel 255, the centre of mass at pixel 14.
function centred(picture) {
  const scale = fround(255 / max(1, ...picture)), bright = picture.map(value => toByte(fround(value * scale)))
  let mass = 0, right = 0, down = 0
  bright.forEach((value, at) => {
    mass += value
    right += value * (at % SIDE)
    down += value * floor(at / SIDE)
  })
  return mass ? shifted(bright, roundEven(SIDE / 2 - down / mass), roundEven(SIDE / 2 - right / mass)) : bright
}

// The ink of a sheet, 0 to 255, as the network wants it; null where there is none that is large enough.
function frame(ink) {
  const found = digitInk(ink)
  let box = boxOf(found, INKED), part = cut(found, box)
  if (max(box.width, box.height) <= BOX + 1) return null
  part = withVisiblePen(part)
  box = boxOf(part, max(part.width, part.height) >= 64 ? INKED : 25)
  const scale = BOX / max(box.width, box.height)
  const width = max(1, roundEven(box.width * scale)), height = max(1, roundEven(box.height * scale))
  const { data } = reduced(cut(part, box), width, height)
  const picture = new Uint8Array(SIDE * SIDE), start = ((SIDE - height) >> 1) * SIDE + ((SIDE - width) >> 1)
  for (let y = 0; y < height; y++) picture.set(data.subarray(y * width, (y + 1) * width), start + y * SIDE)
  return centred(picture)
}

// ---- The network ------------------------------------------------------------------------------------------------

// Numbers stored in base64 as 16-bit integers, times a scale.
function decoded({ integers, scale }) {
  const bytes = Uint8Array.from(atob(integers), letter => letter.charCodeAt(0))
  return new Float32Array(new Int16Array(bytes.buffer)).map(value => value * scale)
}

// Weights of eight features after another, a row of eight for each input.
function inPanels(weights, features) {
  return Array.from({ length: ceil(features / 8) }, (_, panel) => {
    const part = new Float32Array(8 * weights.length / features)
    for (let to = 0, from = 8 * panel; to < part.length; to += 8, from += features) {
      part.set(weights.subarray(from, from + min(8, features - 8 * panel)), to)
    }
    return part
  })
}

// What the network spends its time on: the bias and, for each of `count` values, the value times its row of weights.
// What is 0 has been left out, and eight sums at a time stay in registers.
const sums = new Float32Array(8)
function addProducts(values, rows, count, panels, bias, out, to) {
  panels.forEach((weights, panel) => {
    let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0
    for (let n = 0; n < count; n++) {
      const value = values[n], row = 8 * rows[n]
      a += value * weights[row]
      b += value * weights[row + 1]
      c += value * weights[row + 2]
      d += value * weights[row + 3]
      e += value * weights[row + 4]
      f += value * weights[row + 5]
      g += value * weights[row + 6]
      h += value * weights[row + 7]
    }
    sums.set([a, b, c, d, e, f, g, h])
    const from = 8 * panel, end = min(8, bias.length - from)
    for (let n = 0; n < end; n++) out[to + from + n] = bias[from + n] + sums[n]
  })
}

const LAYERS = {
  conv({ data, side, depth }, { panels, bias, size, margin }) {
    const result = side + 2 * margin - size + 1, features = bias.length
    const out = new Float32Array(result * result * features)
    const values = new Float32Array(size * size * depth), rows = new Int32Array(values.length)
    for (let y = 0; y < result; y++) {
      for (let x = 0; x < result; x++) {
        let count = 0
        const left = max(0, margin - x), right = min(size, side + margin - x)
        for (let row = max(0, margin - y); row < min(size, side + margin - y); row++) {
          const from = ((y + row - margin) * side + x - margin) * depth
          for (let at = left * depth; at < right * depth; at++) {
            if (data[from + at] == 0) continue
            values[count] = data[from + at]
            rows[count++] = row * size * depth + at
          }
        }
        addProducts(values, rows, count, panels, bias, out, (y * result + x) * features)
      }
    }
    return { data: out, side: result, depth: features }
  },
  max_pool: (map) => pooled(map, max, 1),
  average_pool: (map) => pooled(map, (one, other) => one + other, 1 / 4),
  multiply: (map, { weights }) => ({ ...map, data: map.data.map((value, at) => value * weights[at % weights.length]) }),
  add: (map, { weights }) => ({ ...map, data: map.data.map((value, at) => value + weights[at % weights.length]) }),
  dense({ data }, { panels, bias }) {
    const out = new Float32Array(bias.length), rows = new Int32Array(data.length).map((_, at) => at)
    addProducts(data, rows, data.length, panels, bias, out, 0)
    return { data: out, side: 1, depth: bias.length }
  },
  softmax({ data, ...rest }) {
    const top = max(...data), raised = data.map(value => exp(value - top)), total = sum(raised)
    return { data: raised.map(value => value / total), ...rest }
  },
}

function pooled({ data, side, depth }, join, scale) {
  const half = side >> 1, out = new Float32Array(half * half * depth)
  for (let y = 0; y < half; y++) {
    for (let x = 0; x < half; x++) {
      for (let channel = 0; channel < depth; channel++) {
        const at = (2 * y * side + 2 * x) * depth + channel, below = at + side * depth
        const joined = join(join(data[at], data[at + depth]), join(data[below], data[below + depth]))
        out[(y * half + x) * depth + channel] = scale * joined
      }
    }
  }
  return { data: out, side: half, depth }
}

// ---- The reader -------------------------------------------------------------------------------------------------

// What reads: `layers` of the network and the `contract`, both as the export wrote them.
function makeReader(stored, contract) {
  const layers = stored.map(layer => {
    const weights = layer.weights && decoded(layer.weights), bias = layer.bias && decoded(layer.bias)
    return { ...layer, weights, bias, panels: bias && inPanels(weights, bias.length) }
  })
  const { temperature, refuse_above: refuseAbove, second_look: look } = contract
  const digitsOf = outputs => outputs.slice(0, 10)

  // The network's own outputs for a picture of 28 by 28 numbers from 0 to 255.
  function outputs(picture) {
    let map = { data: new Float32Array(picture).map(value => value / 255), side: SIDE, depth: 1 }
    for (const layer of layers) {
      map = LAYERS[layer.kind](map, layer)
      if (layer.relu) map.data.forEach((value, at) => { if (value < 0) map.data[at] = 0 })
    }
    return map.data
  }
  const rolled = (picture, down, right) =>
    picture.map((_, at) => picture[((floor(at / SIDE) - down + SIDE) % SIDE) * SIDE + (at % SIDE - right + SIDE) % SIDE])

  // Probabilities of the digits, and of no digit: after a second look where unsure, at the reader's temperature.
  function probabilities(picture) {
    let found = outputs(picture)
    if (max(...digitsOf(found)) < look.below * sum(digitsOf(found))) {
      const all = [found, ...look.shifts.map(([down, right]) => outputs(rolled(picture, down, right)))]
      found = found.map((_, at) => sum(all.map(each => each[at])) / all.length)
    }
    const raised = Array.from(found, value => max(value, 1e-30) ** (1 / temperature)), total = sum(raised)
    return raised.map(value => value / total)
  }

  // The answer to some ink: the picture that the network saw, its probabilities, the digit, and why there is none.
  function read(ink) {
    const drawn = ink.data.some(value => value > INKED), picture = drawn ? frame(ink) : null
    if (!picture) {
      const reason = drawn ? 'too small' : 'nothing drawn'
      return { picture: new Uint8Array(SIDE * SIDE), digit: null, probabilities: null, reason }
    }
    const found = probabilities(picture), digits = digitsOf(found), likeliest = digits.indexOf(max(...digits))
    const refused = 1 - sum(digits) > refuseAbove, reason = refused ? 'not a digit' : ''
    return { picture, digit: refused ? null : likeliest, likeliest, probabilities: found, reason }
  }
  return { outputs, probabilities, read }
}
