import { folderOrigin } from './origin.ts'
import { registryOrigin, type RegistryOriginOptions } from './origin-postgres.ts'
import { type ReloadingOptions, startReloading } from './reloading.ts'

/** Does it again while what it needs is not reachable yet. */
export type Opening = <T>(open: () => Promise<T>) => Promise<T>

export interface KeepingOptions extends Omit<ReloadingOptions, 'origin'>, RegistryOriginOptions {
  registry: 'folder' | 'database'
  until: Opening
}

/**
 * Takes what the database has of schemas, or what there is in the folder by now, and what comes there while the cloud runs, until closed.
 * @throws TidegateError `SCHEMA_*`
 */
export async function keepReading(options: KeepingOptions): Promise<{ close(): Promise<void> }> {
  const { registry, folder, schemas, until } = options
  if (registry === 'folder' && folder === undefined) return { close: () => Promise.resolve() }
  const origin =
    registry === 'database' || folder === undefined ? registryOrigin(options) : folderOrigin(folder)
  const found = await until(() => origin.read())
  await schemas.take(found)
  return startReloading({ ...options, origin })
}
