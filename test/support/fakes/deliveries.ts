export {
  createFakeBroker,
  type FakeBroker,
  type FakeBrokerOptions,
  type FakeDeliveries,
  type Posted,
} from '../../../cloud/testing/broker.ts'
