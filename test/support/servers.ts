import { inject } from 'vitest'

/** AMQP URL of a fresh, empty virtual host on the run's RabbitMQ, as a user with every permission. */
export function createVhost(): Promise<string> {
  return ask('/vhost')
}

/** URL of a fresh, empty database on the run's PostgreSQL, as its superuser. */
export function createDatabase(): Promise<string> {
  return ask('/database')
}

/** The same with all of Tidegate's tables, and with the roles that are shipped. */
export function createReadyDatabase(): Promise<string> {
  return ask('/database/ready')
}

export type Role = 'owner' | 'writer' | 'module' | 'reader' | 'auditor'

/** Makes the roles that are shipped for a database; returns its URL as a login of one of them. */
export async function createRoles(databaseUrl: string): Promise<(role: Role) => string> {
  await ask('/roles', databaseUrl)
  return (role) => urlAs(role, databaseUrl)
}

/** As a login of a role of a database that has the roles. */
export function urlAs(role: Role, databaseUrl: string): string {
  const url = new URL(databaseUrl)
  url.username = url.password = `test_${role}`
  return url.href
}

/** Runs rabbitmqctl on the run's RabbitMQ (about half a second); returns what it printed. */
export function rabbitmqctl(...args: string[]): Promise<string> {
  return ask('/rabbitmqctl', args)
}

async function ask(service: string, body: unknown = {}): Promise<string> {
  const response = await fetch(inject('serverDeskUrl') + service, {
    method: 'POST',
    body: JSON.stringify(body),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(text)
  return text
}
