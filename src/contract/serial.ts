/**
 * A serial number in one spelling, whoever has written it down: its bytes as they stand in a certificate (DER), in capital hex digits
 * without leading zeros. Colons and case do not count. A negative one, which no CA should give and some have given, is `-0B` to
 * OpenSSL and Node, and `F5` in a list: it is `F5` here, as 245 is. `hex` has hex digits, after a `-` perhaps.
 */
export function plainSerial(hex: string): string {
  const digits = hex.replaceAll(':', '').replace(/^(-?)0+(?=.)/, '$1')
  return (digits.startsWith('-') ? twosComplement(digits.slice(1)) : digits).toUpperCase()
}

function twosComplement(digits: string): string {
  const magnitude = BigInt(`0x${digits}`)
  const bits = BigInt(8 * Math.ceil(digits.length / 2))
  const isWide = magnitude > 1n << (bits - 1n)
  return ((1n << (isWide ? bits + 8n : bits)) - magnitude).toString(16)
}
