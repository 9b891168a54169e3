// Downloads one torrent, makes a file when it is complete, and seeds until it is killed.
// The argument is JSON: module, address, port, secure, source, downloads, mark.
import fs from 'node:fs'
import net from 'node:net'
import { pathToFileURL } from 'node:url'

const order = JSON.parse(process.argv[2])

// WebTorrent has no option for the address that it listens on and dials from.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ready) {
  return listen.call(this, port, order.address, ready)
}
const connect = net.Socket.prototype.connect
net.Socket.prototype.connect = function (...given) {
  // net.connect hands over an array with the options first; others call with the options.
  const options = Array.isArray(given[0]) ? given[0][0] : given[0]
  options.localAddress = order.address
  return connect.apply(this, given)
}

const { default: WebTorrent } = await import(pathToFileURL(order.module))
const client = new WebTorrent({
  torrentPort: order.port,
  secure: order.secure,
  utp: false,
  dht: false,
  lsd: false,
  utPex: false,
  natUpnp: false,
  natPmp: false
})
const source = order.source.startsWith('magnet:') ? order.source : fs.readFileSync(order.source)
const torrent = client.add(source, { path: order.downloads })
torrent.on('wire', (wire, address) => console.log(`connected: ${address}`))
torrent.on('warning', warning => console.log(`warning: ${warning}`))
torrent.on('done', () => fs.writeFileSync(order.mark, ''))
setInterval(() => {
  console.log(`${torrent.downloaded} of ${torrent.length} bytes, ${torrent.numPeers} peers`)
}, 2000).unref()
