import { TidegateError } from '../../../src/errors.ts'

export function closedError(): TidegateError {
  return new TidegateError('OUTBOX_CLOSED', {
    message: 'the outbox is closed',
    retryable: true,
    hint: 'the gateway is stopping; the device keeps the event and sends it again',
  })
}

export function busyError(waitingMax: number): TidegateError {
  return new TidegateError('OUTBOX_BUSY', {
    message: `${waitingMax} submissions wait for room already`,
    retryable: true,
    hint: 'the device keeps the event and sends it again; raise outbox.waitingMax if memory allows',
  })
}
