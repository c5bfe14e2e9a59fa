/** A group that does not simply work; one that does has none. */
export interface GroupState {
  readonly group: string
  /**
   * `paused`: by a person. `tripped`: its handler fails for most devices. `trial`: one instance tries a few events, and the others
   * wait for what comes of it.
   */
  readonly state: 'paused' | 'tripped' | 'trial'
  readonly sinceMs: number
  /** When a pause ends by itself, a trial may begin, or the instance that tries is believed to be gone. */
  readonly untilMs: number | undefined
  /** How often in a row it tripped. */
  readonly trips: number
  readonly actor: string
  readonly reason: string
}

export interface Pause {
  group: string
  actor: string
  reason: string
  /** Ends by itself after that; undefined: when somebody resumes it. */
  forMs?: number | undefined
}

/**
 * What all instances know of the groups. Port; the adapter is group-states-postgres.ts. Each change is compared with what is there, so
 * that of two instances, and of two people, one has made it.
 */
export interface GroupStates {
  /** Of all groups, with the database's time, by which those are meant. @throws TidegateError `DATABASE_*` */
  read(): Promise<{ states: GroupState[]; nowMs: number }>
  /** Over whatever it was. */
  pause(pause: Pause): Promise<void>
  /** Back to work, whoever had paused it and why ever it had tripped. Answers whether there was anything. */
  resume(group: string): Promise<boolean>
  /** Unless it has a state already. */
  trip(group: string, instance: string, reason: string, forMs: number): Promise<boolean>
  /** Of one that has tripped, once its time is over: this instance tries for `leaseMs`, which `renew` makes longer. */
  beginTrial(group: string, instance: string, leaseMs: number): Promise<boolean>
  /** Answers whether this instance still is the one. */
  renewTrial(group: string, instance: string, leaseMs: number): Promise<boolean>
  /** Nothing came of it: any instance may begin one. */
  yieldTrial(group: string, instance: string): Promise<boolean>
  /** It has failed. */
  failTrial(group: string, instance: string, reason: string, forMs: number): Promise<boolean>
  /** It went well: the group works as before. */
  endTrial(group: string, instance: string): Promise<boolean>
}
