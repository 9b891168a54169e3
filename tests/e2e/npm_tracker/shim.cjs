// Stands for the server of npm's bittorrent-tracker, so that its tests ask our tracker.
//
// Loaded by `node -r`. Where that package's index.js wants its own server it gets the class below,
// which has tests.support.tracker_node open a tracker and retells what is announced there. The
// environment says how that is started (TRACKER_NODE) and which cases are left out (LEFT_OUT), both
// as JSON, and INSTALLED is where the package is.
'use strict'

const { EventEmitter } = require('events')
const Module = require('module')
const path = require('path')
const { spawn } = require('child_process')

const home = path.join(process.env.INSTALLED, 'bittorrent-tracker')
const installed = Module.createRequire(path.join(home, 'package.json'))
const fixtures = installed('webtorrent-fixtures')
const leftOut = new Set(JSON.parse(process.env.LEFT_OUT))
const EVENTS = { started: 'start', stopped: 'stop', completed: 'complete', update: 'update' }
// Ours serves the torrents that it knows: those that the tests announce.
const KNOWN = ['4cb67059ed6bd08362da625b3ae77f6f4a075705']
for (const name of Object.keys(fixtures)) {
  const torrent = fixtures[name].parsedTorrent
  if (torrent && torrent.infoHash && !KNOWN.includes(torrent.infoHash)) KNOWN.push(torrent.infoHash)
}

const node = {
  servers: new Map(),
  waiting: [],
  made: 0,
  start () {
    const [program, ...words] = JSON.parse(process.env.TRACKER_NODE)
    this.child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] })
    for (const each of [this.child, this.child.stdin, this.child.stdout]) each.unref()
    process.on('exit', () => this.child.kill('SIGKILL'))
    let rest = ''
    this.child.stdout.on('data', (data) => {
      const lines = (rest + data).split('\n')
      rest = lines.pop()
      for (const line of lines) this.heard(JSON.parse(line))
    })
  },
  ask (order, told) {
    if (!this.child) this.start()
    this.waiting.push(told)
    // Like a server of theirs it keeps this process until it is closed.
    this.child.stdout.ref()
    this.child.stdin.write(JSON.stringify(order) + '\n')
  },
  heard (document) {
    if ('event' in document) {
      const server = this.servers.get(document.tracker)
      return server && server.announced(document)
    }
    if (document.closed) this.servers.delete(document.closed)
    const told = this.waiting.shift()
    if (!this.waiting.length && !this.servers.size) this.child.stdout.unref()
    told(document)
  }
}

class Server extends EventEmitter {
  constructor (opts) {
    super()
    this._filter = opts.filter || ((infoHash, params, cb) => cb(null))
    this._cap = opts.peersCacheLength
    this._types = {}
    this.torrents = {}
    this.number = ++node.made
    node.servers.set(this.number, this)
  }

  listen (port, onlistening) {
    const torrents = {}
    let left = KNOWN.length
    for (const infoHash of KNOWN) {
      this._filter(infoHash, {}, (refusal) => {
        torrents[infoHash] = refusal ? refusal.message : null
        left -= 1
        if (!left) this._open(torrents, onlistening)
      })
    }
  }

  _open (torrents, onlistening) {
    const order = { open: this.number, hosts: ['127.0.0.1', '::1'], torrents, tell: true }
    if (this._cap) order.peers_per_swarm = this._cap
    node.ask(order, ({ port }) => {
      this.http = new EventEmitter()
      this.udp = new EventEmitter()
      this.http.address = this.udp.address = () => ({ port })
      onlistening()
    })
  }

  announced ({ event, refused, type, query, headers, ...told }) {
    if (refused) return this.emit('warning', new Error(refused))
    this.torrents[told.info_hash] = true
    const id = `${told.ip}:${told.port}`
    this._types[id] = type
    if (this.http && headers) this.http.emit('request', { headers })
    const params = Object.fromEntries(new URLSearchParams(query || ''))
    const peer = { type, ip: told.ip, port: told.port, peerId: told.peer_id, complete: !told.left }
    this.emit(EVENTS[event] || 'update', peer, params)
  }

  getSwarm (infoHash, cb) {
    node.ask({ list: this.number, info_hash: infoHash }, ({ peers }) => {
      const complete = peers.filter((peer) => peer.complete).length
      const found = new Map()
      for (const { ip, port, peer_id: peerId, complete } of peers) {
        const type = this._types[`${ip}:${port}`]
        const host = ip.includes(':') ? `[${ip}]` : ip
        found.set(`${host}:${port}`, { type, ip, port, peerId, complete })
      }
      const listed = { length: peers.length, peek: (id) => found.get(id) }
      cb(null, { complete, incomplete: peers.length - complete, peers: listed })
    })
  }

  close (cb = () => {}) {
    node.ask({ close: this.number }, () => cb())
  }
}

const load = Module._load
let tape = null
Module._load = function (request, parent, ...more) {
  if (request === './server' && parent && parent.filename === path.join(home, 'index.js')) return Server
  // The cases that need it are those of WebSocket trackers.
  if (request === 'electron-webrtc') return () => { throw new Error('left out') }
  if (request !== 'tape') return load.call(this, request, parent, ...more)
  if (!tape) {
    const real = load.call(this, request, parent, ...more)
    const test = (name, ...rest) => leftOut.has(name) ? console.log(`# LEFT OUT ${name}`) : real(name, ...rest)
    tape = Object.assign(test, real)
  }
  return tape
}

// Our own seeder, which never announces, is a complete peer of every swarm: theirs has none.
const Client = installed('./client')
const emit = Client.prototype.emit
Client.prototype.emit = function (name, data, ...more) {
  if ((name === 'update' || name === 'scrape') && data.complete > 0) data.complete -= 1
  return emit.call(this, name, data, ...more)
}

// Who has everything says so by `left` (BEP 3). Their cases leave it out, as in a client that lies
// about the end of its download or doesn't know; their server goes by the event alone.
const complete = Client.prototype.complete
Client.prototype.complete = function (opts) {
  return complete.call(this, { left: 0, ...opts })
}

// Their server writes the hashes of a scrape as UTF-8, up to 40 bytes, and their client reads them so.
// BEP 48 has the 20 bytes of the hash, as ours writes them.
const { decode } = installed('bencode')
const read = decode.buffer
decode.buffer = () => {
  const found = read()
  found.toString = (encoding = 'binary', ...more) => Buffer.prototype.toString.call(found, encoding, ...more)
  return found
}

for (const file of process.argv.slice(1)) require(path.join(home, 'test', file))
