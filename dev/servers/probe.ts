import { connect } from 'node:net'

/** RabbitMQ answers a protocol header with Connection.Start, a method frame (AMQP 0-9-1, section 2.2.4). */
export function amqpAnswers(port: number): Promise<boolean> {
  return answers(port, Buffer.from('AMQP\0\0\x09\x01', 'latin1'), (first) => first === 1)
}

/**
 * PostgreSQL answers a start-up message with an authentication request ('R') when it takes sessions and with an
 * error ('E') while it is starting up (PostgreSQL documentation, "Message Flow").
 */
export function postgresAnswers(port: number, user: string): Promise<boolean> {
  const body = Buffer.from(`\0\x03\0\0user\0${user}\0database\0postgres\0\0`, 'latin1')
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length + 4)
  return answers(port, Buffer.concat([length, body]), (first) => first === 'R'.charCodeAt(0))
}

function answers(port: number, hello: Buffer, isReady: (first: number) => boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const settle = (ready: boolean): void => {
      resolve(ready)
      socket.destroy()
    }
    socket.setTimeout(2_000, () => settle(false))
    socket.once('connect', () => socket.write(hello))
    socket.once('data', (data) => settle(data.length > 0 && isReady(data.readUInt8(0))))
    socket.once('error', () => settle(false))
    socket.once('close', () => settle(false))
  })
}
