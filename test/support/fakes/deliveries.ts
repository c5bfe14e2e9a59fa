export { createFakeBroker, type FakeBrokerOptions, type Posted } from '../../../cloud/testing/broker.ts'
