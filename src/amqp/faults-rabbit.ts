import { messageOf } from '../errors.ts'

/** What RabbitMQ or the client said; the client writes `undefined: ` in front where RabbitMQ names no method that it is about. */
export function amqpMessageOf(error: unknown): string {
  return messageOf(error).replace(/^undefined: /, '')
}
