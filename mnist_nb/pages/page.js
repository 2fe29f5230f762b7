// The page's end of the widgets: loads ipywidgets and ipycanvas from the modules they ship for the classic notebook, and speaks to the kernel over one websocket.
(() => {
  'use strict';
  const PROTOCOL = 'v1.kernel.websocket.jupyter.org';
  const modules = {};
  const anything = new Proxy(function () {}, {get: () => anything, apply: () => anything, construct: () => ({})});
  const outputs = {'notebook/js/outputarea': {OutputArea: class {}}};
  outputs['notebook/js/outputarea'].OutputArea.prototype.register_mime_type = () => {};
  const stopgap = (known) => new Proxy(known, {get: (own, name) => (name in own ? own[name] : anything)});

  // A module of the classic notebook finds what it asks for: other modules, or stand-ins for the notebook's own parts.
  const jupyter = stopgap({version: '6.5.0', notebook: stopgap({metadata: {}, kernel: {comm_manager: stopgap({kernel: null})}})});
  const find = (name) => modules[name] || outputs[name] || (name === 'base/js/namespace' ? jupyter : anything);
  const require = (names, then) => then(...names.map(find));
  require.config = () => {};
  window.Jupyter = jupyter;
  window.require = window.requirejs = require;
  window.define = (needs, make) => {
    const made = make(...needs.map((name) => (name === 'module' ? {uri: '/static/'} : find(name))));
    for (const name of window.define.names) modules[name] = made;
  };

  // The class under the notebook's own manager holds what every manager shares; the notebook's is built once to reach it.
  async function managerClass() {
    const menu = document.createElement('ul');
    menu.innerHTML = '<li><a id="help_menu"></a></li>';
    menu.hidden = true;
    document.body.append(menu);
    const before = new Set(document.head.querySelectorAll('style'));
    await modules['@jupyter-widgets/controls'].load_ipython_extension();
    menu.remove();
    const own = document.head.querySelector('style, link[rel=stylesheet]');
    for (const style of document.head.querySelectorAll('style')) if (!before.has(style)) document.head.insertBefore(style, own);
    return Object.getPrototypeOf(jupyter.WidgetManager);
  }

  const encoder = new TextEncoder(), decoder = new TextDecoder();
  const identity = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

  function packed(channel, message) {
    const {header, parent_header, metadata, content, buffers} = message;
    const parts = [encoder.encode(channel), ...[header, parent_header, metadata, content].map((part) => encoder.encode(JSON.stringify(part)))];
    for (const part of buffers) parts.push(part.buffer ? new Uint8Array(part.buffer, part.byteOffset, part.byteLength) : new Uint8Array(part));
    const start = 8 * (parts.length + 2);
    const all = new Uint8Array(start + parts.reduce((sum, part) => sum + part.length, 0)), view = new DataView(all.buffer);
    view.setBigUint64(0, BigInt(parts.length + 1), true);
    let at = start;
    parts.forEach((part, index) => {
      view.setBigUint64(8 * (index + 1), BigInt(at), true);
      all.set(part, at);
      at += part.length;
    });
    view.setBigUint64(8 * (parts.length + 1), BigInt(at), true);
    return all;
  }

  function unpacked(data) {
    const view = new DataView(data), count = Number(view.getBigUint64(0, true));
    const offset = (index) => Number(view.getBigUint64(8 * (index + 1), true));
    const parts = Array.from({length: count - 1}, (_, index) => data.slice(offset(index), offset(index + 1)));
    const [header, parent_header, metadata, content] = parts.slice(1, 5).map((part) => JSON.parse(decoder.decode(part)));
    return {header, parent_header, metadata, content, buffers: parts.slice(5).map((part) => new DataView(part))};
  }

  // One websocket to the visitor's kernel, opened again when it breaks; it never gives up what is to be sent.
  class Channel {
    constructor(visit) {
      this.session = identity();
      this.comms = new Map();
      this.callbacks = new Map();
      this.waiting = [];
      this.tries = 0;
      const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
      this.url = `${scheme}://${location.host}/live/${visit}?session_id=${this.session}`;
    }

    open() {
      const socket = this.socket = new WebSocket(this.url, PROTOCOL);
      socket.binaryType = 'arraybuffer';
      socket.onmessage = (event) => this.receive(unpacked(event.data));
      socket.onclose = (event) => this.closed(event);
      return new Promise((resolve) => {
        socket.onopen = () => {
          this.tries = 0;
          for (const data of this.waiting.splice(0)) socket.send(data);
          resolve();
        };
      });
    }

    closed(event) {
      if (event.code === 4003) location.reload();
      else if (event.code === 4002) comeBack(event.reason);
      else if (event.code >= 4000) show('failed', event.reason);
      else if (this.tries++ < 8) {
        if (this.tries > 1) show('lost', 'The connection is lost. Trying again …');
        setTimeout(() => this.open().then(() => show('ready')), Math.min(500 * this.tries, 5000));
      } else comeBack('The connection to the server is lost.');
    }

    send(type, content, callbacks, metadata, buffers) {
      const header = {msg_id: identity(), session: this.session, username: '', date: new Date().toISOString(), msg_type: type, version: '5.3'};
      const data = packed('shell', {header, parent_header: {}, metadata: metadata || {}, content, buffers: buffers || []});
      if (callbacks) this.callbacks.set(header.msg_id, callbacks);
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
      else this.waiting.push(data);
      return header.msg_id;
    }

    receive(message) {
      const {header: {msg_type: type}, content} = message, parent = message.parent_header.msg_id;
      const callbacks = this.callbacks.get(parent);
      if (type === 'comm_open') this.opened(this.comm(content.target_name, content.comm_id), message);
      else if (type === 'comm_msg') this.comms.get(content.comm_id)?.heard(message);
      else if (type === 'comm_close') this.comms.get(content.comm_id)?.ended(message);
      else if (type === 'error') stumbled(content.ename);
      else if (type.endsWith('_reply')) callbacks?.shell?.reply?.(message);
      else if (type === 'status') {
        callbacks?.iopub?.status?.(message);
        if (content.execution_state === 'idle') this.callbacks.delete(parent);
        if (content.execution_state === 'dead') show('failed', 'The program behind this page has stopped.');
      }
    }

    // Messages of one comm are handled one after the other, also where handling them waits for something.
    comm(target, id) {
      let turn = Promise.resolve(), heard = () => {}, ended = () => {};
      const send = (type) => (data, callbacks, metadata, buffers) => this.send(type, {comm_id: id, data: data || {}}, callbacks, metadata, buffers);
      const comm = {
        comm_id: id, target_name: target, send: send('comm_msg'),
        close: (...rest) => { this.comms.delete(id); return send('comm_close')(...rest); },
        on_msg: (then) => { heard = then; }, on_close: (then) => { ended = then; },
        heard: (message) => { turn = turn.then(() => heard(message)).catch(console.error); },
        ended: (message) => { this.comms.delete(id); ended(message); },
      };
      this.comms.set(id, comm);
      return comm;
    }
  }

  const widgetManager = (Base) => class extends Base {
    constructor(channel) {
      super();
      this.channel = channel;
      channel.opened = (comm, message) => this.handle_comm_open(comm, message);
    }

    async loadClass(name, module) {
      if (modules[module]?.[name]) return modules[module][name];
      throw new Error(`This page has no ${name} of ${module}.`);
    }

    async _create_comm(target, id, data, metadata, buffers) {
      const comm = this.channel.comm(target, id || identity());
      if (data || metadata) this.channel.send('comm_open', {comm_id: comm.comm_id, target_name: target, data: data || {}}, null, metadata, buffers);
      return comm;
    }

    _get_comm_info() {
      return new Promise((resolve) => {
        this.channel.send('comm_info_request', {target_name: 'jupyter.widget'}, {shell: {reply: (message) => resolve(message.content.comms)}});
      });
    }
  };

  // What was asked for failed by our own fault: it is told for a while, and the page goes on.
  function stumbled(name) {
    console.error(`The program behind this page failed: ${name}`);
    show('stumbled', 'That did not work, and it is not your fault; the server\'s log says why. Go on, or load the page anew.');
    setTimeout(() => { if (document.documentElement.dataset.state === 'stumbled') show('ready'); }, 10000);
  }

  // A server that was stopped may start again: the page is then loaded anew, and its script puts back the drawing.
  function comeBack(reason) {
    show('failed', `${reason} This page comes back by itself when the server runs again.`);
    const look = () => fetch('/api/health/live', {cache: 'no-store'}).then((answer) => answer.ok && location.reload(), () => null);
    setInterval(look, 4000);
  }

  // The page says in one place how it is: starting, ready, stumbled, lost or failed.
  function show(state, text) {
    if (document.documentElement.dataset.state === 'failed') return;
    document.documentElement.dataset.state = state;
    document.getElementById('notice-text').textContent = text || '';
  }

  // Where one is: each page has an address, which the browser's history, its title and the links above follow.
  const DRAWING = 'mnist_nb drawing';
  const links = () => [...document.querySelectorAll('#pages [data-page]')];
  const named = (hash) => links().find((link) => link.dataset.page === hash.slice(1))?.dataset.page;
  const alone = location.pathname === '/train';
  const place = {page: '', sent: 0, told: '', seen: ''};

  function mark() {
    for (const link of links()) {
      const here = link.dataset.page === place.page;
      here ? link.setAttribute('aria-current', 'page') : link.removeAttribute('aria-current');
      if (here) document.title = `${link.textContent} · mnist_nb`;
    }
  }

  // A word to the kernel goes through a text field that nobody sees; what the kernel holds out is an attribute in another widget.
  function tell(message) {
    const inbox = document.querySelector('.mnb-inbox textarea');
    if (!inbox) return;
    inbox.value = JSON.stringify({...message, number: ++place.sent});
    inbox.dispatchEvent(new Event('change', {bubbles: true}));
  }

  function go(page) {
    if (page === place.page) return;
    place.page = page;
    mark();
    document.documentElement.dataset.turning = page;
    tell({page});
    scrollTo(0, 0);
  }

  function heard(text) {
    if (text === place.seen) return;
    place.seen = text;
    const state = JSON.parse(text);
    if (state.pages) links().forEach((link) => { link.parentElement.hidden = !state.pages.includes(link.dataset.page); });
    if (state.drawing) sessionStorage.setItem(DRAWING, JSON.stringify(state.drawing));
    if ((state.heard || 0) < place.sent) return;
    if (state.page === place.page) delete document.documentElement.dataset.turning;
    if (state.page === place.told) return;
    place.told = state.page;
    if (state.page === place.page || alone) return;
    place.page = state.page;
    mark();
    history.pushState(null, '', `#${state.page}`);
    scrollTo(0, 0);
  }

  function navigate() {
    place.page = (alone ? 'train' : named(location.hash)) || 'draw';
    mark();
    addEventListener('hashchange', () => go(named(location.hash) || 'draw'));
    addEventListener('popstate', () => go(named(location.hash) || 'draw'));
    document.getElementById('skip').addEventListener('click', (event) => {
      event.preventDefault();
      document.getElementById('dashboard').focus();
    });
    document.getElementById('pages').addEventListener('keydown', (event) => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      const shown = [...document.querySelectorAll('#pages a')].filter((link) => link.offsetParent);
      const at = shown.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      shown[(at + step + shown.length) % shown.length].focus();
    });
  }

  // When the widgets are there: what was drawn before, and which page is wanted.
  async function arrive() {
    while (!document.querySelector('.mnb-inbox textarea')) await new Promise(requestAnimationFrame);
    const kept = JSON.parse(sessionStorage.getItem(DRAWING) || 'null');
    place.told = alone ? 'train' : 'draw';
    if (kept?.lines?.length || place.page !== place.told) tell({page: place.page, drawing: alone ? null : kept});
    const look = () => document.querySelectorAll('.mnb-outbox [data-state]').forEach((each) => heard(each.dataset.state));
    look();
    new MutationObserver(look).observe(document.querySelector('.mnb-outbox'), {childList: true, subtree: true});
  }

  async function start() {
    document.getElementById('reload').onclick = () => location.reload();
    navigate();
    const {visit, views, problem} = JSON.parse(document.getElementById('visit').textContent);
    if (problem) return show('failed', problem);
    const channel = new Channel(visit), connected = channel.open();
    const manager = new (widgetManager(await managerClass()))(channel);
    await connected;
    await manager._loadFromKernel();
    const place = document.getElementById('dashboard'), Widget = modules['@jupyter-widgets/base'].JupyterLuminoWidget;
    for (const id of views) {
      const view = await manager.create_view(await manager.get_model(id), {});
      Widget.attach(view.luminoWidget, place);
      window.addEventListener('resize', () => view.luminoWidget.processMessage(Widget.ResizeMessage.UnknownSize));
    }
    await arrive();
    show('ready');
  }

  window.startPage = () => {
    const run = () => start().catch((error) => { console.error(error); show('failed', 'The page could not be built.'); });
    if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', run);
    else run();
  };
})();
