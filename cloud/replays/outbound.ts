import type { Letter } from '../amqp/delivery.ts'

/** What the cloud itself publishes. Port; RabbitMQ's adapter is outbound-rabbit.ts. */
export interface Outbound {
  /**
   * Resolves when the broker has confirmed the message *and* has routed it to a queue (G5). One that is sent again may be there twice.
   * @throws TidegateError `PUBLISH_UNPROVEN` when it has not: unreachable, full, or not declared.
   */
  send(target: Target, message: Letter): Promise<void>
  close(): Promise<void>
}

export type Target =
  /** Straight to one queue: by the default exchange, to which no gateway has a right. */
  | { kind: 'queue'; queue: string }
  /** To all groups, in the cloud's own name. */
  | { kind: 'events'; routingKey: string }
