import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { codeOf } from '../../../src/errors.ts'
import { applyPatch, checkPatch, type JsonPatch } from '../../../cloud/replays/json-patch.ts'

const patched = (data: unknown, ...patch: JsonPatch): unknown => applyPatch(data, checkPatch(patch))

describe('a patch of the data of an event', () => {
  // RFC 6902, Appendix A, by its numbers; A.11, A.13 and A.15 are below.
  test.each<[string, unknown, JsonPatch, unknown]>([
    ['A.1', { foo: 'bar' }, [{ op: 'add', path: '/baz', value: 'qux' }], { baz: 'qux', foo: 'bar' }],
    [
      'A.2',
      { foo: ['bar', 'baz'] },
      [{ op: 'add', path: '/foo/1', value: 'qux' }],
      { foo: ['bar', 'qux', 'baz'] },
    ],
    ['A.3', { baz: 'qux', foo: 'bar' }, [{ op: 'remove', path: '/baz' }], { foo: 'bar' }],
    ['A.4', { foo: ['bar', 'qux', 'baz'] }, [{ op: 'remove', path: '/foo/1' }], { foo: ['bar', 'baz'] }],
    [
      'A.5',
      { baz: 'qux', foo: 'bar' },
      [{ op: 'replace', path: '/baz', value: 'boo' }],
      { baz: 'boo', foo: 'bar' },
    ],
    [
      'A.6',
      { foo: { bar: 'baz', waldo: 'fred' }, qux: { corge: 'grault' } },
      [{ op: 'move', from: '/foo/waldo', path: '/qux/thud' }],
      { foo: { bar: 'baz' }, qux: { corge: 'grault', thud: 'fred' } },
    ],
    [
      'A.7',
      { foo: ['all', 'grass', 'cows', 'eat'] },
      [{ op: 'move', from: '/foo/1', path: '/foo/3' }],
      { foo: ['all', 'cows', 'eat', 'grass'] },
    ],
    [
      'A.8',
      { baz: 'qux', foo: ['a', 2, 'c'] },
      [{ op: 'test', path: '/foo/1', value: 2 }],
      { baz: 'qux', foo: ['a', 2, 'c'] },
    ],
    [
      'A.10',
      { foo: 'bar' },
      [{ op: 'add', path: '/child', value: { grandchild: {} } }],
      { foo: 'bar', child: { grandchild: {} } },
    ],
    ['A.14', { '/': 9, '~1': 10 }, [{ op: 'test', path: '/~01', value: 10 }], { '/': 9, '~1': 10 }],
    [
      'A.16',
      { foo: ['bar'] },
      [{ op: 'add', path: '/foo/-', value: ['abc', 'def'] }],
      { foo: ['bar', ['abc', 'def']] },
    ],
    ['the whole', { kpa: 1 }, [{ op: 'replace', path: '', value: 7 }], 7],
    [
      'copy',
      { a: [1] },
      [
        { op: 'copy', from: '/a', path: '/b' },
        { op: 'add', path: '/b/-', value: 2 },
      ],
      { a: [1], b: [1, 2] },
    ],
  ])('does what RFC 6902 says: %s', (_name, data, patch, result) => {
    const before = structuredClone(data)
    expect(patched(data, ...patch)).toEqual(result)
    expect(data).toEqual(before)
  })

  test.each<[string, unknown, JsonPatch]>([
    ['A.9: another value', { baz: 'qux' }, [{ op: 'test', path: '/baz', value: 'bar' }]],
    ['A.12: nowhere', { foo: 'bar' }, [{ op: 'add', path: '/baz/bat', value: 'qux' }]],
    ['A.15: a number is no text', { '/': 9, '~1': 10 }, [{ op: 'test', path: '/~01', value: '10' }]],
    ['nothing there', { foo: 1 }, [{ op: 'remove', path: '/bar' }]],
    ['behind the end', { foo: [1] }, [{ op: 'add', path: '/foo/3', value: 1 }]],
    ['nothing left', { foo: 1 }, [{ op: 'remove', path: '' }]],
    ['inherited', {}, [{ op: 'add', path: '/toString/x', value: 1 }]],
    ['inherited by a list', { foo: [] }, [{ op: 'replace', path: '/foo/length', value: 9 }]],
    ['doubled too often', { a: 'x'.repeat(200_000) }, [{ op: 'copy', from: '/a', path: '/b' }]],
  ])('is refused where it does not fit, and says which operation: %s', (_name, data, patch) => {
    expect(() => patched(data, ...patch)).toThrow(expect.objectContaining({ code: 'EDIT_REFUSED' }) as Error)
  })

  test.each<[string, unknown]>([
    ['no list', { op: 'add' }],
    ['an operation that there is not', [{ op: 'merge', path: '/a', value: 1 }]],
    ['no pointer', [{ op: 'remove', path: 'a' }]],
    ['half an escape', [{ op: 'remove', path: '/a~2' }]],
    ['no value', [{ op: 'add', path: '/a' }]],
    ['into itself', [{ op: 'move', from: '/a', path: '/a/b' }]],
    ['a prototype', [{ op: 'add', path: '/__proto__/x', value: 1 }]],
    ['too many', Array.from({ length: 101 }, () => ({ op: 'remove', path: '/a' }))],
    ['too long', [{ op: 'add', path: '/a', value: 'x'.repeat(40_000) }]],
  ])('is no patch: %s', (_name, patch) => {
    expect(() => checkPatch(patch)).toThrow(expect.objectContaining({ code: 'EDIT_REFUSED' }) as Error)
  })

  test('whatever it is, changes nothing but its copy of the data', () => {
    const key = fc.constantFrom('a', 'constructor', 'prototype', '__proto__', 'toString', '0', '-', '')
    const pointer = fc.array(key, { maxLength: 4 }).map((keys) => keys.map((step) => `/${step}`).join(''))
    const operation = fc.record({
      op: fc.constantFrom('add', 'remove', 'replace', 'move', 'copy', 'test'),
      path: pointer,
      from: pointer,
      value: fc.jsonValue(),
    })
    const plain = Object.getOwnPropertyNames(Object.prototype).join()
    fc.assert(
      fc.property(fc.jsonValue(), fc.array(operation, { maxLength: 6 }), (data, patch) => {
        const before = JSON.stringify(data)
        let code = 'EDIT_REFUSED'
        try {
          applyPatch(data, checkPatch(patch))
        } catch (error) {
          code = codeOf(error)
        }
        expect(code).toBe('EDIT_REFUSED')
        expect(JSON.stringify(data)).toBe(before)
        expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(plain)
        expect(Object.keys(Object.getOwnPropertyDescriptor(Object.prototype, 'toString')?.value)).toEqual([])
      }),
    )
  })
})
