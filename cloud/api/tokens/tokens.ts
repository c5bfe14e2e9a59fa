/** A token on record: one that was minted here, or one of an identity provider that was taken back. */
export interface TokenRecord {
  jti: string
  subject: string
  roles: string[]
  issuedAtMs: number
  expiresAtMs: number
  revokedAtMs: number | null
}

/** Which tokens there are, and which are good no longer. What has expired is forgotten. */
export interface Tokens {
  add(token: Omit<TokenRecord, 'revokedAtMs'>): Promise<void>
  /** Whether it is on record, and taken back. */
  standing(jti: string): Promise<'good' | 'revoked' | 'unknown'>
  /** Newest first, at most a thousand. */
  list(): Promise<TokenRecord[]>
  /** Takes it back, known or not: until `untilMs`, after which no such token can be good any more, it is remembered. */
  revoke(jti: string, untilMs: number): Promise<TokenRecord>
}
