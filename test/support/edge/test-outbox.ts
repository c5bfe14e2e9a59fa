import { silentOutboxObserver } from '../../../edge/outbox/observer.ts'
import { type Inspectable, openOutbox } from '../../../edge/outbox/open.ts'
import type { OutboxOptions } from '../../../edge/outbox/options.ts'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'

/** The real outbox of `gw-1` in a folder of the test's choice, by the system's clock and saying nothing. */
export function openTestOutbox(
  options: Pick<OutboxOptions, 'folder'> & Partial<OutboxOptions>,
): Promise<Outbox & Inspectable> {
  return openOutbox({
    gateway: 'gw-1',
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    observer: silentOutboxObserver,
    ...options,
  })
}
