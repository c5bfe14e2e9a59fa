import { createRequire } from 'node:module'
import protobuf from 'protobufjs'
import type { ProtobufField, ProtobufMessage, ProtobufType } from './schema.ts'
import { type ProtobufScalar, scalars } from './scalars.ts'

/** What is read of .proto files: protobufjs parses them and resolves their names. Nothing of it decodes, so that it makes no code. */
export interface ProtoFile {
  /** As imports name it. */
  name: string
  text: string
}

/** The imports of a .proto file, but for those that need no file. @throws Error it is no .proto file. */
export function importsOf({ name, text }: ProtoFile): string[] {
  const { imports = [], weakImports = [] } = parsed(name, text, new protobuf.Root())
  return [...imports, ...weakImports].filter((one) => !isPackaged(one))
}

/** Files of Google that protobufjs brings, besides those that it has in its code. */
const packaged = new Set(
  ['api', 'descriptor', 'source_context', 'type'].map((name) => `google/protobuf/${name}.proto`),
)
const require = createRequire(import.meta.url)

function isPackaged(name: string): boolean {
  return packaged.has(name) || protobuf.common.get(name) !== null
}

/**
 * A message of these files, ready to be read.
 * @throws Error what is wrong with them, or that there is no such message.
 */
export function messageIn(files: readonly ProtoFile[], fullName: string): ProtobufMessage {
  const root = new protobuf.Root()
  const common = new Set<string>()
  for (const { name, text } of files) {
    const { imports = [], weakImports = [] } = parsed(name, text, root)
    for (const one of [...imports, ...weakImports]) common.add(one)
  }
  for (const name of common) root.addJSON(commonOf(name))
  root.resolveAll()
  const type = root.lookup(fullName, protobuf.Type)
  if (!(type instanceof protobuf.Type) || type.fullName !== `.${fullName.replace(/^\./, '')}`)
    throw new Error(`there is no message ${fullName}${among(root)}`)
  return compile(type, new Map())
}

function commonOf(name: string): Record<string, protobuf.AnyNestedObject> {
  const json = packaged.has(name)
    ? (require(`protobufjs/${name.replace(/proto$/, 'json')}`) as protobuf.INamespace)
    : protobuf.common.get(name)
  return json?.nested ?? {}
}

function parsed(name: string, text: string, root: protobuf.Root): protobuf.IParserResult {
  try {
    refuseLostNames(text)
    return protobuf.parse(text, root, { keepCase: true })
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

/** protobufjs leaves out what is called so, without a word; and a name in JSON it cannot be, for who reads that with a careless tool. */
function refuseLostNames(text: string): void {
  const tokens = protobuf.tokenize(text, false)
  for (let token = tokens.next(); token !== null; token = tokens.next())
    if (token.split('.').includes('__proto__'))
      throw new Error(`the name __proto__ (line ${tokens.line}) is one that no field can have here`)
}

function among(root: protobuf.Root): string {
  const names: string[] = []
  const visit = (namespace: protobuf.NamespaceBase): void => {
    for (const one of namespace.nestedArray) {
      if (one instanceof protobuf.Type) names.push(one.fullName.slice(1))
      if (one instanceof protobuf.Namespace || one instanceof protobuf.Type) visit(one)
    }
  }
  visit(root)
  const ours = names.filter((name) => !name.startsWith('google.protobuf.'))
  return ours.length === 0 ? '' : `; there are ${ours.slice(0, 10).join(', ')}`
}

function compile(type: protobuf.Type, known: Map<protobuf.Type, ProtobufMessage>): ProtobufMessage {
  const before = known.get(type)
  if (before) return before
  const always: ProtobufField[] = []
  const byNumber = new Map<number, ProtobufField>()
  const message: ProtobufMessage = { fullName: type.fullName, always, byNumber }
  known.set(type, message)
  const names = new Map<string, string>()
  for (const [index, field] of type.fieldsArray.entries()) {
    const made = compileField(field, index, known)
    const other = names.get(made.name)
    if (other !== undefined)
      throw new Error(
        `${type.fullName.slice(1)}: ${other} and ${field.name} are both ${made.name} in JSON: one needs another json_name`,
      )
    names.set(made.name, field.name)
    byNumber.set(made.number, made)
    if (!made.hasPresence || made.isRequired) always.push(made)
  }
  return message
}

function compileField(
  field: protobuf.Field,
  index: number,
  known: Map<protobuf.Type, ProtobufMessage>,
): ProtobufField {
  const isMap = field instanceof protobuf.MapField
  const label = isMap ? 'map' : field.repeated ? 'repeated' : 'single'
  const isMessage = field.resolvedType instanceof protobuf.Type
  return {
    index,
    number: field.id,
    // Extensions have their full name in brackets.
    name: field.name.startsWith('.') ? `[${field.name.slice(1)}]` : field.jsonName,
    type: typeOf(field, known),
    label,
    ...(isMap && { keyType: scalarOf(field.keyType) }),
    isGroup: field.delimited && !isMap,
    // Messages always have it, which protobufjs does not say of those in proto3.
    hasPresence: label === 'single' && (isMessage || field.partOf !== null || field.hasPresence),
    isRequired: field.required,
    ...(field.partOf && { oneof: field.partOf.name }),
  }
}

function typeOf(field: protobuf.Field, known: Map<protobuf.Type, ProtobufMessage>): ProtobufType {
  const { resolvedType } = field
  if (resolvedType instanceof protobuf.Type) return { kind: 'message', message: compile(resolvedType, known) }
  if (!(resolvedType instanceof protobuf.Enum)) return { kind: 'scalar', scalar: scalarOf(field.type) }
  const numbers = Object.values(resolvedType.values)
  // Of aliases the first counts.
  const names = new Map(
    Object.entries(resolvedType.values)
      .toReversed()
      .map(([name, number]) => [number, name]),
  )
  return { kind: 'enum', names, first: numbers[0] ?? 0 }
}

function scalarOf(name: string): ProtobufScalar {
  const scalar = new Map<string, ProtobufScalar>(Object.entries(scalars)).get(name)
  if (!scalar) throw new Error(`there is no type ${name}`)
  return scalar
}
