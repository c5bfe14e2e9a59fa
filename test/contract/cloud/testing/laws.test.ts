import { expect, test } from 'vitest'
import { defineConsumer } from '../../../../cloud/consumer.ts'
import { testConsumer } from '../../../../cloud/testing/testing.ts'
const sql = 'create table alerts (number serial primary key, device text not null, temperature float8, site text unique, count int)'
const type = 'com.acme.climate'
test('good', async () => {
  const t = await testConsumer(defineConsumer({ group: 'alerts', types: [type], async handle(event, { tx }) {
    await tx.query`insert into alerts (device, temperature) values (${event.device}, ${(event.data as any).temperature})`
  } }), { sql })
  console.time('laws'); console.log(await t.laws()); console.timeEnd('laws')
  await t.close()
})
test('memory', async () => {
  const counts = new Map<string, number>()
  const t = await testConsumer(defineConsumer({ group: 'alerts', types: [type], async handle(event, { tx }) {
    const n = (counts.get(event.device) ?? 0) + 1; counts.set(event.device, n)
    await tx.query`insert into alerts (device, site, count) values (${event.device}, ${event.device}, ${n}) on conflict (site) do update set count = excluded.count`
  } }), { sql })
  console.time('laws'); await t.laws({ reset: () => counts.clear() }).then(console.log, (e) => console.log(e.message)); console.timeEnd('laws')
  await t.close()
})
test('order', async () => {
  const t = await testConsumer(defineConsumer({ group: 'alerts', types: [type], async handle(event, { tx }) {
    await tx.query`insert into alerts (device, site) values (${event.device}, 'plant') on conflict (site) do update set device = excluded.device`
  } }), { sql })
  console.time('laws'); await t.laws().then(console.log, (e) => console.log(e.message)); console.timeEnd('laws')
  await t.close()
})
test('outside', async () => {
  const sirens: string[] = []
  const t = await testConsumer(defineConsumer({ group: 'alerts', types: [type], handle(event) { sirens.push(event.id) } }), { sql })
  console.time('laws'); await t.laws({ reset: () => sirens.splice(0), outside: () => sirens.toSorted() } as any).then(console.log, (e) => console.log(e.message)); console.timeEnd('laws')
  await t.close()
})
test('limits', async () => {
  const t = await testConsumer(defineConsumer({ group: 'alerts', types: [type], async handle(event, { tx }) {
    await tx.query`insert into alerts (device, count) values (${event.device}, ${(event.data as any).temperature})`
  } }), { sql })
  console.time('laws'); await t.laws().then(console.log, (e) => console.log(e.message)); console.timeEnd('laws')
  await t.close()
})
