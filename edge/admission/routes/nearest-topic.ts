import { eventTypePattern } from '../../../src/contract/event.ts'
import { editDistance } from '../../../src/edit-distance.ts'
import type { Route } from './routes.ts'

/** Topics of more levels or characters are nobody's slip. */
const levelsMax = 16
const lengthMax = 256
/** What a slip may cost: two wrong letters, or a level that is missing or too many. */
const costMax = 2
const levelCost = 2

/**
 * What a device probably meant that published to a topic no route takes: the nearest topic of a route that makes events,
 * if it is but a slip away. Undefined if there is none.
 */
export function nearestTopic(routes: readonly Route[], deviceId: string, topic: string): string | undefined {
  if (topic.length > lengthMax) return undefined
  const levels = topic.split('/')
  if (levels.length > levelsMax) return undefined
  let best: Slip | undefined
  for (const { topic: pattern, action = 'event', devices } of routes) {
    if (action !== 'event' || (devices && !devices.includes(deviceId))) continue
    const slip = aligned(patternLevels(pattern), levels, deviceId)
    if (slip.cost <= costMax && slip.cost < (best?.cost ?? Infinity)) best = slip
  }
  return best?.levels.join('/')
}

interface Slip {
  cost: number
  /** The topic as the route takes it. */
  levels: readonly string[]
}

function patternLevels(pattern: string): string[] {
  const levels = pattern.split('/')
  return levels.at(-1) === '#' ? levels.slice(0, -1) : levels
}

/** The cheapest way to make the topic one that the pattern takes: by levels changed, left out, or put in. */
function aligned(pattern: readonly string[], levels: readonly string[], deviceId: string): Slip {
  let row: Slip[] = [{ cost: 0, levels: [] }]
  for (const level of levels) row.push(without(row.at(-1) as Slip, level))
  for (const wanted of pattern) {
    const next: Slip[] = [put(row[0] as Slip, wanted, deviceId)]
    levels.forEach((level, index) => {
      next.push(
        cheapest([
          changed(row[index] as Slip, wanted, level, deviceId),
          put(row[index + 1] as Slip, wanted, deviceId),
          without(next[index] as Slip, level),
        ]),
      )
    })
    row = next
  }
  return row.at(-1) as Slip
}

function cheapest(slips: readonly Slip[]): Slip {
  return slips.reduce((best, slip) => (slip.cost < best.cost ? slip : best))
}

function changed({ cost, levels }: Slip, wanted: string, level: string, deviceId: string): Slip {
  if (wanted === '+' || wanted === '{subject}') return { cost, levels: [...levels, level] }
  if (wanted === '{type}')
    return { cost: cost + (eventTypePattern.test(level) ? 0 : Infinity), levels: [...levels, level] }
  const meant = wanted === '{device}' ? deviceId : wanted
  return { cost: cost + lettersBetween(level, meant), levels: [...levels, meant] }
}

function without({ cost, levels }: Slip, level: string): Slip {
  return { cost: cost + (level === '' ? 1 : levelCost), levels }
}

/** Nobody knows which type or subject was left out. */
function put({ cost, levels }: Slip, wanted: string, deviceId: string): Slip {
  if (wanted === '+' || wanted === '{subject}' || wanted === '{type}') return { cost: Infinity, levels }
  return { cost: cost + levelCost, levels: [...levels, wanted === '{device}' ? deviceId : wanted] }
}

/**
 * How many letters differ, two that changed places counting as one, and case as half a letter. A level of few letters that
 * differ is another level.
 */
function lettersBetween(given: string, meant: string): number {
  if (given === meant) return 0
  if (given.toLowerCase() === meant.toLowerCase()) return 0.5
  const cost = editDistance(given.toLowerCase(), meant.toLowerCase(), costMax)
  return cost * 2 < meant.length ? cost : Infinity
}
