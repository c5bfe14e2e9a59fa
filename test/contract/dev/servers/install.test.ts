import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { installScript } from '../../../../dev/servers/install.ts'

test.each([
  { title: 'with units', names: ['one', 'two'], units: ['one.service'] },
  { title: 'without units', names: ['one'], units: [] },
])('the install script is plain sh, $title', (packages) => {
  const checked = spawnSync('/bin/sh', ['-n'], { input: installScript(packages), encoding: 'utf8' })
  expect(checked).toMatchObject({ status: 0, stderr: '' })
})

test('the install script makes apt-get wait for others, ask nothing and add nothing', () => {
  const script = installScript({ title: 'x', names: ['one', 'two'], units: [] })
  expect(script).toMatch(/apt-get .*--no-install-recommends .*DPkg::Lock::Timeout=120[^]*install one two </)
  expect(script).toContain('DEBIAN_FRONTEND=noninteractive')
})
