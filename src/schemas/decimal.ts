/**
 * Whether numbers are multiples of a divisor, as people reckon: by the digits in which both are written, and not by
 * the binary fractions that stand for them, of which 8.1 is no multiple of 0.1.
 */
export function multiplesOf(divisor: number): (value: number) => boolean {
  const { digits, exponent } = decimalOf(divisor)
  const decimals = Math.max(0, -exponent)
  /** Both are reckoned in units of the divisor's last decimal: so it is whole. */
  const step = digits * 10n ** BigInt(exponent + decimals)
  const isWhole = multiplesOfWhole(step, decimals)
  if (decimals > exactPowersMax) return isWhole

  const scale = Number(`1e${decimals}`)
  const stepNumber = Number(step)
  return (value) => {
    const units = Math.round(value * scale)
    if (Math.abs(units) >= exactMax) return isWhole(value)
    // Of at most 15 digits, each decimal has a double of its own: these are the digits, or it has more decimals.
    return units / scale === value && units % stepNumber === 0
  }
}

/** Whole numbers below have at most 15 digits. */
const exactMax = 1e15
/** Powers of ten up to this one are doubles. */
const exactPowersMax = 22

/** The same with whole numbers of any size; each costs a division of some 100 bits, however large it is. */
function multiplesOfWhole(step: bigint, decimals: number): (value: number) => boolean {
  /** Of 10 to the power of the index, divided by the step. */
  const remainders = [1n % step]
  return (value) => {
    const { digits, exponent } = decimalOf(value)
    const power = exponent + decimals
    // It has more decimals than the divisor, and the last is not 0.
    if (power < 0) return digits === 0n
    for (let at = remainders.length; at <= power; at += 1)
      remainders.push(((remainders[at - 1] as bigint) * 10n) % step)
    return (digits * (remainders[power] as bigint)) % step === 0n
  }
}

interface Decimal {
  digits: bigint
  /** Of ten. */
  exponent: number
}

const written = /^(-?\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/

/** By the shortest digits that stand for the number: those that were sent, if they were at most 15. */
function decimalOf(number: number): Decimal {
  const [, whole = '0', fraction = '', power = '0'] = written.exec(String(number)) ?? []
  return { digits: BigInt(whole + fraction), exponent: Number(power) - fraction.length }
}
