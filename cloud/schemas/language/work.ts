import { compilePattern, type Pattern } from '../../../src/schemas/pattern.ts'

/** A comparison has taken more work than it may: what is not shown by then is unknown. */
export class OutOfWork extends Error {
  constructor() {
    super('takes more work than a comparison may')
  }
}

const nestingMax = 120

/** Bounds what a comparison does, whatever the schemas are (G7); the same comparison always takes the same. */
export class Work {
  #left: number
  #nesting = 0
  readonly #patterns = new Map<string, Pattern | undefined>()

  constructor(stepsMax: number) {
    this.#left = stepsMax
  }

  /** @throws OutOfWork */
  readonly spend = (steps: number): void => {
    this.#left -= steps
    if (this.#left < 0) throw new OutOfWork()
  }

  /** A stack has an end too. @throws OutOfWork */
  nested<T>(go: () => T): T {
    if (this.#nesting >= nestingMax) throw new OutOfWork()
    this.#nesting += 1
    try {
      return go()
    } finally {
      this.#nesting -= 1
    }
  }

  /** Whether a text matches; undefined: there is no such pattern. */
  matches(source: string, text: string): boolean | undefined {
    return this.pattern(source)?.test(text)
  }

  pattern(source: string): Pattern | undefined {
    if (!this.#patterns.has(source)) this.#patterns.set(source, patternOf(source, this.spend))
    return this.#patterns.get(source)
  }
}

function patternOf(source: string, spend: (steps: number) => void): Pattern | undefined {
  spend(source.length)
  try {
    return compilePattern(source, (steps) => spend(Math.ceil(steps / 10)))
  } catch {
    return undefined
  }
}
