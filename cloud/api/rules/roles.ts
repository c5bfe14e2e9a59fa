/** What a role may; docs/API.md shows the same table, and a house test ties the two. */
export const rightsByRole = {
  viewer: ['see'],
  analyst: ['see', 'payload'],
  operator: ['see', 'operate'],
  editor: ['see', 'payload', 'edit'],
  admin: ['see', 'payload', 'operate', 'edit', 'deeds', 'tokens', 'schemas', 'snapshot'],
  auditor: ['see', 'deeds'],
  registrar: ['see', 'schemas', 'snapshot'],
  gateway: ['snapshot'],
} as const satisfies Readonly<Record<string, readonly Right[]>>

/** What each right is. */
export const rightTexts = {
  see: 'numbers, names, times and codes; never a byte of what a device sent',
  payload: 'what devices sent, what handlers said of it, and patches',
  operate:
    'replay, stop, discard, release; notes, owner, mute and resolve of failure groups; versions of projections',
  edit: 'edit a letter, admit a quarantined reading',
  deeds: 'who did what and why',
  tokens: 'list tokens and take them back',
  schemas: 'judge schemas and publish them',
  snapshot: 'fetch the signed snapshot of schemas, as gateways do',
} as const

export type Right = keyof typeof rightTexts
export type Role = keyof typeof rightsByRole

export const roleNames = Object.keys(rightsByRole) as Role[]

export function isRole(text: unknown): text is Role {
  return typeof text === 'string' && Object.hasOwn(rightsByRole, text)
}

/** Who asks, once it is known. */
export interface Caller {
  /** Whom deeds are put down to: `local:<user>` of the socket, `token:<subject>` of our own tokens, `<provider>:<subject>` of an identity provider’s. What stands before the first colon says who vouches for the rest. */
  actor: string
  roles: readonly Role[]
  /** The only consumer groups, and the only event types, that it is about; undefined: all. */
  groups?: readonly string[] | undefined
  types?: readonly string[] | undefined
  /** Came by the socket of the machine's owner. */
  local: boolean
  /** When its token ends, ms since the Unix epoch; undefined by the socket. */
  untilMs?: number | undefined
}

export function hasRight({ roles }: Caller, right: Right): boolean {
  return roles.some((role) => (rightsByRole[role] as readonly Right[]).includes(right))
}

/** Whether a caller may know of something of this group and type. What has no type is not for those who are for some types. */
export function isFor(caller: Caller, group: string, type: string | null): boolean {
  const { groups, types } = caller
  if (groups !== undefined && !groups.includes(group)) return false
  return types === undefined || (type !== null && types.includes(type))
}
