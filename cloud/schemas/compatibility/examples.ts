import { Maker } from '../documents/maker.ts'
import { Random } from '../documents/random.ts'
import type { Json } from '../language/json.ts'
import { SchemaDocument } from '../language/node.ts'
import { OutOfWork, Work } from '../language/work.ts'
import { Judges } from './evidence.ts'
import type { Version } from './version.ts'

const madeStepsMax = 50_000
const judgedStepsMax = 5_000_000

/** Documents that the writer accepts, near to where the reader draws its lines: at most so many, and the same every time. */
export function* generatedOf(writer: Version, reader: Version, count: number): Generator<Json> {
  const maker = new Maker(new Work(madeStepsMax), new Random(1))
  const judges = new Judges(writer, reader, judgedStepsMax)
  const from = new SchemaDocument('writer', writer.schema).root
  const to = new SchemaDocument('reader', reader.schema).root
  try {
    for (let made = 0; made < count; made += 1) {
      const document = maker.make([from], [to])
      if (document !== undefined && judges.accepts(document)) yield document
    }
  } catch (error) {
    if (!(error instanceof OutOfWork)) throw error
  }
}
