import type { Building, JsonObject } from '../building.ts'
import { fractionOf, timeText } from '../times.ts'

/**
 * Makes of a message, read like the others, what ProtoJSON has for it; undefined: it stays an object. What was counted of fields
 * that are not in it is given back, so that the bounds are those of the JSON.
 */
export type Mapping = (message: JsonObject, building: Building) => unknown

function instead(building: Building, { seconds, nanos }: JsonObject, text: string): string {
  building.giveBack(seconds)
  building.giveBack(nanos)
  return building.ascii(text)
}

const valueOf: Mapping = ({ value }) => value

/** One of a oneof. None is no value, which is not valid, and as good as null. */
const jsonValue: Mapping = (message, building) => {
  if (Object.hasOwn(message, 'nullValue')) building.giveBack(message['nullValue'])
  else if (Object.keys(message).length > 0) return Object.values(message)[0]
  return building.none()
}

/**
 * The well-known types whose JSON is not an object of their fields. A Timestamp or Duration that is none stays the object that it
 * is. Any is not looked into: it keeps its `typeUrl` and, as base64, its `value`; FieldMask keeps its `paths`.
 */
export const wellKnown: ReadonlyMap<string, Mapping> = new Map<string, Mapping>([
  [
    '.google.protobuf.Timestamp',
    (message, building) => {
      const text = timeText(Number(message['seconds']), Number(message['nanos']))
      return text === undefined ? undefined : instead(building, message, text)
    },
  ],
  [
    '.google.protobuf.Duration',
    (message, building) => {
      const [seconds, nanos] = [Number(message['seconds']), Number(message['nanos'])]
      if (Math.abs(seconds) > durationSecondsMax || Math.abs(nanos) >= 1e9 || seconds * nanos < 0)
        return undefined
      const sign = seconds < 0 || nanos < 0 ? '-' : ''
      const text = `${sign}${Math.abs(seconds)}${fractionOf(Math.abs(nanos))}s`
      return instead(building, message, text)
    },
  ],
  ['.google.protobuf.Struct', ({ fields }) => fields],
  ['.google.protobuf.ListValue', ({ values }) => values],
  ['.google.protobuf.Value', jsonValue],
  ...['Double', 'Float', 'Int64', 'UInt64', 'Int32', 'UInt32', 'Bool', 'String', 'Bytes'].map(
    (name): [string, Mapping] => [`.google.protobuf.${name}Value`, valueOf],
  ),
])

const durationSecondsMax = 315_576_000_000
