import { statSync } from 'node:fs'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** From the layer whose files take minutes to the one whose files take milliseconds. */
const layers = ['e2e', 'fault', 'simulation', 'contract/cloud', 'contract', 'house', 'unit']

/** What takes long comes first, so that no file is begun when all others have ended and leaves a core idle. */
export class SlowestLayerFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files
      .map((file) => ({ file, layer: layerOf(file), bytes: statSync(file.moduleId).size }))
      .toSorted((a, b) => a.layer - b.layer || b.bytes - a.bytes)
      .map(({ file }) => file)
  }
}

function layerOf({ moduleId }: TestSpecification): number {
  return layers.findIndex((layer) => moduleId.includes(`/test/${layer}/`))
}
