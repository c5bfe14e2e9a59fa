import { describe, expect, test } from 'vitest'
import { attemptTimeoutMs, diallingOf, faultOfAmqpUrl, vhostOf, whereOf } from '../../../src/amqp/address.ts'

describe('an AMQP URL', () => {
  test.each([
    ['amqp://u:p@[::1]:5672/v', '::1', '[::1]:5672'],
    ['amqps://u:p@[::1]', '::1', '[::1]:5671'],
    ['amqp://[::ffff:127.0.0.1]', '::ffff:7f00:1', '[::ffff:7f00:1]:5672'],
    ['amqp://127.0.0.1', '127.0.0.1', '127.0.0.1:5672'],
    ['AMQPS://rabbit.example', 'rabbit.example', 'rabbit.example:5671'],
    ['amqp://rabbit.example:1234/v', 'rabbit.example', 'rabbit.example:1234'],
  ])('leads to a host in the form that sockets take: %s', (url, host, where) => {
    expect(diallingOf(url, 10_000).host).toBe(host)
    expect(whereOf(url)).toBe(where)
    expect(faultOfAmqpUrl(url)).toBeUndefined()
  })

  test('whose name ends in a dot asks for the certificate of the name without it', () => {
    expect(diallingOf('amqps://rabbit.example.', 10_000)).toMatchObject({
      host: 'rabbit.example.',
      servername: 'rabbit.example',
    })
  })

  test('names its virtual host percent-encoded', () => {
    expect(vhostOf('amqp://h/a%2Fb')).toBe('a/b')
    expect(vhostOf('amqp://h/%2F')).toBe('/')
    expect(vhostOf('amqp://h')).toBe('/')
  })

  test.each([
    ['amqp://h/prod/', 'prod'],
    ['amqp://h:5672//', '/'],
    ['amqp://h/', '/'],
    ['amqp://h/%2F/', '/'],
  ])('may end in a /, which is none of its virtual host: %s', (url, vhost) => {
    expect(faultOfAmqpUrl(url)).toBeUndefined()
    expect(vhostOf(url)).toBe(vhost)
  })

  test.each([
    ['amqp://u:50%@h', /%25/],
    ['amqp://h/50%', /%25/],
    ['amqp://h/a/b', /%2F/],
    ['amqp://h/a//', /%2F/],
    ['amqp:///v', /no host/],
  ])('with a fault is told how: %s', (url, says) => {
    expect(faultOfAmqpUrl(url)).toMatch(says)
  })

  test('an address of a name is waited for as long as half of a connection may take', () => {
    expect(attemptTimeoutMs(10_000)).toBe(5_000)
    expect(diallingOf('amqp://h', 3_000).autoSelectFamilyAttemptTimeout).toBe(1_500)
  })
})
