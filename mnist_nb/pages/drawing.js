// What the browser can do better than the kernel: ink at once, few messages, scroll lock, keys, and files by drop and paste.
// Everything works without this file, only less smoothly.
(() => {
  const EVERY = 50, SLOWEST = 200, LARGE = 1e6, SIDE = 2000, LIMIT = 8e6
  const on = (types, act) => types.split(' ').forEach(type => document.addEventListener(type, act, { capture: true, passive: false }))
  const paper = event => event.target.matches?.('.mnb-sheet canvas:not(.mnb-ink)') && event.target
  let pen = null, strokes = [], waiting = 0, every = EVERY, lifted = 0

  // The pen: its points are drawn here and sent to the kernel together, as the touches of one event.
  const place = (event, canvas, box = canvas.getBoundingClientRect()) =>
    [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height]
  const overlay = sheet => sheet.querySelector('.mnb-ink') || sheet.appendChild(Object.assign(document.createElement('canvas'), { className: 'mnb-ink' }))
  const wipe = sheet => {
    strokes = []
    sheet.classList.remove('mnb-writing')
    const ink = sheet.querySelector('.mnb-ink')
    if (ink) ink.width = ink.width
  }
  const line = (points, sheet, ink = overlay(sheet), ctx = ink.getContext('2d')) => {
    const look = sheet.querySelector('[data-pen]')?.dataset
    Object.assign(ctx, { lineWidth: +look?.pen || 17, lineCap: 'round', lineJoin: 'round', strokeStyle: erasing(sheet) ? '#fff' : '#101820' })
    ctx.beginPath()
    points.forEach(([x, y], i) => i ? ctx.lineTo(x, y) : ctx.moveTo(x, y))
    if (points.length == 1) ctx.lineTo(points[0][0] + .1, points[0][1])
    ctx.stroke()
  }
  const erasing = sheet => sheet.querySelector('[data-erasing]')?.dataset.erasing == 'true'
  const flush = () => {
    clearTimeout(pen.timer)
    pen.timer = 0
    if (pen.unsent.length) pen.canvas.dispatchEvent(Object.assign(new Event('touchmove', { cancelable: true }), { touches: pen.unsent }))
    pen.unsent = []
    pen.sent = performance.now()
  }
  const mouse = (type, event) => pen.canvas.dispatchEvent(new MouseEvent(type, { clientX: event.clientX, clientY: event.clientY }))

  // The kernel's ink has come when some points of every stroke are dark on its canvas; then ours may go.
  const settle = (canvas, sheet, tries = 30) => {
    clearTimeout(waiting)
    if (pen || !strokes.length) return
    const probe = new OffscreenCanvas(canvas.width / 4, canvas.height / 4).getContext('2d', { willReadFrequently: true })
    probe.drawImage(canvas, 0, 0, canvas.width / 4, canvas.height / 4)
    const dark = ([x, y]) => x < 0 || y < 0 || x >= canvas.width || y >= canvas.height || probe.getImageData(x / 4, y / 4, 1, 1).data[0] < 160
    if (erasing(sheet)) return void (waiting = setTimeout(() => pen || wipe(sheet), 500))
    const shown = strokes.every(points => [0, .25, .5, .75, 1].every(share => dark(points[Math.round(share * (points.length - 1))])))
    every = Math.min(SLOWEST, Math.max(EVERY, (performance.now() - lifted) / 4))
    if (shown || !tries) wipe(sheet)
    else waiting = setTimeout(() => settle(canvas, sheet, tries - 1), 120)
  }

  on('pointerdown', event => {
    const canvas = paper(event)
    if (!canvas || pen || event.button > 0) return
    event.preventDefault()
    canvas.setPointerCapture(event.pointerId)
    const sheet = canvas.closest('.mnb-sheet'), ink = overlay(sheet)
    if (ink.width != canvas.width || ink.height != canvas.height) Object.assign(ink, { width: canvas.width, height: canvas.height })
    pen = { id: event.pointerId, canvas, sheet, unsent: [], points: [place(event, canvas)], timer: 0, sent: performance.now() }
    strokes.push(pen.points)
    canvas.focus = options => HTMLElement.prototype.focus.call(canvas, { ...options, preventScroll: true })
    sheet.classList.add('mnb-writing', 'mnb-penned')
    line(pen.points, sheet)
    mouse('mousedown', event)
  })
  on('pointermove', event => {
    if (event.pointerId != pen?.id) return
    const moves = event.getCoalescedEvents?.() ?? []
    const passed = (moves.length ? moves : [event]).map(({ clientX, clientY }) => ({ clientX, clientY }))
    const points = passed.map(move => place(move, pen.canvas))
    line([pen.points.at(-1), ...points], pen.sheet)
    pen.points.push(...points)
    pen.unsent.push(...passed)
    pen.timer ||= setTimeout(flush, Math.max(0, pen.sent + every - performance.now()))
  })
  on('pointerup pointercancel', event => {
    if (event.pointerId != pen?.id) return
    flush()
    mouse('mouseup', event)
    const { canvas, sheet } = pen
    pen = null
    lifted = performance.now()
    settle(canvas, sheet)
  })
  on('mousedown mousemove mouseup mouseout wheel touchstart touchmove touchend touchcancel', event => {
    if (event.isTrusted && paper(event)) event.stopPropagation()
  })
  on('click', event => {
    if (event.target.closest?.('.mnb-tools button, .mnb-example')) document.querySelectorAll('.mnb-sheet').forEach(wipe)
  })

  // Keys: undo, redo and clear anywhere on a page with a sheet; on the sheet itself the arrows move a cursor, and the space bar puts the pen down and up.
  const seen = selector => [...document.querySelectorAll(selector)].find(each => each.offsetParent)
  const press = (event, selector) => {
    const button = seen(selector)
    if (!button) return false
    button.click()
    event.preventDefault()
    event.stopPropagation()
    return true
  }
  const cursors = new WeakMap()
  const steer = (event, canvas) => {
    const sheet = canvas.closest('.mnb-sheet'), step = event.shiftKey ? 4 : 16
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0]
    if (!dx && !dy && event.key != ' ') return
    event.preventDefault()
    const at = cursors.get(canvas) ?? { x: canvas.width / 2, y: canvas.height / 4, down: false }
    cursors.set(canvas, at)
    at.x = Math.min(canvas.width - 4, Math.max(4, at.x + dx))
    at.y = Math.min(canvas.height - 4, Math.max(4, at.y + dy))
    const box = canvas.getBoundingClientRect()
    const spot = { clientX: box.left + at.x * box.width / canvas.width, clientY: box.top + at.y * box.height / canvas.height }
    const send = type => canvas.dispatchEvent(new MouseEvent(type, spot))
    if (event.key == ' ') send((at.down = !at.down) ? 'mousedown' : 'mouseup')
    else if (at.down) send('mousemove')
    const dot = sheet.querySelector('.mnb-cursor') || sheet.appendChild(Object.assign(document.createElement('div'), { className: 'mnb-cursor' }))
    dot.style.left = 100 * at.x / canvas.width + '%'
    dot.style.top = 100 * at.y / canvas.height + '%'
    dot.classList.toggle('down', at.down)
  }
  on('keydown', event => {
    document.querySelectorAll('.mnb-penned').forEach(sheet => sheet.classList.remove('mnb-penned'))
    const key = event.key.toLowerCase(), control = event.ctrlKey || event.metaKey
    if (event.target.matches('input, select, textarea')) return
    if (control && (key == 'y' || key == 'z' && event.shiftKey)) return void press(event, '.mnb-redo')
    if (control && key == 'z') return void press(event, '.mnb-undo')
    if ((key == 'escape' || key == 'delete') && press(event, '.mnb-clear')) return
    if (!paper(event)) return
    if (!control && key != 'tab') steer(event, event.target)
    event.stopPropagation()
  })
  on('focusout', event => {
    const canvas = paper(event), at = canvas && cursors.get(canvas)
    if (!at) return
    if (at.down) canvas.dispatchEvent(new MouseEvent('mouseup', {}))
    at.down = false
    canvas.closest('.mnb-sheet').querySelector('.mnb-cursor')?.remove()
  })

  // A drawing as a picture, to save or to paste elsewhere; and the address of this server in what is shown of its use.
  on('click', async event => {
    const button = event.target.closest?.('[data-save]'), canvas = seen('.mnb-sheet canvas:not(.mnb-ink)')
    if (!button || !canvas) return
    const picture = new Promise(then => canvas.toBlob(then, 'image/png')), words = button.textContent
    try {
      if (button.dataset.save == 'copy') await navigator.clipboard.write([new ClipboardItem({ 'image/png': picture })])
      else {
        const link = Object.assign(document.createElement('a'), { download: 'drawing.png', href: URL.createObjectURL(await picture) })
        link.click()
        setTimeout(() => URL.revokeObjectURL(link.href), 1000)
      }
      button.textContent = button.dataset.save == 'copy' ? 'Copied' : 'Saved'
    } catch { button.textContent = 'Not allowed here' }
    setTimeout(() => { button.textContent = words }, 1500)
  })

  // A digit's key answers in the game; arrows move in the confusion matrix and on the map, which gets no other key, so that Tab leaves it.
  const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10 }
  on('keydown', event => {
    const keys = [...document.querySelectorAll('.mnb-keys button')].filter(button => button.offsetParent)
    if (keys[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.matches('input, select, textarea')) {
      if (!event.repeat) keys[event.key].click()
    } else if (event.key == 'Enter' && event.target.matches('.mnb-entry input')) {
      event.target.closest('.mnb-entry').querySelector('.mnb-enter')?.click()
    } else if (event.target.matches('.mnb-cell') && STEPS[event.key]) {
      const cells = [...document.querySelectorAll('.mnb-cell')], step = STEPS[event.key]
      let at = cells.indexOf(event.target) + step
      while (cells[at]?.disabled) at += step
      cells[at]?.focus()
      event.preventDefault()
    } else if (event.target.matches('.mnb-map canvas') && !STEPS[event.key]) event.stopPropagation()
  })

  // What a screen reader should know.
  let due = 0
  const tell = () => {
    due = 0
    const name = (selector, attribute, words) => document.querySelectorAll(selector).forEach(each => {
      const text = String(words(each))
      if (each.getAttribute(attribute) != text) each.setAttribute(attribute, text)
    })
    name('.mnb .widget-toggle-button', 'aria-pressed', each => each.classList.contains('mod-active'))
    name('.mnb-chosen, .mnb-tile, .mnb-cell', 'aria-pressed', each => each.classList.contains('mnb-chosen'))
    name('.mnb-reading, .mnb-live', 'aria-live', () => 'polite')
    name('.mnb .noUi-handle', 'aria-label', each => each.closest('.widget-slider').querySelector('.widget-label')?.textContent || 'slider')
    name('.mnb-sheet canvas:not(.mnb-ink)', 'aria-label', () => 'a sheet to draw on: the arrow keys move the pen, the space bar puts it down and up, Escape clears the sheet')
    name('.mnb-sheet canvas:not(.mnb-ink)', 'role', () => 'application')
    name('.mnb-sheet canvas:not(.mnb-ink)', 'tabindex', () => '0')
    document.querySelectorAll('.mnb-code pre').forEach(each => {
      const text = each.textContent.replace(/http:\/\/[\w.:[\]-]+(?=\/api)/, location.origin)
      if (text != each.textContent) each.textContent = text
    })
    name('.mnb-map canvas', 'aria-label', () => 'a map of test digits; the arrow keys go from one to the next')
  }
  new MutationObserver(() => { due ||= requestAnimationFrame(tell) }).observe(document, { childList: true, subtree: true, attributeFilter: ['class'] })

  // Files: a large photo is reduced before it is sent; what cannot be sent goes as an empty file that says how large it was.
  const reduced = async file => {
    if (file.size < LARGE) return file
    try {
      const picture = await createImageBitmap(file), scale = Math.min(1, SIDE / Math.max(picture.width, picture.height))
      const canvas = new OffscreenCanvas(Math.max(1, picture.width * scale), Math.max(1, picture.height * scale))
      canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height)
      const small = await canvas.convertToBlob({ type: 'image/webp', quality: .92 })
      if (small.size < LIMIT) return new File([small], file.name, { type: small.type })
    } catch { /* no picture that this browser reads */ }
    return file.size < LIMIT ? file : new File([], file.name, { type: 'too-large/' + file.size })
  }
  const click = HTMLInputElement.prototype.click
  let given = null
  HTMLInputElement.prototype.click = function () {
    if (this.type != 'file') return click.call(this)
    const feed = async files => {
      const box = new DataTransfer(), wait = document.querySelectorAll('.mnb-drop')
      wait.forEach(each => each.classList.add('mnb-preparing'))
      for (const file of await Promise.all(Array.from(files, reduced))) box.items.add(file)
      wait.forEach(each => each.classList.remove('mnb-preparing'))
      this.files = box.files
      this.fed = true
      this.dispatchEvent(new Event('change'))
    }
    if (!this.watched) this.addEventListener('change', event => {
      if (this.fed) return void (this.fed = false)
      event.stopImmediatePropagation()
      feed(this.files)
    }, { capture: true })
    this.watched = true
    if (given) feed(given)
    else click.call(this)
    given = null
  }
  const button = () => [...document.querySelectorAll('.mnb .widget-upload')].find(each => each.offsetParent)
  const take = (event, files) => {
    if (!button() || !files?.length) return
    event.preventDefault()
    given = files
    button().click()
  }
  on('dragover', event => {
    if (!button() || !event.dataTransfer.types.includes('Files')) return
    event.preventDefault()
    button().classList.add('mnb-over-it')
  })
  on('dragleave drop', () => button()?.classList.remove('mnb-over-it'))
  on('drop', event => take(event, event.dataTransfer.files))
  on('paste', event => take(event, event.clipboardData.files))
})()
