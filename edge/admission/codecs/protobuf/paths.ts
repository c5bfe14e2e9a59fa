import type { ProtobufField, ProtobufMessage, ProtobufType } from './schema.ts'
import { scalars } from './scalars.ts'

/** Their JSON is whatever was sent, or a text: `idFrom` and `timeFrom` may end there. */
const anything = new Set(['Struct', 'Value', 'ListValue'].map((name) => `.google.protobuf.${name}`))
const texts = new Set(['Timestamp', 'Duration'].map((name) => `.google.protobuf.${name}`))
const wrapper = /^\.google\.protobuf\.\w+Value$/

/** Why no ID and no time can be at this path of what is read of a message; undefined: one can. */
export function faultOfPath(message: ProtobufMessage, path: readonly string[]): string | undefined {
  let at: ProtobufType = { kind: 'message', message }
  for (let index = 0; index < path.length; index += 1) {
    if (isAnything(at)) return undefined
    const step = path[index] as string
    const field: ProtobufField | string = memberOf(at, step)
    if (typeof field === 'string') return field
    at = field.type
    if (field.label === 'single') continue
    index += 1
    const key = path[index]
    if (key === undefined) return `${step} is ${field.label === 'map' ? 'a map' : 'repeated'}`
    if (field.label === 'repeated' && !/^\d+$/.test(key))
      return `${step} is repeated, and ${key} is no place in it`
  }
  return faultOfEnd(at, path.join('.'))
}

function memberOf(type: ProtobufType, step: string): ProtobufField | string {
  if (type.kind !== 'message' || texts.has(type.message.fullName) || wrapper.test(type.message.fullName))
    return `there is no ${step} in what is no object`
  const fields = [...type.message.byNumber.values()]
  const names = fields.map(({ name }) => name)
  return (
    fields.find(({ name }) => name === step) ??
    `there is no ${step} in ${type.message.fullName.slice(1)}, whose fields are, by their JSON names, ${names.slice(0, 20).join(', ')}`
  )
}

function faultOfEnd(type: ProtobufType, path: string): string | undefined {
  const no = 'is neither a text nor a number'
  if (type.kind === 'enum') return `${path} is an enum: its names are those of many readings`
  if (type.kind === 'scalar') return type.scalar === scalars.bool ? `${path} is a bool: it ${no}` : undefined
  const { fullName, byNumber } = type.message
  if (texts.has(fullName) || isAnything(type)) return undefined
  const value = wrapper.test(fullName) ? byNumber.get(1)?.type : undefined
  return value ? faultOfEnd(value, path) : `${path} is a message: it ${no}`
}

function isAnything(type: ProtobufType): boolean {
  return type.kind === 'message' && anything.has(type.message.fullName)
}
