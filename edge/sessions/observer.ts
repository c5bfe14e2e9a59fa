import type { IngestObserver } from '../admission/observer.ts'

/**
 * What was not kept or sent because a bound was met: for a session, on a topic, a message of QoS 0 for a subscriber that
 * does not read, one of QoS 2 that its device would have to release.
 */
export const notKeptKinds = ['queued', 'retained', 'unsent', 'unreleased'] as const

export type NotKept = (typeof notKeptKinds)[number]

/** What sessions tell whoever watches them; a QoS 2 message that is sent again is a publish too. Must not throw. */
export interface SessionsObserver extends Pick<IngestObserver, 'published'> {
  subscriptionRefused(): void
  notKept(what: NotKept): void
}

export const silentSessionsObserver: SessionsObserver = {
  published() {},
  subscriptionRefused() {},
  notKept() {},
}
