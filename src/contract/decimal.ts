/**
 * Whether a number is a multiple of another, as people reckon: by the digits in which both are written, and not by
 * the binary fractions that stand for them, of which 8.1 is no multiple of 0.1.
 */
export function isMultiple(value: number, divisor: number): boolean {
  if (Number.isSafeInteger(value) && Number.isSafeInteger(divisor)) return value % divisor === 0
  const one = decimalOf(value)
  const other = decimalOf(divisor)
  const exponent = Math.min(one.exponent, other.exponent)
  return scaled(one, exponent) % scaled(other, exponent) === 0n
}

interface Decimal {
  digits: bigint
  /** Of ten. */
  exponent: number
}

/** By the shortest digits that stand for the number: those that were sent, if they were at most 15. */
function decimalOf(number: number): Decimal {
  const [mantissa = '0', power = '0'] = String(number).split('e')
  const [whole = '0', fraction = ''] = mantissa.split('.')
  return { digits: BigInt(whole + fraction), exponent: Number(power) - fraction.length }
}

function scaled({ digits, exponent }: Decimal, to: number): bigint {
  return digits * 10n ** BigInt(exponent - to)
}
