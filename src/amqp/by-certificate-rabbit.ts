import type { Connection } from 'rabbitmq-client'
import { refuseUnknownClient } from './client-internals-rabbit.ts'

/**
 * From now on this connection proves who it is by its certificate (SASL EXTERNAL), and sends no password. The client
 * (rabbitmq-client 5.0.8) knows PLAIN alone, and writes it when the broker has answered, which is later than this.
 * @throws TidegateError `AMQP_CLIENT_UNKNOWN`
 */
export function identifyByCertificate(connection: Connection): void {
  const raw = connection as unknown as RawConnection
  refuseUnknownClient(typeof raw._writeMethod === 'function')
  const write = raw._writeMethod.bind(connection)
  raw._writeMethod = (frame) => write(frame.methodId === startOk ? external(frame) : frame)
}

/** `connection.start-ok`: class << 16 | method. */
const startOk = (10 << 16) | 11

interface MethodFrame {
  methodId: number
  params: object
}

interface RawConnection {
  _writeMethod(frame: MethodFrame): void
}

function external(frame: MethodFrame): MethodFrame {
  return { ...frame, params: { ...frame.params, mechanism: 'EXTERNAL', response: '' } }
}
