import { expect, test } from 'vitest'
import {
  hashPassword,
  renderConfig,
  renderDefinitions,
  renderPlugins,
} from '../../../../dev/servers/rabbit/files.ts'

test("a password hash is the one RabbitMQ's own guide computes", () => {
  // "Credentials and Passwords", section "Computing Password Hashes".
  expect(hashPassword('test12', Buffer.from('908DC60A', 'hex'))).toBe(
    'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR',
  )
})

test('the same password is salted anew each time', () => {
  expect(hashPassword('secret')).not.toBe(hashPassword('secret'))
})

test('definitions hold every user with their rights in every virtual host, and no clear password', () => {
  const user = { name: 'gw', password: 'clear', permissions: { configure: '', write: '^x$', read: '' } }
  const text = renderDefinitions([user], ['/', 'other'])
  expect(text).not.toContain('clear')
  expect(JSON.parse(text)).toMatchObject({
    users: [{ name: 'gw', tags: [] }],
    vhosts: [{ name: '/' }, { name: 'other' }],
    permissions: [
      { user: 'gw', vhost: '/', configure: '', write: '^x$', read: '' },
      { user: 'gw', vhost: 'other', configure: '', write: '^x$', read: '' },
    ],
  })
})

test('an AMQPS listener always demands a certificate it can verify', () => {
  const files = { caFile: '/c/ca.pem', certFile: '/c/cert.pem', keyFile: '/c/key.pem' }
  const config = renderConfig({
    listen: '127.0.0.1:5',
    definitionsFile: '/d.json',
    tls: { listen: '127.0.0.1:6', files },
  })
  expect(config.split('\n')).toEqual(
    expect.arrayContaining([
      'listeners.tcp.1 = 127.0.0.1:5',
      'listeners.ssl.1 = 127.0.0.1:6',
      'ssl_options.verify = verify_peer',
      'ssl_options.fail_if_no_peer_cert = true',
      'load_definitions = /d.json',
    ]),
  )
})

test('plugins are an Erlang list', () => {
  expect(renderPlugins([])).toBe('[].\n')
  expect(renderPlugins(['rabbitmq_management', 'rabbitmq_stream'])).toBe(
    '[rabbitmq_management,rabbitmq_stream].\n',
  )
})
