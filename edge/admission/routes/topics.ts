/**
 * Who may use which topic. A device owns `devices/<its id>/…`; whatever else it may do is configured. Filters
 * follow MQTT 3.1.1, 4.7; `{device}` in a configured filter stands for the identity.
 */
export interface TopicRules {
  /** Also true for topics that a configured route lets this device publish to. */
  mayPublish: (deviceId: string, topic: string) => boolean
  maySubscribe: (deviceId: string, filter: string) => boolean
  /** Checked again on every delivery: a session may hold messages from before a change of the rules. */
  mayRead: (deviceId: string, topic: string) => boolean
  /** Whether what a device publishes here goes on to subscribers and may be retained. */
  isDistributed: (deviceId: string, topic: string) => boolean
}

export interface TopicRulesOptions {
  /** Filters that every device may subscribe to besides its own, such as `fleet/announcements/#`. */
  subscribe: readonly string[]
  /** Whether a route lets this device publish to this topic. */
  isRouted(deviceId: string, topic: string): boolean
  /** Whether a route says that what this device publishes to this topic goes no further. */
  isIgnored(deviceId: string, topic: string): boolean
}

export function createTopicRules(options: TopicRulesOptions): TopicRules {
  const maySubscribe = (deviceId: string, filter: string): boolean =>
    isOwnTopic(deviceId, filter) ||
    options.subscribe.some((allowed) => covers(allowed.replaceAll('{device}', deviceId), filter))
  return {
    mayPublish: (deviceId, topic) => isOwnTopic(deviceId, topic) || options.isRouted(deviceId, topic),
    maySubscribe,
    mayRead: maySubscribe,
    isDistributed: (deviceId, topic) => !options.isIgnored(deviceId, topic),
  }
}

const root = 'devices/'

/** `devices/<deviceId>/…`: a wildcard below is the device's own; one in its place is not. */
export function isOwnTopic(deviceId: string, topic: string): boolean {
  const end = root.length + deviceId.length
  return topic.startsWith(root) && topic.startsWith(deviceId, root.length) && topic.charCodeAt(end) === slash
}
const slash = 47

/** Whether everything that `wanted` (a topic or a filter) can match is matched by `allowed`. */
export function covers(allowed: string, wanted: string): boolean {
  const allowedLevels = allowed.split('/')
  const wantedLevels = wanted.split('/')
  // Wildcards do not reach topics of the server's own [MQTT-4.7.2-1].
  if (wanted.startsWith('$') && !allowed.startsWith('$')) return false
  for (const [index, level] of allowedLevels.entries()) {
    if (level === '#') return true
    const other = wantedLevels[index]
    if (other === undefined || other === '#') return false
    if (level !== '+' && level !== other) return false
  }
  return allowedLevels.length === wantedLevels.length
}

/** Why a subscription filter is not one, or undefined if it is (MQTT 3.1.1, 4.7.1). */
export function filterFault(filter: string): string | undefined {
  const levels = filter.split('/')
  if (filter === '') return 'must not be empty'
  if (filter.includes('\u0000')) return 'must not hold a NUL character'
  if (levels.some((level) => level.includes('+') && level !== '+')) return '+ must be a whole level'
  if (levels.some((level) => level.includes('#') && level !== '#')) return '# must be a whole level'
  if (levels.slice(0, -1).includes('#')) return '# must be the last level'
  return undefined
}
