/**
 * Who shares the partitions of a group. Port; the adapter is members-postgres.ts. RabbitMQ's single active consumer
 * gives a partition to whoever came first and never takes it back, so instances must know of each other to share.
 */
export interface Members {
  /** Says that we are there and answers, per group, who is: sorted, ourselves included. */
  beat(groups: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>>
  /** Says good-bye; others may count on our partitions at once. */
  leave(): Promise<void>
}

/** The member a partition should be with: an even share for each, the same answer for everyone who asks. */
export function ownerOf(partition: number, members: readonly string[]): string | undefined {
  return members.toSorted()[partition % members.length]
}
