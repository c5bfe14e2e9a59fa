export { settled, VirtualClock as FakeClock } from '../../../cloud/testing/virtual-clock.ts'
