import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineConsumer } from '../../../../cloud/consumer.ts'
import { testConsumer } from '../../../../cloud/testing/testing.ts'

const sql = 'create table alerts (number serial primary key, device text not null, at timestamptz, temperature numeric(5, 2))'
const alerts = defineConsumer({
  group: 'alerts',
  types: ['com.acme.climate'],
  retry: ['5s', '1m'],
  async handle(event, { tx }) {
    const { temperature } = event.data as { temperature: number }
    if (temperature < 60) return
    await tx.query`insert into alerts (device, at, temperature) values (${event.device}, now(), ${temperature})`
  },
})

test('works', async () => {
  console.time('open'); const t = await testConsumer(alerts, { sql }); console.timeEnd('open')
  console.time('given'); await t.given('com.acme.climate', [{ device: 'boiler-7', data: { temperature: 71 } }, { data: { temperature: 12 } }]); console.timeEnd('given')
  console.log(await t.rows`select * from alerts where device = ${'boiler-7'}`)
  console.time('fail'); await t.failing(new Error('siren')).given('com.acme.climate', { data: { temperature: 99 } }); console.timeEnd('fail')
  console.log(t.waiting, t.deadLetters)
  console.time('adv'); await t.advance('5s'); console.timeEnd('adv')
  console.log(t.waiting, t.deadLetters)
  console.time('adv'); await t.advance('2m'); console.timeEnd('adv')
  console.log(t.waiting, t.deadLetters, await t.rows`select * from alerts`)
  console.time('close'); await t.close(); console.timeEnd('close')
  console.time('open2'); const u = await testConsumer(alerts, { sql }); console.timeEnd('open2'); await u.close()
})
