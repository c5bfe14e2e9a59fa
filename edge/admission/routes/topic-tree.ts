interface Node<K, V> {
  children: Map<string, Node<K, V>>
  /** Of filters that end here. */
  values: Map<K, V>
  /** Of filters that go on, by the rest of them. */
  rests: Map<string, Map<K, V>>
}

/**
 * Levels that are nodes. The rest of a longer filter is compared as a text: a filter of tens of thousands of levels costs its
 * own length and no more (G7).
 */
const depthMax = 16

/** Who wants which topics: filters (MQTT 3.1.1, 4.7), with a value of each for each who has it. The cost of a topic is per level. */
export class TopicTree<K, V> {
  readonly #root: Node<K, V> = emptyNode()
  /** Grows with each change: what was found of a topic holds for as long as it does not. */
  changes = 0

  get isEmpty(): boolean {
    return this.#root.children.size === 0
  }

  set(filter: string, key: K, value: V): void {
    this.changes += 1
    const { levels, rest } = split(filter)
    let node = this.#root
    for (const level of levels) node = childOf(node, level)
    if (rest === undefined) node.values.set(key, value)
    else node.rests.set(rest, (node.rests.get(rest) ?? new Map<K, V>()).set(key, value))
  }

  delete(filter: string, key: K): void {
    this.changes += 1
    const { levels, rest } = split(filter)
    remove(this.#root, levels, 0, rest, key)
  }

  /** Whether anybody wants what is published to it. */
  has(topic: string): boolean {
    let isWanted = false
    if (!this.isEmpty) this.match(topic, () => (isWanted = true))
    return isWanted
  }

  /** Calls `found` for each filter that matches the topic, with each who has it. */
  match(topic: string, found: (key: K, value: V) => void): void {
    const { levels, rest } = split(topic)
    collect(this.#root, levels, rest, 0, found)
  }
}

/** Of one device's filters: room for two of the longest that there can be. */
const deepCharactersMax = 1 << 17

/**
 * What the filters of each device have beyond the levels that are nodes, all its sessions together: a publish of as many levels is
 * compared with all of it, and holds up everybody for so long (G7).
 */
export class DeepFilters {
  readonly #charactersOf = new Map<string, number>()

  /** Always for a filter that has nothing there. */
  hasRoom(deviceId: string, filter: string): boolean {
    const characters = deepCharacters(filter)
    return characters === 0 || (this.#charactersOf.get(deviceId) ?? 0) + characters <= deepCharactersMax
  }

  add(deviceId: string, filter: string): void {
    this.#count(deviceId, deepCharacters(filter))
  }

  remove(deviceId: string, filter: string): void {
    this.#count(deviceId, -deepCharacters(filter))
  }

  #count(deviceId: string, characters: number): void {
    const sum = (this.#charactersOf.get(deviceId) ?? 0) + characters
    if (sum > 0) this.#charactersOf.set(deviceId, sum)
    else this.#charactersOf.delete(deviceId)
  }
}

function deepCharacters(filter: string): number {
  return split(filter).rest?.length ?? 0
}

interface Split {
  levels: string[]
  rest: string | undefined
}

function split(text: string): Split {
  const levels: string[] = []
  let start = 0
  while (levels.length < depthMax) {
    const end = text.indexOf('/', start)
    if (end < 0) {
      levels.push(text.slice(start))
      return { levels, rest: undefined }
    }
    levels.push(text.slice(start, end))
    start = end + 1
  }
  return { levels, rest: text.slice(start) }
}

function emptyNode<K, V>(): Node<K, V> {
  return { children: new Map(), values: new Map(), rests: new Map() }
}

function childOf<K, V>(node: Node<K, V>, level: string): Node<K, V> {
  const child = node.children.get(level) ?? emptyNode<K, V>()
  node.children.set(level, child)
  return child
}

function collect<K, V>(
  node: Node<K, V>,
  levels: string[],
  rest: string | undefined,
  depth: number,
  found: (key: K, value: V) => void,
): void {
  // Wildcards do not reach topics of the server's own [MQTT-4.7.2-1].
  const wild = depth > 0 || !levels[0]?.startsWith('$')
  if (wild) each(node.children.get('#')?.values, found)
  const level = levels[depth]
  if (level === undefined) {
    if (rest === undefined) each(node.values, found)
    for (const [wanted, values] of node.rests) if (restMatches(wanted, rest)) each(values, found)
    return
  }
  const exact = node.children.get(level)
  if (exact) collect(exact, levels, rest, depth + 1, found)
  const any = wild ? node.children.get('+') : undefined
  if (any) collect(any, levels, rest, depth + 1, found)
}

function each<K, V>(values: Map<K, V> | undefined, found: (key: K, value: V) => void): void {
  if (values) for (const [key, value] of values) found(key, value)
}

/** In one pass, without splitting. `a/#` takes in `a`, so that `#` is matched where nothing is left. */
function restMatches(filter: string, topic: string | undefined): boolean {
  if (topic === undefined) return filter === '#'
  let at = 0
  for (let index = 0; index < filter.length; index += 1) {
    const character = filter[index]
    // Wildcards are whole levels: the door lets no others in.
    if (character === '#') return true
    if (character === '+') at = endOfLevel(topic, at)
    else if (at === topic.length) return filter.slice(index) === '/#'
    else if (character === topic[at]) at += 1
    else return false
  }
  return at === topic.length
}

function endOfLevel(text: string, start: number): number {
  const end = text.indexOf('/', start)
  return end < 0 ? text.length : end
}

/** Leaves no empty node behind. */
function remove<K, V>(
  node: Node<K, V>,
  levels: string[],
  depth: number,
  rest: string | undefined,
  key: K,
): void {
  const level = levels[depth]
  if (level !== undefined) {
    const child = node.children.get(level)
    if (!child) return
    remove(child, levels, depth + 1, rest, key)
    if (child.children.size + child.values.size + child.rests.size === 0) node.children.delete(level)
  } else if (rest === undefined) {
    node.values.delete(key)
  } else {
    const values = node.rests.get(rest)
    values?.delete(key)
    if (values?.size === 0) node.rests.delete(rest)
  }
}
