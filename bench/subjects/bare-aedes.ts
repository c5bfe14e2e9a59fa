import { readFileSync } from 'node:fs'
import { createServer } from 'node:tls'
import { Aedes } from 'aedes'

/** A reference: aedes over mutual TLS that stores nothing. `node bare-aedes.js PORT CA CERT KEY` */
const [port, ca = '', cert = '', key = ''] = process.argv.slice(2)
const broker = await Aedes.createBroker()
const server = createServer(
  {
    ca: readFileSync(ca),
    cert: readFileSync(cert),
    key: readFileSync(key),
    requestCert: true,
    rejectUnauthorized: true,
  },
  (socket) => void broker.handle(socket),
)
server.listen(Number(port), '127.0.0.1')
process.once('disconnect', () => process.exit(0))
