import { describe, expect, test } from 'vitest'
import { amqpWay } from '../../../../src/amqp/address.ts'
import { isLoopback } from '../../../../src/listen.ts'
import { exposureOf, refuseInClear, type Way } from '../../../../src/settings/in-clear.ts'
import { cloudConfigSchema } from '../../../../cloud/config.ts'
import { databaseWay } from '../../../../cloud/settings.ts'

const amqp = (url: string, { tls = false, insecure = false } = {}): Way => ({
  key: 'uplink.url',
  insecure,
  ...amqpWay(url, tls),
})
const database = (url: string, insecure = false): Way =>
  databaseWay(cloudConfigSchema.parse({ database: { url, insecure } }).database)

describe('what others could read on the way', () => {
  test.each(['localhost', 'LOCALHOST', '127.0.0.1', '127.3.2.1', '::1', '[::1]'])(
    'is nothing to %s',
    (host) => {
      expect(isLoopback(host)).toBe(true)
    },
  )
  test.each(['0.0.0.0', '127.0.0.1.example', 'localhost.example', '10.0.0.1', '[::]', 'rabbitmq'])(
    'is all to %s',
    (host) => {
      expect(isLoopback(host)).toBe(false)
    },
  )

  test.each([
    amqp('amqp://u:p@127.0.0.1'),
    amqp('amqp://u:p@cloud.example', { tls: true }),
    amqp('amqps://u:p@cloud.example'),
    database('postgres://u:p@h/db?host=/var/run/postgresql'),
    database('postgres://u:p@db.example/db?sslmode=prefer'),
    database('postgres://u:p@db.example/db?sslmode=verify-full'),
    database('postgres://u:p@db.example/db?ssl=true'),
    database('postgres://u:p@db.example/db?uselibpqcompat=true&sslmode=verify-full'),
  ])('is nothing: $key to $host, TLS $tls', (way) => {
    expect(exposureOf(way)).toBeUndefined()
  })

  test.each([
    amqp('amqp://u:p@cloud.example'),
    database('postgres://u:p@db.example/db'),
    database('postgres://u:p@db.example/db?sslmode=disable'),
    database('postgres://u:p@db.example/db?sslmode=no-verify'),
    database('postgres://u:p@db.example/db?uselibpqcompat=true&sslmode=require'),
    database('postgres://u:p@db.example/db?uselibpqcompat=true&sslmode=prefer'),
    database('postgres://u:p@127.0.0.1/db?host=db.example'),
  ])('is refused: $key to $host, TLS $tls; and without the password in the message', (way) => {
    expect(() => refuseInClear(way)).toThrow(
      expect.objectContaining({
        code: 'CONNECTION_IN_CLEAR',
        retryable: false,
        message: expect.not.stringContaining('u:p') as string,
        hint: expect.stringContaining('insecure: true') as string,
      }),
    )
    expect(() => refuseInClear({ ...way, insecure: true })).not.toThrow()
  })
})
