// The page: a sheet to draw on, the ink that is read, and the answer.
const $ = id => document.getElementById(id), stored = id => JSON.parse($(id).textContent)
const contract = stored('contract'), reader = makeReader(stored('network'), contract)
const WIDTH = 320, HEIGHT = 240, PEN = 9, RIM = 2, STEP = 6
const SURE = [[0.99, 'Very sure'], [0.9, 'Sure'], [0.7, 'Fairly sure'], [0.5, 'Not sure'], [0, 'A guess']]
const NONE = contract.output.shape[1] > 10
const sheet = $('sheet'), still = matchMedia('(prefers-reduced-motion: reduce)')
const raster = Object.assign(document.createElement('canvas'), { width: WIDTH, height: HEIGHT })
const rasterContext = raster.getContext('2d', { willReadFrequently: true })

// ---- Strokes: lists of points [x, y] on a sheet of 320 by 240 ----------------------------------------------------

let strokes = [], past = [], future = [], pen = null, cursor = [WIDTH / 2, HEIGHT / 2], due = 0, writing = 0

function change(next) {
  past.push(strokes)
  future = []
  strokes = next
  show()
}
function step(from, to) {
  if (!from.length || pen) return
  to.push(strokes)
  strokes = from.pop()
  show()
}
function undo() {
  stopWriting()
  step(past, future)
}
function redo() {
  stopWriting()
  step(future, past)
}
function clear() {
  stopWriting()
  lift()
  if (strokes.length) change([])
}

// The pen begins a stroke, draws on, and begins another where it comes back from beyond the sheet.
const isOn = ([x, y]) => x >= 0 && y >= 0 && x <= WIDTH && y <= HEIGHT
function press(point, by) {
  stopWriting()
  pen = { by, away: false }
  change([...strokes, [point]])
}
function move(points) {
  for (const point of points) {
    const on = isOn(point)
    if (pen.away && on) strokes = [...strokes, [point]]
    else if (!pen.away) strokes = [...strokes.slice(0, -1), [...strokes.at(-1), point]]
    pen.away = !on
  }
  show()
}
function lift() {
  pen = null
  show()
}

// ---- Pictures of the strokes -------------------------------------------------------------------------------------

// Ink stays clear of the rim, so that nothing is cut off there without being seen.
function paint(context, scale, color) {
  context.setTransform(scale, 0, 0, scale, 0, 0)
  context.clearRect(0, 0, WIDTH, HEIGHT)
  context.save()
  context.beginPath()
  context.rect(RIM, RIM, WIDTH - 2 * RIM, HEIGHT - 2 * RIM)
  context.clip()
  Object.assign(context, { lineWidth: PEN, lineCap: 'round', lineJoin: 'round', strokeStyle: color })
  for (const stroke of strokes) {
    context.beginPath()
    stroke.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)))
    if (stroke.length == 1) context.lineTo(stroke[0][0] + 0.01, stroke[0][1])
    context.stroke()
  }
  context.restore()
}
function ink() {
  paint(rasterContext, 1, '#000')
  const pixels = rasterContext.getImageData(0, 0, WIDTH, HEIGHT).data, data = new Uint8Array(WIDTH * HEIGHT)
  for (let at = 0; at < data.length; at++) data[at] = pixels[4 * at + 3]
  return { data, width: WIDTH, height: HEIGHT }
}

// ---- The answer --------------------------------------------------------------------------------------------------

function percent(share) {
  if (share > 0 && share < 0.0005) return '<0.1\u00a0%'
  return share < 0.9995 ? `${(100 * share).toFixed(1)}\u00a0%` : '>99.9\u00a0%'
}
const named = digit => (digit > 9 ? 'no digit' : digit == 8 ? 'an 8' : `a ${digit}`)
function words({ digit, likeliest, probabilities, reason }) {
  if (reason == 'nothing drawn') return ['–', 'Nothing drawn', 'the answer appears while you draw']
  if (reason == 'too small') return ['–', 'Too small to read', 'draw it larger']
  if (reason) return ['?', `Not a digit, ${percent(probabilities[10])}`, `were it one, most likely ${named(likeliest)}`]
  const share = probabilities[digit], [, word] = SURE.find(([least]) => share >= least)
  const next = max(...probabilities.filter((_, at) => at != digit)), other = probabilities.lastIndexOf(next)
  const also = next < 0.0005 ? 'nothing else comes near' : `or ${named(other)}, ${percent(next)}`
  return [String(digit), `${word}, ${percent(share)}`, also]
}
function say(element, text) {
  if (element.textContent != text) element.textContent = text
}
function answer() {
  const started = performance.now(), reading = reader.read(ink()), took = performance.now() - started
  const [large, sure, also] = words(reading), best = reading.digit ?? (reading.reason == 'not a digit' ? 10 : null)
  say($('digit'), large)
  $('digit').classList.toggle('none', reading.digit == null)
  say($('sure'), sure)
  say($('also'), also)
  say($('took'), reading.probabilities ? `read in ${took < 1 ? '<1' : round(took)}\u00a0ms` : '\u00a0')
  bars.forEach(({ row, bar, number }, at) => {
    const share = reading.probabilities?.[at] ?? 0
    bar.style.setProperty('--share', share)
    row.classList.toggle('best', at === best)
    say(number, percent(share))
  })
  const image = new ImageData(SIDE, SIDE)
  reading.picture.forEach((value, at) => image.data.set([value, value, value, 255], 4 * at))
  $('seen').getContext('2d').putImageData(image, 0, 0)
}
function show() {
  due ||= requestAnimationFrame(() => {
    due = 0
    paint(sheet.getContext('2d'), sheet.width / WIDTH, getComputedStyle(sheet).color)
    $('hint').style.display = strokes.length ? 'none' : ''
    $('undo').disabled = !past.length
    $('redo').disabled = !future.length
    $('clear').disabled = !strokes.length
    $('cursor').style.left = `${100 * cursor[0] / WIDTH}%`
    $('cursor').style.top = `${100 * cursor[1] / HEIGHT}%`
    $('cursor').classList.toggle('down', pen?.by == 'keys')
    say($('pen'), pen?.by == 'keys' ? 'Pen down: the arrows draw' : '')
    answer()
  })
}

// ---- Mouse, finger and pen ---------------------------------------------------------------------------------------

const place = (event, box = sheet.getBoundingClientRect()) =>
  [(event.clientX - box.left) * WIDTH / box.width, (event.clientY - box.top) * HEIGHT / box.height]
sheet.addEventListener('pointerdown', event => {
  if (event.button > 0 || (pen && pen.by != 'keys')) return
  event.preventDefault()
  sheet.setPointerCapture(event.pointerId)
  sheet.focus({ preventScroll: true, focusVisible: false })
  press(place(event), event.pointerId)
})
sheet.addEventListener('pointermove', event => {
  if (pen?.by !== event.pointerId) return
  const moves = event.getCoalescedEvents?.() ?? []
  move((moves.length ? moves : [event]).map(each => place(each)))
  cursor = strokes.at(-1).at(-1).map((value, axis) => max(0, min([WIDTH, HEIGHT][axis], value)))
})
for (const type of ['pointerup', 'pointercancel', 'lostpointercapture']) {
  sheet.addEventListener(type, event => { if (pen?.by === event.pointerId) lift() })
}

// ---- Keys: arrows that are held together go aslant ---------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
const held = new Set()
sheet.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return
  if (ARROWS[event.key]) {
    held.add(event.key)
    const [x, y] = [...held].reduce(([right, down], key) => [right + ARROWS[key][0], down + ARROWS[key][1]], [0, 0])
    cursor = [max(0, min(WIDTH, cursor[0] + STEP * x)), max(0, min(HEIGHT, cursor[1] + STEP * y))]
    if (pen?.by == 'keys') move([cursor])
    show()
  } else if (event.key == ' ' && !event.repeat) {
    if (pen?.by == 'keys') lift()
    else if (!pen) press(cursor, 'keys')
  } else if (event.key != ' ') return
  event.preventDefault()
})
addEventListener('keyup', event => held.delete(event.key))
sheet.addEventListener('blur', () => {
  held.clear()
  if (pen?.by == 'keys') lift()
})
addEventListener('keydown', event => {
  const key = event.key.toLowerCase(), command = event.ctrlKey || event.metaKey
  if (command && (key == 'y' || (key == 'z' && event.shiftKey))) redo()
  else if (command && key == 'z') undo()
  else if (key == 'escape') lift()
  else if (key == 'delete' || key == 'backspace') clear()
  else return
  event.preventDefault()
})
$('undo').addEventListener('click', undo)
$('redo').addEventListener('click', redo)
$('clear').addEventListener('click', clear)

// ---- Examples: simulated hands write, another one each time ------------------------------------------------------

function stopWriting() {
  cancelAnimationFrame(writing)
  writing = 0
}
function write(example) {
  stopWriting()
  lift()
  const scale = HEIGHT / 100
  const points = example.map(stroke => stroke.map(([x, y]) => [WIDTH / 2 + x * scale, HEIGHT / 2 + y * scale]))
  const total = points.flat().length, started = performance.now()
  change([])
  const draw = now => {
    let left = still.matches ? total : ceil(total * max(0, min(1, (now - started) / 600)))
    strokes = points.map(stroke => {
      const part = stroke.slice(0, max(0, left))
      left -= stroke.length
      return part
    }).filter(part => part.length)
    show()
    writing = left < 0 ? requestAnimationFrame(draw) : 0
  }
  draw(started)
}
for (const [character, examples] of Object.entries(stored('handwriting'))) {
  const button = Object.assign(document.createElement('button'), { type: 'button', textContent: character })
  button.addEventListener('click', () => {
    write(examples[0])
    examples.push(examples.shift())
  })
  $('examples').append(button)
}

const bars = Array.from({ length: NONE ? 11 : 10 }, (_, at) => {
  const [row, label, bar, number] = ['li', 'b', 'i', 'span'].map(name => document.createElement(name))
  label.textContent = at > 9 ? 'no digit' : at
  row.classList.toggle('no', at > 9)
  row.append(label, bar, number)
  $('bars').append(row)
  return { row, bar, number }
})
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show)
// For scripts and tests: `mnist_nb.read(mnist_nb.ink())` is what the page shows.
window.mnist_nb = { ...reader, ink, frame, strokes: () => strokes, write: given => change(given) }
show()
