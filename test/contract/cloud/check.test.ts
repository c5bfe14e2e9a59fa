import { describe, expect, test } from 'vitest'
import { checkCloud } from '../../../cloud/check.ts'
import { cloudConfigSchema } from '../../../cloud/config.ts'

async function lineOf(url: string): Promise<string | undefined> {
  const config = cloudConfigSchema.parse({ database: { url }, ops: { port: 0 } })
  const { text } = await checkCloud(config)
  return text.split('\n').find((line) => line.includes(' database.url '))
}

describe('a look at database.url says what the driver will do', () => {
  test.each([
    [
      'postgres://u@%2Fvar%2Frun%2Fpostgresql/db',
      /^ok .* a socket of this machine, in \/var\/run\/postgresql$/,
    ],
    ['postgres://u@h/db?host=/var/run/postgresql', /^ok .* in \/var\/run\/postgresql$/],
    ['postgres://u@192.0.2.1/db', /^FAULT .*in clear.*CONNECTION_IN_CLEAR/],
    ['postgres://u@192.0.2.1/db?sslmode=disable', /^FAULT .*in clear.*CONNECTION_IN_CLEAR/],
    ['postgres://u@192.0.2.1/db?ssl=0', /^FAULT .*in clear.*CONNECTION_IN_CLEAR/],
    ['postgres://u@192.0.2.1/db?ssl=true', /^ok .*is 192\.0\.2\.1$/],
    ['postgres://u@192.0.2.1/db?sslmode=verify-full', /^ok .*is 192\.0\.2\.1$/],
    ['postgres://u@127.0.0.1/db?host=192.0.2.1', /^FAULT .*to 192\.0\.2\.1 in clear/],
    ['postgres://u@[::1]/db', /^ok .*::1$/],
    ['postgres://u@192.0.2.1/db?sslmode=verify_full', /^FAULT .*says sslmode=verify_full/],
  ])('%s', async (url, says) => {
    expect(await lineOf(url)).toMatch(says)
  })
})

describe('a look at projections', () => {
  test.each([
    [{}, /^ok .*rollups 1$/],
    [{ projections: ['latest'] }, /^warn .*latest 1; rollups is not listed/],
    [{ consumers: [{ module: './none.js' }] }, /^warn .*history is not among the consumers/],
  ])('tells of rollups that would stand still: %j', async (settings, says) => {
    const config = cloudConfigSchema.parse({ ...settings, ops: { port: 0 } })
    const { text } = await checkCloud(config)
    expect(text.split('\n').find((line) => line.includes(' projections '))).toMatch(says)
  })
})
