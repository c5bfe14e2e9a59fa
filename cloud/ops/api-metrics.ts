import { Counter, Histogram, type Registry } from 'prom-client'
import { type ApiObserver, refusalReasons } from '../api/observer.ts'

/** What the API does, counted. No label ever holds a name that a caller could make up. */
export function apiMetrics(registers: Registry[]): { api: ApiObserver; reset: () => void } {
  const requests = new Counter({
    name: 'tidegate_cloud_api_requests_total',
    help: 'Requests answered, by route and status',
    labelNames: ['route', 'status'],
    registers,
  })
  const seconds = new Histogram({
    name: 'tidegate_cloud_api_request_seconds',
    help: 'From a request to its answer, by route',
    labelNames: ['route'],
    buckets: [0.005, 0.025, 0.1, 0.25, 1, 2.5, 10],
    registers,
  })
  const refused = new Counter({
    name: 'tidegate_cloud_api_refused_total',
    help: 'Requests of somebody who was not let in, or may not, by why',
    labelNames: ['reason'],
    registers,
  })
  return {
    api: {
      answered(route, status, tookMs) {
        requests.inc({ route, status })
        seconds.observe({ route }, tookMs / 1000)
      },
      refused: (reason) => refused.inc({ reason }),
    },
    // To Prometheus, a series that appears with its first increment has not increased.
    reset() {
      for (const reason of refusalReasons) refused.inc({ reason }, 0)
    },
  }
}
