/**
 * The consumer of the demonstration: it would raise an alarm where it is too hot. One of the sensors speaks Fahrenheit, which the schema
 * takes for Celsius, and each of its readings becomes a dead letter: a person can look at it, repair it and replay it (docs/FAILURES.md).
 * It is written as anybody's would be: no type of ours, nothing imported.
 */
export default {
  group: 'climate-alarms',
  types: ['com.tidegate.demo.climate'],
  version: '1.0.0',
  handle({ partitionkey, data }: { partitionkey: string; data: { temperature: number } }): void {
    if (data.temperature <= 60) return
    const message = `${partitionkey} reports ${data.temperature} °C: is that Fahrenheit?`
    // The same reading is as wrong the next time.
    throw Object.assign(new Error(message), { code: 'TEMPERATURE_IMPLAUSIBLE', retryable: false })
  },
}
