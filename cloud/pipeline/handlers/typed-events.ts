import type { Event } from '../../../src/contract/envelope.ts'

declare global {
  /**
   * The data of events, by type and version: `{ 'com.acme.climate': { 2: { temperature: number } } }`. `tidegate schema types` writes it into
   * tidegate-events.d.ts, out of the schemas; without that file data is `unknown`.
   */
  // oxlint-disable-next-line typescript/no-empty-object-type, typescript/no-empty-interface -- others add to it
  interface TidegateEvents {}
}

/** What handlers are given: an event, and its device by name. */
export interface HandledEvent extends Event {
  /** The ID of the device that it is of: `partitionkey`. Not part of the event's JSON. */
  readonly device: string
}

/** The data of a type in a version, as its schema says; `unknown` where no file says it. */
export type DataOf<Type, Version> = Type extends keyof TidegateEvents
  ? Version extends keyof TidegateEvents[Type]
    ? TidegateEvents[Type][Version]
    : unknown
  : unknown

/** An event of a type whose data is of a version. */
export interface TypedEvent<Type extends string, Version> extends Omit<HandledEvent, 'type' | 'data'> {
  type: Type
  data: DataOf<Type, Version>
}

/** The versions that a type has; of one that is not in the file of types none, where there is such a file, for it may be misspelt. */
export type VersionsOf<Type> = [keyof TidegateEvents] extends [never]
  ? number
  : Type extends keyof TidegateEvents
    ? keyof TidegateEvents[Type] & number
    : 'no schema of this type: correct it, or run tidegate schema types'

/** The events that a consumer is handed, told apart by `type`. */
export type EventsOf<Wanted> = {
  [Type in keyof Wanted & string]: TypedEvent<Type, Wanted[Type]>
}[keyof Wanted & string]

/** The event with its device: no part of its JSON, and the same object. */
export function withDevice(event: Event): HandledEvent {
  return Object.defineProperty(event, 'device', { value: event.partitionkey }) as HandledEvent
}
