import { Socket } from 'node:net'
import { Client } from 'pg'

/**
 * Loaded in front of a program (`node --import`), of which nothing is changed for it: what it asks PostgreSQL for and sends to RabbitMQ
 * are steps with names. It tells of each step through its IPC channel, and ends the process with SIGKILL just before or just after the
 * one that it is told of there.
 */
export type Order = { die: { step: string; moment: Moment } }

/** After: PostgreSQL has answered and the program does not know it yet; what is for RabbitMQ is in the hands of the kernel. */
export type Moment = 'before' | 'after'

let die: Order['die'] | undefined
process.on('message', (order: Order) => (die = order.die))

function at(step: string, moment: Moment): void {
  if (die?.step === step && die.moment === moment) process.kill(process.pid, 'SIGKILL')
  if (moment === 'before') process.send?.(step)
}

interface Statement {
  name?: string
  text: string
}

/** By connection: the last statement of the transaction that is under way. */
const underWay = new WeakMap<object, string>()

/** The name of a statement, else its beginning; of an end of a transaction, what it was the end of. */
function nameOf(client: object, { name, text }: Statement): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  const [verb = ''] = line.split(' ')
  if (verb === 'begin') underWay.delete(client)
  if (verb === 'commit' || verb === 'rollback') return `${verb} after ${underWay.get(client) ?? 'nothing'}`
  const step = name ?? line.slice(0, 70).trim()
  // What only sets something says nothing of what is committed.
  if (verb !== 'set' && verb !== 'begin') underWay.set(client, step)
  return step
}

type Answered = (error: unknown, result: unknown) => void
type Query = (this: object, ...args: unknown[]) => unknown

// oxlint-disable-next-line typescript/unbound-method -- it is called with its client
const query = Client.prototype.query as Query

Client.prototype.query = function (this: object, ...args: unknown[]): unknown {
  const [asked] = args
  const statement = typeof asked === 'string' ? { text: asked } : (asked as Statement)
  const step = nameOf(this, statement)
  at(step, 'before')
  const answered = args.findIndex((one) => typeof one === 'function')
  if (answered < 0)
    return (query.apply(this, args) as Promise<unknown>).then((result) => {
      at(step, 'after')
      return result
    })
  const tell = args[answered] as Answered
  const others = args.with(answered, (error: unknown, result: unknown) => {
    if (!error) at(step, 'after')
    tell(error, result)
  })
  return query.apply(this, others)
} as typeof Client.prototype.query

/** By connection to RabbitMQ: which queue each channel consumes. */
const consumed = new WeakMap<object, Map<number, string>>()
const preamble = Buffer.from('AMQP')
const methodFrame = 1
const frameEnd = 8
/** AMQP 0-9-1, class `basic`. */
const basic = 60
const methods = { consume: 20, publish: 40, ack: 80 }

function shortText(frame: Buffer, from: number): [text: string, end: number] {
  const end = from + 1 + frame.readUInt8(from)
  return [frame.toString('utf8', from + 1, end), end]
}

/** The step that a frame is, if it is one. */
function stepOf(frame: Buffer, channels: Map<number, string>): string | undefined {
  if (frame.length < 11 || frame.readUInt8(0) !== methodFrame || frame.readUInt16BE(7) !== basic)
    return undefined
  const channel = frame.readUInt16BE(1)
  const method = frame.readUInt16BE(9)
  if (method === methods.consume) channels.set(channel, shortText(frame, 13)[0])
  if (method === methods.ack) return `ack in ${channels.get(channel) ?? 'no queue'}`
  if (method !== methods.publish) return undefined
  const [exchange, end] = shortText(frame, 13)
  const [routingKey] = shortText(frame, end)
  return `publish to ${exchange === '' ? 'queue' : exchange} ${routingKey}`
}

/** The steps that are written together: rabbitmq-client writes a frame at a time, or some. */
function stepsIn(chunk: Buffer, channels: Map<number, string>): string[] {
  const steps: string[] = []
  for (let from = 0; from + frameEnd <= chunk.length;) {
    const end = from + chunk.readUInt32BE(from + 3) + frameEnd
    const step = stepOf(chunk.subarray(from, end), channels)
    if (step !== undefined) steps.push(step)
    from = end
  }
  return steps
}

type Write = (this: Socket, ...args: unknown[]) => boolean

// oxlint-disable-next-line typescript/unbound-method -- it is called with its socket
const write = Socket.prototype.write as unknown as Write

Socket.prototype.write = function (this: Socket, ...args: unknown[]): boolean {
  const [chunk] = args
  if (!Buffer.isBuffer(chunk)) return write.apply(this, args)
  const channels = consumed.get(this)
  if (channels === undefined) {
    if (chunk.subarray(0, preamble.length).equals(preamble)) consumed.set(this, new Map())
    return write.apply(this, args)
  }
  const steps = stepsIn(chunk, channels)
  for (const step of steps) at(step, 'before')
  const taken = write.apply(this, args)
  // Behind it the frames of its content go out, and the kernel has them all.
  setImmediate(() => {
    for (const step of steps) at(step, 'after')
  })
  return taken
}
