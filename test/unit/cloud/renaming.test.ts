import { expect, test } from 'vitest'
import { renameGateway, unnameGateway } from '../../../cloud/gateways/registry-postgres.ts'
import { keyOf } from '../../support/cloud/signed-ledger.ts'
import { testSigner } from '../../support/fakes/signer.ts'

/** What is asked of a database in which these rows are. */
function asked(names: object[], keys: object[] = []) {
  const written: string[] = []
  const query = async <Row extends object>(text: string): Promise<Row[]> => {
    if (/insert|delete/.test(text)) written.push(text)
    if (text.startsWith('\nselect former') || text.startsWith('select former')) return names as Row[]
    return (text.includes('from tidegate.gateway_keys order') ? keys : []) as Row[]
  }
  return { query, written }
}

test('a gateway is renamed in one write, may get its former name back, and not the name of one with other keys (G9)', async () => {
  const circle = asked([{ former: 'a', gateway: 'b' }])
  await renameGateway(circle.query, 'b', 'a')
  expect(circle.written).toHaveLength(1)
  await expect(renameGateway(circle.query, 'a', 'c')).rejects.toMatchObject({ code: 'GATEWAY_TAKEN' })
  const other = asked([], [{ ...keyOf(testSigner(3)), gateway: 'b' }])
  await expect(renameGateway(other.query, 'a', 'b')).rejects.toMatchObject({ code: 'GATEWAY_TAKEN' })
  await expect(renameGateway(other.query, 'a', 'a')).rejects.toMatchObject({ code: 'GATEWAY_TAKEN' })
  await expect(unnameGateway(other.query, 'a', 'b')).rejects.toMatchObject({ code: 'GATEWAY_UNKNOWN' })
})
