import { mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createTestPki } from '../../support/edge/test-broker.ts'
import {
  closed,
  denying,
  issueListenerAnew,
  publish,
  refusal,
  served,
  usePlaces,
} from '../../support/edge/trusting-broker.ts'

const dayMs = 86_400_000
const place = usePlaces()

test('a new certificate of the listener is shown to whoever comes, and nobody who is there notices', async () => {
  const here = await place()
  const clients = [
    await here.connect(await here.pki.device('a1')),
    await here.connect(await here.pki.device('a2')),
  ]
  let closes = 0
  for (const client of clients) client.on('close', () => (closes += 1))
  const before = await served(here.port, await here.pki.device('a3'))
  await issueListenerAnew(here)
  await here.reloaded(1)
  const after = await served(here.port, await here.pki.device('a3'))
  expect(after).not.toBe(before)
  for (const [index, client] of clients.entries()) await publish(client, `a${index + 1}`)
  expect({ closes, ended: here.seen.ended, reloads: here.seen.reloads }).toEqual({
    closes: 0,
    ended: [],
    reloads: ['loaded'],
  })
})

test('of a faulty file what was in force stays, with an error, and what is sound beside it is taken all the same', async () => {
  const here = await place({
    prepare: ({ files }) => writeFile(files.denied, denying('device a1')),
  })
  const tls = await here.pki.device('a2')
  const before = await served(here.port, tls)
  const a2 = await here.connect(tls)
  const codes = (): unknown[] => here.seen.logs.filter(({ level }) => level === 50).map(({ code }) => code)
  await writeFile(here.files.denied, denying('device a1', 'devise a2'))
  await here.reloaded(1)
  expect(codes()).toEqual(['DENIED_INVALID'])
  expect(here.seen.logs.find(({ level }) => level === 50)?.['detail']).toContain(
    `${here.files.denied} has lines that cannot be read: line 2`,
  )
  await refusal(here, await here.pki.device('a1'))
  expect(here.seen.refused).toEqual(['denied'])

  await writeFile(here.files.cert, 'no certificate')
  await writeFile(here.files.crl, 'no list')
  await writeFile(here.files.denied, denying('device a3'))
  await here.clock.until(() => codes().length >= 3)
  expect(codes()).toEqual(['DENIED_INVALID', 'TLS_FILE_CORRUPT', 'CRL_CORRUPT'])
  expect(new Set(here.seen.reloads)).toEqual(new Set(['failed']))
  expect(await served(here.port, tls)).toBe(before)
  await here.connect(await here.pki.device('a1'))
  await refusal(here, await here.pki.device('a3'))
  await publish(a2, 'a2')
})

test('a CA is dropped though the listener’s own certificate and key are faulty, and these are taken though the CAs are', async () => {
  const second = await createTestPki()
  onTestFinished(() => second.close())
  const here = await place({
    async prepare({ files }) {
      await writeFile(
        `${files.ca}.both`,
        (await readFile(files.ca, 'utf8')) + (await readFile(second.caFile)),
      )
      files.ca += '.both'
    },
  })
  const tls = await here.pki.device('a1')
  const before = await served(here.port, tls)
  const of2 = await here.connect({ ...(await second.device('of-2')), ca: tls.ca })
  await writeFile(here.files.cert, 'no certificate')
  await writeFile(here.files.ca, tls.ca)
  await here.reloaded(1)
  await closed(of2)
  expect([here.seen.ended, new Set(here.seen.reloads)]).toEqual([['unknown-ca'], new Set(['failed'])])
  expect(await served(here.port, tls)).toBe(before)

  await writeFile(here.files.ca, 'no CA')
  await issueListenerAnew(here)
  // A faulty file is tried again each minute: how often is a question of how long the disk takes.
  while ((await served(here.port, tls)) === before) await here.clock.advance(100)
  expect(new Set(here.seen.reloads)).toEqual(new Set(['failed']))
})

test('a new certificate that is not valid yet is told of, and shown once it is, without anybody writing it again', async () => {
  const here = await place()
  const tls = await here.pki.device('a1')
  const before = await served(here.port, tls)
  // Valid from a day before.
  await issueListenerAnew(here, new Date(here.clock.now() + dayMs + 3_600_000))
  await here.reloaded(1)
  expect(here.seen.logs).toContainEqual(expect.objectContaining({ level: 50, code: 'TLS_NOT_YET_VALID' }))
  expect(await served(here.port, tls)).toBe(before)
  await here.clock.advance(3_600_000)
  await here.clock.until(() => here.seen.reloads.at(-1) === 'loaded')
  expect(here.seen.reloads.length).toBeLessThan(100)
})

test('files that are reached by links, all swung round at once, are read again', async () => {
  let folder = ''
  const here = await place({
    async prepare({ pki, files }) {
      folder = pki.folder
      await mkdir(join(folder, 'v1'))
      await mkdir(join(folder, 'v2'))
      await writeFile(join(folder, 'v1', 'denied'), denying())
      await writeFile(join(folder, 'v2', 'denied'), denying('device a1'))
      await symlink('v1', join(folder, '..data'))
      await symlink(join('..data', 'denied'), join(folder, 'denied'))
      files.denied = join(folder, 'denied')
    },
  })
  const client = await here.connect(await here.pki.device('a1'))
  await symlink('v2', join(folder, '..data.new'))
  await rename(join(folder, '..data.new'), join(folder, '..data'))
  await here.reloaded(1)
  await closed(client)
  expect(here.seen.ended).toEqual(['denied'])
})
