import 'reflect-metadata'
import { X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { authoritiesOf, credentialOf } from '../../../edge/mqtt/trust/credential.ts'
import { createIntermediateCa } from '../../support/edge/intermediate-ca.ts'

const certificatesIn = (pem: string): X509Certificate[] =>
  (pem.match(/-----BEGIN[^]*?-----END CERTIFICATE-----/g) ?? []).map((one) => new X509Certificate(one))

test('of what a device sends with its certificate that is looked at which has signed something on the way up', async () => {
  const ca = await createIntermediateCa()
  const stranger = await createIntermediateCa()
  const [leaf, middle] = certificatesIn((await ca.device('boiler-7')).cert) as [
    X509Certificate,
    X509Certificate,
  ]
  const junk = certificatesIn((await stranger.device('boiler-7')).cert).slice(1)
  const authorities = authoritiesOf(certificatesIn(ca.root))
  const credential = credentialOf({ leaf, sent: [...junk, middle, ...junk] }, 'boiler-7', authorities)
  expect(credential.sent.map(({ serial }) => serial)).toEqual([middle.serialNumber])
  expect(credentialOf({ leaf, sent: junk }, 'boiler-7', authorities).sent).toEqual([])
})
