import { expect, test } from 'vitest'
import { obtainPostgres, obtainRabbit } from '../../../../dev/servers/obtain.ts'

const options = { dir: '/nowhere', say: () => {}, users: [] }

function refused(name: string): unknown {
  return expect.objectContaining({
    code: 'OPTIONS_INVALID',
    message: expect.stringMatching(new RegExp(`^${name} is no URL(?!.*secret)`)),
  })
}

test('servers that are given are taken as they are, and nothing is started', async () => {
  const env = {
    TIDEGATE_AMQP_URL: 'amqps://user:secret@broker.example/vhost',
    TIDEGATE_PG_URL: 'postgresql://user:secret@db.example/tidegate',
  }
  expect(await obtainRabbit({ ...options, env })).toEqual({ how: 'given', url: env.TIDEGATE_AMQP_URL })
  expect(await obtainPostgres({ ...options, env })).toEqual({ how: 'given', url: env.TIDEGATE_PG_URL })
})

test.each(['broker.example', 'http://user:secret@broker.example', 'amqp:// secret'])(
  'a URL that is none is refused by the name of its variable, and never repeated: %s',
  async (url) => {
    const env = { TIDEGATE_AMQP_URL: url, TIDEGATE_PG_URL: url }
    await expect(obtainRabbit({ ...options, env })).rejects.toEqual(refused('TIDEGATE_AMQP_URL'))
    await expect(obtainPostgres({ ...options, env })).rejects.toEqual(refused('TIDEGATE_PG_URL'))
  },
)
