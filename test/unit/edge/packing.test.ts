import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Queued } from '../../../edge/outbox/outbox.ts'
import { Packing } from '../../../edge/uplink/packing.ts'
import { joinBatch } from '../../../src/contract/batch.ts'
import { partitionOf } from '../../../src/contract/wire.ts'

const partitions = 3
const bytesMax = 2000

/** The gateway was renamed on the way: a second epoch begins. And after an outage what is live goes first. */
const anyEvents: fc.Arbitrary<Queued[]> = fc
  .array(
    fc.record({
      deviceId: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      type: fc.constantFrom('com.acme.climate', 'com.acme.alarm'),
      lane: fc.constantFrom('high' as const, 'normal' as const),
      text: fc.string({ unit: 'grapheme', maxLength: 700 }),
    }),
    { maxLength: 60 },
  )
  .chain((events) => fc.tuple(fc.constant(events), fc.nat(events.length), fc.nat(events.length)))
  .map(([events, renamedAt, liveFrom]) => {
    const queued = events.map((event, index) => ({
      ...event,
      position: index + 1,
      sequence: index < renamedAt ? index + 1 : index + 1 - renamedAt,
      id: `e${index}`,
      recordedAtMs: 0,
    }))
    return [...queued.slice(liveFrom), ...queued.slice(0, liveFrom)]
  })

const inPlace = (events: readonly Queued[]): Queued[] => events.toSorted((a, b) => a.position - b.position)

const partition = ({ deviceId }: Queued): number => partitionOf(deviceId, partitions)

describe('what leaves together', () => {
  test('is of one lane, one partition and one type, within both bounds; all leave, each once (G7)', () => {
    const packing = new Packing({ eventsMax: 5, bytesMax, partitions })
    fc.assert(
      fc.property(anyEvents, (events) => {
        const packed = packing.pack(events)
        expect(inPlace(packed.flat())).toEqual(inPlace(events))
        for (const shipment of packed) {
          expect(shipment.length).toBeLessThanOrEqual(5)
          expect(
            new Set(shipment.map((event) => `${event.lane} ${partition(event)} ${event.type}`)).size,
          ).toBe(1)
          const bytes = joinBatch(
            shipment.map(({ text }) => text),
            false,
          ).length
          expect(shipment.length === 1 || bytes <= bytesMax).toBe(true)
        }
      }),
    )
  })

  test('is of one epoch, and so of one gateway, in rising sequence, as its properties say (G6)', () => {
    const packing = new Packing({ eventsMax: 100, bytesMax: 1_000_000, partitions })
    fc.assert(
      fc.property(anyEvents, (events) => {
        for (const shipment of packing.pack(events)) {
          expect(new Set(shipment.map(({ position, sequence }) => position - sequence)).size).toBe(1)
          const sequences = shipment.map(({ sequence }) => sequence)
          expect(sequences).toEqual(sequences.toSorted((a, b) => a - b))
        }
      }),
    )
  })

  test('keeps the order of each partition, whatever types lie between (G6)', () => {
    const packing = new Packing({ eventsMax: 100, bytesMax: 1_000_000, partitions })
    fc.assert(
      fc.property(anyEvents, (events) => {
        const sent = packing.pack(events).flat()
        for (let number = 0; number < partitions; number++) {
          const of = (all: readonly Queued[]): Queued[] => all.filter((event) => partition(event) === number)
          expect(of(sent)).toEqual(of(events))
        }
      }),
    )
  })

  test('is one event where no more is allowed, and where its message did not arrive', () => {
    const events = Array.from({ length: 40 }, (_, position): Queued => {
      const of = {
        deviceId: `d${position % 6}`,
        type: 'com.acme.climate',
        lane: 'normal',
        text: '{}',
      } as const
      return { ...of, position, sequence: position, id: `e${position}`, recordedAtMs: 0 }
    })
    const alone = events.map((event) => [event])
    expect(new Packing({ eventsMax: 1, bytesMax, partitions }).pack(events)).toEqual(alone)
    const packing = new Packing({ eventsMax: 5, bytesMax, partitions })
    packing.takeApart(packing.pack(events).filter(({ length }) => length > 1))
    expect(packing.pack(events)).toHaveLength(alone.length)
    const next = events.map((event) => ({ ...event, position: event.position + 100 }))
    expect(packing.pack(next).length).toBeLessThan(alone.length)
  })
})
