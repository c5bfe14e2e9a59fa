import { describe, expect, test } from 'vitest'
import { createPublisher, type Publishing } from '../../../cloud/amqp/publisher-rabbit.ts'
import { asChannel, FakeChannel } from '../../support/cloud/fake-channel.ts'

const letter = { routingKey: 'a.dead' }
const fateOf = ({ proven }: Publishing): Promise<string> =>
  proven.then(
    () => 'proven',
    (error: Error) => error.message,
  )
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a publisher', () => {
  test('tells what was confirmed before the channel ended, and fails the rest with what ended it (G5)', async () => {
    const channel = new FakeChannel()
    const publisher = await createPublisher(asChannel(channel))
    const fates = [1, 2].map(() => fateOf(publisher.publish(letter, Buffer.from('x'))))
    await turn()
    channel.ack(1)
    channel.emit('error', new Error('no exchange'))
    expect(await Promise.all(fates)).toEqual(['proven', 'no exchange'])
    expect(await fateOf(publisher.publish(letter, Buffer.from('x')))).toBe('no exchange')
  })

  test('takes nothing once it is closing, and what is under way is still proven (G5)', async () => {
    const channel = new FakeChannel(1000)
    const publisher = await createPublisher(asChannel(channel))
    const fates = [1, 2, 3].map(() => fateOf(publisher.publish(letter, Buffer.alloc(900))))
    void publisher.close()
    void publisher.close()
    const late = fateOf(publisher.publish(letter, Buffer.alloc(900)))
    channel.socket.resume()
    await turn()
    await turn()
    for (const tag of [1, 2, 3]) channel.ack(tag)
    expect(await Promise.all(fates)).toEqual(['proven', 'proven', 'proven'])
    expect(await late).toBe('the publisher is closing')
    expect(channel.closed).toBe(1)
  })

  test('sends nothing of a message that was taken back before its bytes began to go out (G5)', async () => {
    const channel = new FakeChannel(1000)
    const publisher = await createPublisher(asChannel(channel))
    const first = publisher.publish(letter, Buffer.alloc(2000, 'a'))
    const second = publisher.publish(letter, Buffer.alloc(2000, 'b'))
    const third = publisher.publish(letter, Buffer.alloc(2000, 'c'))
    expect(first.withdraw()).toBe(false)
    expect(second.withdraw()).toBe(true)
    let sent = ''
    channel.socket.on('data', (data: Buffer) => (sent += data.toString('latin1')))
    await turn()
    await turn()
    channel.ack(1)
    channel.ack(2)
    expect(await Promise.all([fateOf(first), fateOf(third)])).toEqual(['proven', 'proven'])
    expect([sent.includes('aaa'), sent.includes('bbb'), sent.includes('ccc')]).toEqual([true, false, true])
  })

  test('is over when its channel ends while it is put into confirm mode', async () => {
    const channel = new FakeChannel()
    channel.onConfirmSelect = () => channel.emit('close')
    const publisher = await createPublisher(asChannel(channel))
    await turn()
    expect(publisher.over).toMatchObject({ error: { code: 'CHANNEL_CLOSED' } })
  })

  test('that cannot be made leaves no channel open', async () => {
    const channel = new FakeChannel()
    channel.onConfirmSelect = () => {
      throw new Error('refused')
    }
    await expect(createPublisher(asChannel(channel))).rejects.toThrow('refused')
    expect(channel.closed).toBe(1)
  })
})
