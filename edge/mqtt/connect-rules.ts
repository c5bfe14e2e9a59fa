import { limits } from '../../src/contract/event.ts'
import type { ConnectionRefusal } from './entrance/identity.ts'
import type { TopicRules } from '../admission/routes/topics.ts'

/** The MQTT 3.1.1 CONNACK return codes that we give (3.2.2.3). */
type ReturnCode = 1 | 2 | 3 | 5

/** A CONNECT that is answered with a refusal. */
export class RefusedConnect extends Error {
  override readonly name = 'RefusedConnect'
  readonly reason: ConnectionRefusal
  readonly returnCode: ReturnCode

  constructor(reason: ConnectionRefusal, returnCode: ReturnCode, message: string) {
    super(message)
    this.reason = reason
    this.returnCode = returnCode
  }
}

export interface Connect {
  clientId?: string | undefined
  clean?: boolean | undefined
  will?: { topic: string } | undefined
}

export const clientIdLengthMax = 128
/** The longest name a session can have: `<device ID>/<client ID>`. */
export const sessionIdLengthMax = limits.deviceIdLengthMax + 1 + clientIdLengthMax

/** The identity is part of a session's name, so that no device can end another's session by its client ID. */
export function sessionName(deviceId: string, clientId: string): string {
  return `${deviceId}/${clientId}`
}

/** The identity in a session's name. */
export function deviceOf(sessionName: string): string {
  return sessionName.slice(0, Math.max(0, sessionName.indexOf('/')))
}

/** Why a device may not connect like this, or undefined if it may. */
export function refusalOf(
  connect: Connect,
  deviceId: string,
  rules: Pick<TopicRules, 'mayPublish'>,
): RefusedConnect | undefined {
  const { clientId = '', clean = true, will } = connect
  if (clientId.length > clientIdLengthMax)
    return new RefusedConnect('client-id', 2, `the client ID is longer than ${clientIdLengthMax} characters`)
  // A session that is kept needs a name by which it is found again [MQTT-3.1.3-8].
  if (clientId === '' && !clean)
    return new RefusedConnect('client-id', 2, 'a session that is kept needs a client ID')
  if (will && !isPublishable(will.topic))
    return new RefusedConnect('will-topic', 5, 'the topic of the will is not one to publish to')
  if (will && !rules.mayPublish(deviceId, will.topic))
    return new RefusedConnect('will-topic', 5, `the will's topic ${will.topic} is not the device's to use`)
  return undefined
}

function isPublishable(topic: string): boolean {
  return topic !== '' && !['#', '+', '\u0000'].some((character) => topic.includes(character))
}
