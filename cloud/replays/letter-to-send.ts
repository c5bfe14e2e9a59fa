import { headers as names, partitionOf, partitionQueue, wire } from '../../src/contract/wire.ts'
import type { Edited, Event } from '../../src/contract/event.ts'
import type { Letter } from '../amqp/delivery.ts'
import { applyPatch } from './json-patch.ts'
import type { Target } from './outbound.ts'
import type { LetterEdit, ReplayedLetter } from './replays.ts'

/**
 * A dead letter on its way back: to the partition queue of its group that its device's events go to, as on its first attempt, with what
 * says which letter it is. Nothing of its story is in it but where it came from: the story is in the letter.
 */
export function letterToSend(letter: ReplayedLetter, replay: number, partitions: number): [Target, Letter] {
  const { group, device, headers, properties, routingKey, publisher, unvetted, generation, edit, body } =
    letter
  const ours = {
    [names.letter]: letter.letter,
    [names.replay]: replay,
    [names.attempt]: 1,
    [names.originalExchange]: wire.exchange,
    [names.originalRoutingKey]: routingKey,
    ...(publisher !== undefined && { [names.originalUser]: publisher }),
    ...(unvetted && { [names.unvetted]: true }),
    ...(generation !== undefined && { [names.generation]: generation }),
  }
  const queue = partitionQueue(group, partitionFor(routingKey, device, partitions))
  return [
    { kind: 'queue', queue },
    {
      body: edit ? edited(body, edit) : body,
      properties,
      headers: { ...headers, ...ours },
      barer: [{ properties: {}, headers: ours }],
    },
  ]
}

/** That of its device's other events: the routing key says it, as its publisher has computed it. */
function partitionFor(routingKey: string, device: string | undefined, partitions: number): number {
  const said = /^(\d\d)\./.exec(routingKey)?.[1]
  if (said !== undefined && Number(said) < partitions) return Number(said)
  return partitionOf(device ?? '', partitions)
}

/**
 * The text with the data that the patch makes of it, and with who says so. Everything else is as it was; its chain value is that of the
 * text on record, which nobody has changed.
 */
function edited(body: Buffer, edit: LetterEdit): Buffer {
  return Buffer.from(JSON.stringify(editedEvent(JSON.parse(body.toString('utf8')) as Event, edit)))
}

/** @throws TidegateError `EDIT_REFUSED` */
export function editedEvent(event: Event, { by, at, patch }: Omit<LetterEdit, 'deed' | 'reason'>): Event {
  const edit: Edited = { by, at, patch }
  const { chain, ...rest } = event
  return { ...rest, data: applyPatch(event.data, patch as never), edited: edit, chain }
}
