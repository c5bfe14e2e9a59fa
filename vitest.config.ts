import { defineConfig } from 'vitest/config'
import { SlowestLayerFirst } from './test/support/sequencer.ts'

const everywhere = {
  retry: 0,
  testTimeout: 60_000,
  hookTimeout: 120_000,
  sequence: { shuffle: { tests: true } },
}

// Files that leave nothing behind share what they import, which takes longer than many of them.
const shared = { ...everywhere, isolate: false }

export default defineConfig({
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    // Who waits for a server, a timer or a poll leaves its core to another.
    maxWorkers: 3,
    sequence: { sequencer: SlowestLayerFirst },
    projects: [
      { test: { ...shared, name: 'unit', include: ['test/unit/**/*.test.ts'], pool: 'threads' } },
      {
        test: {
          ...shared,
          name: 'contract',
          include: ['test/{contract,house}/**/*.test.ts'],
          exclude: ['test/contract/cloud/**'],
        },
      },
      {
        test: {
          ...shared,
          // The same contract for what the door leaves to aedes (docs/ARCHITECTURE.md, "Two ways in").
          name: 'contract through aedes',
          include: ['test/contract/edge/broker*.test.ts'],
          env: { TIDEGATE_TEST_WAY: 'aedes' },
        },
      },
      {
        test: {
          ...everywhere,
          name: 'system',
          include: ['test/{contract/cloud,simulation,fault,e2e}/**/*.test.ts'],
        },
      },
    ],
  },
})
