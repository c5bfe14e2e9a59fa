/** Known to every copy of this package, of whatever version. */
const made: unique symbol = Symbol.for('tidegate.made')

/** Of what a consumer was made, and what came of it. */
interface Made {
  options: object
  as: object
}

/** The same consumer, which remembers of which options it was made. What is copied from it does not, so that a wrapper stays. */
export function signed<Consumer extends object>(consumer: Consumer, options: object): Consumer {
  const value: Made = { options, as: { ...consumer } }
  return Object.defineProperty(consumer, made, { value })
}

/** The options of a consumer that is as some copy of this package has made it; undefined: somebody has changed it since, or made it otherwise. */
export function optionsOf(consumer: object): object | undefined {
  const { [made]: mark } = consumer as { [made]?: Made }
  if (mark === undefined) return undefined
  const [as, now] = [mark.as, consumer] as Readonly<Record<string, unknown>>[]
  const keys = new Set([...Object.keys(mark.as), ...Object.keys(consumer)])
  return [...keys].every((key) => now?.[key] === as?.[key]) ? mark.options : undefined
}
