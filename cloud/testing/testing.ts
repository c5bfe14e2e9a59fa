/** What tests of users' consumers import: published as `tidegate/testing`. */
export { testConsumer } from './harness.ts'
export type { TestConsumer, TestConsumerOptions, TestLetter } from './harness.ts'
export type { GivenEvent } from './given.ts'
export type { LawName, LawOptions, LawReport } from './laws/options.ts'
