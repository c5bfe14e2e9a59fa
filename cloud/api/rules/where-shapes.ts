import { z } from 'zod'
import { payload } from './payload.ts'
import { letterStates, time } from './shapes.ts'

const count = z.int().min(0)
const text = z.string()

const projection = z.object({
  name: text,
  version: z.int().min(1),
  active: z.boolean().describe('it is the version that readers see'),
  standing: z
    .enum(['included', 'not yet', 'skipped', 'halted at it'])
    .describe('of this event; what was built from history since is said of it as well'),
})

const place = z.object({
  gateway: text,
  epoch: text,
  sequence: count,
  type: text,
  claimed: z
    .boolean()
    .describe(
      'the gateway has rejected the reading: it has another ID here, and this one was given by the device',
    ),
  time: time.describe('by the clock of the device, or of the gateway where it gave none'),
  admittedAt: time.describe('by the clock of the gateway'),
  storedAt: time,
  position: count,
  cursor: text,
  readable: z.boolean().describe('readers of history get it by now: every transaction before it has ended'),
  disposition: z.enum(['accepted', 'rejected', 'dead']),
  code: text.nullable().describe('why it was not accepted'),
  reason: payload(text),
  projections: z.array(projection).describe('that read its type, if it was accepted: by name and version'),
  admission: z
    .object({ epoch: text, sequence: count, at: time })
    .nullable()
    .describe('the event of the cloud’s own ledger that somebody has made of it'),
})

const letter = z.object({
  letter: count,
  group: text,
  state: z.enum(letterStates),
  code: text,
  fingerprint: text,
  attempts: count,
  replays: count,
  replay: count.nullable(),
  firstFailedAt: time,
  lastFailedAt: time,
  closedAt: time.nullable(),
})

const parked = z.object({
  group: text,
  at: time.describe('since when it waits'),
  state: z.enum(['retrying', 'held']).describe('of its device in that group: tidegate parked list'),
  first: z.boolean().describe('it is the one that fails; else it waits behind that'),
  attempt: count.describe('the next at the first that waits'),
  nextAt: time.describe('when that is tried again, of a device that is retrying'),
  code: text.nullable().describe('what the first has failed with last'),
})

const found = z.object({
  source: text,
  places: z
    .array(place)
    .describe(
      'where history has it; none: something else alone knows of it, or the token is not for history',
    ),
  processed: z.array(z.object({ group: text, at: time })).describe('as far as the inbox remembers'),
  parked: z
    .array(parked)
    .describe('groups in which it waits, as or behind an event of its device that fails'),
  letters: z.array(letter),
  resolutions: z.array(
    z.object({ group: text, letter: count, outcome: z.enum(['resolved', 'discarded']), at: time }),
  ),
  notes: z
    .array(z.object({ gateway: text, epoch: text, sequence: count, reason: text, at: time }))
    .describe('repeats of it, and other readings that came under its name'),
})

const gateway = z.object({
  gateway: text,
  epoch: text,
  lastSequence: count,
  storedAt: time.describe('when that one was stored'),
  gaps: z
    .array(z.tuple([count, count]))
    .describe('of its last 1000 places those that hold nothing and are not accounted for'),
  undelivered: z
    .array(z.tuple([count, count, text]))
    .describe(
      'the newest places of which the gateway has said that nothing comes, and why: expired, evicted, lost',
    ),
})

export const whereAnswer = z.object({
  id: text,
  found: z.array(found),
  more: z.boolean().describe('there are more devices that use this ID: name the source'),
  gateways: z
    .array(gateway)
    .describe(
      'if nothing was found: how far each gateway’s newest ledger is here; those with gaps first, then who spoke last',
    ),
  moreGateways: z.boolean().describe('there are more gateways than these'),
})

export type Found = z.output<typeof found>
export type WhereAnswer = z.output<typeof whereAnswer>
