import protobuf from 'protobufjs'
import type { ProtobufField, ProtobufMessage, ProtobufType } from './message.ts'
import { type ProtobufScalar, scalars } from './scalars.ts'

/** What is read of .proto files: protobufjs parses them and resolves their names. Nothing of it decodes, so that it makes no code. */
export interface ProtoFile {
  /** As imports name it. */
  name: string
  text: string
}

/** The imports of a .proto file, but for those that are known without a file. @throws Error it is no .proto file. */
export function importsOf({ name, text }: ProtoFile): string[] {
  const { imports = [], weakImports = [] } = parsed(name, text, new protobuf.Root())
  return [...imports, ...weakImports].filter((one) => protobuf.common.get(one) === null)
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

/** protobufjs has some of Google's files in it; Struct and Timestamp of others may be there as well. */
function commonOf(name: string): Record<string, protobuf.AnyNestedObject> {
  return protobuf.common.get(name)?.nested ?? {}
}

function parsed(name: string, text: string, root: protobuf.Root): protobuf.IParserResult {
  try {
    return protobuf.parse(text, root, { keepCase: true })
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
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
  const fields: ProtobufField[] = []
  const byNumber = new Map<number, ProtobufField>()
  const message: ProtobufMessage = { fullName: type.fullName, fields, byNumber }
  known.set(type, message)
  const all = type.fieldsArray
  for (const [index, field] of all.entries()) {
    const made = compileField(field, index, all, known)
    fields.push(made)
    byNumber.set(made.number, made)
  }
  return message
}

function compileField(
  field: protobuf.Field,
  index: number,
  all: readonly protobuf.Field[],
  known: Map<protobuf.Type, ProtobufMessage>,
): ProtobufField {
  const siblings = field.partOf?.fieldsArray ?? []
  return {
    index,
    number: field.id,
    // Extensions have their full name in brackets.
    name: field.name.startsWith('.') ? `[${field.name.slice(1)}]` : field.jsonName,
    type: typeOf(field, known),
    label: field instanceof protobuf.MapField ? 'map' : field.repeated ? 'repeated' : 'single',
    ...(field instanceof protobuf.MapField && { keyType: scalarOf(field.keyType) }),
    // Messages always have it, which protobufjs does not say of those in proto3.
    hasPresence: field.resolvedType instanceof protobuf.Type || field.partOf !== null || field.hasPresence,
    isRequired: field.required,
    others: siblings.filter((one) => one !== field).map((one) => all.indexOf(one)),
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
