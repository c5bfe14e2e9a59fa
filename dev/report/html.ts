import { nameRecord, type FaultRecord } from '../faults/saboteur.ts'
import { grouped, milliseconds, numbersGrouped } from '../format.ts'
import type { PageFrame, PageLine } from './page/client.ts'
import type { Page } from './page.ts'
import { escapeText, frame, renderPlot, timeLabel } from './plot.ts'
import { misdeedChecks, sayBroken, type Check, type Report } from './report.ts'
import { linesOf, plotOf, type RunOnPage } from './run-plot.ts'

/** The report as one file a person wants to look at: no network, no dependency, light and dark. */
export function renderHtml(input: RunOnPage, { style, script }: Page): string {
  const { report } = input
  const plot = plotOf(input)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidegate resilience report · seed ${report.run.seed}</title>
<style>
${style}</style>
</head>
<body>
<main>
<header>
  <div>
    <h1>Resilience report</h1>
    <p>${escapeText(subtitle(report))}</p>
  </div>
  ${verdict(report)}
</header>
${tiles(report)}
<section>
  <h2>The run</h2>
  <figure class="plot">${renderPlot(plot)}<div class="tip" role="status" hidden></div></figure>
  <p class="hint">Point at the plot, or focus it and use the arrow keys, to read values. Latency is from the gateway’s clock at admission to the history’s at commit, by the second of admission. After an outage live events go first and the backlog drains beside them (<code>uplink.catchUp</code>), so that a full gateway may hold its depth for a while.</p>
  <p class="hint narrow">On a narrow screen the plot scrolls sideways.</p>
</section>
${faultTable(report.faults)}
${booksTable(report)}
${evidenceSection(report)}
${misdeedTable(report)}
<section>
  <h2>Conditions</h2>
  <dl>${conditions(report)}</dl>
</section>
</main>
${dataFor(linesOf(plot), frame)}
<script type="module">
${script}</script>
</body>
</html>
`
}

/** What the page's script reads. */
function dataFor(lines: readonly PageLine[], frame: PageFrame): string {
  return `<script type="application/json" id="data">${JSON.stringify(lines).replaceAll('<', '\\u003c')}</script>
<script type="application/json" id="frame">${JSON.stringify(frame)}</script>`
}

function tiles(report: Report): string {
  const { live, backlog } = report.latencyMs
  const waited = backlog.count > 0
  return `<section class="tiles" aria-label="Summary">
  ${tile('acknowledged', grouped(report.acknowledged), `of ${grouped(report.published)} published`)}
  ${tile('stored', grouped(report.stored), report.storedTwice === 0 ? 'each one once' : `${grouped(report.storedTwice)} twice`)}
  ${tile('missing', grouped(report.missing), 'acknowledged and not stored', report.missing === 0 ? 'good' : 'bad')}
  ${tile('repeats dropped', grouped(report.duplicates), `${grouped(report.resent)} sent again by devices`)}
  ${tile('quarantined', grouped(report.quarantined), `${grouped(report.expectedQuarantined)} expected`)}
  ${tile('deepest buffer', grouped(report.maxBuffered), 'events held at the edge')}
  ${tile('latency, live', milliseconds(live.p50), `p99 ${milliseconds(live.p99)}`)}
  ${tile('latency, backlog', waited ? milliseconds(backlog.p50) : '–', waited ? `p99 ${milliseconds(backlog.p99)}` : 'nothing waited')}
</section>`
}

function booksTable({ checks }: Report): string {
  return `<section>
  <h2>The books</h2>
  <table><thead><tr><th scope="col"></th><th scope="col">promise</th><th scope="col" class="number">expected</th><th scope="col" class="number">found</th></tr></thead>
  <tbody>${checks.map(checkRow).join('')}</tbody></table>
</section>`
}

function verdict(report: Report): string {
  return report.balanced
    ? '<p class="verdict good"><strong>The books balance</strong>every acknowledged event is accounted for, once</p>'
    : `<p class="verdict bad"><strong>The books do not balance</strong>${sayBroken(report)}</p>`
}

function subtitle({ run, faults }: Report): string {
  const perSecond = `${grouped(run.eventsPerSecond)} events/s`
  const faultText = faults.length === 0 ? 'no faults' : faults.map(nameRecord).join(', ')
  return `${run.devices} devices at ${perSecond} for ${timeLabel(run.durationMs / 1000)}, with ${faultText}; seed ${run.seed}.`
}

function tile(name: string, value: string, note: string, mood = ''): string {
  return `<div class="tile ${mood}"><span>${escapeText(name)}</span><strong>${escapeText(value)}</strong><small>${escapeText(note)}</small></div>`
}

function checkRow({ ok, promise, expected, actual }: Check): string {
  return `<tr class="${ok ? 'good' : 'bad'}"><td class="mark">${ok ? '<span aria-label="kept">✓</span>' : '<span aria-label="broken">✗</span>'}</td><td>${escapeText(promise)}</td><td class="number">${escapeText(numbersGrouped(expected))}</td><td class="number">${escapeText(numbersGrouped(actual))}</td></tr>`
}

function faultTable(faults: readonly FaultRecord[]): string {
  if (faults.length === 0) return ''
  const rows = faults.map(
    (fault) =>
      `<tr><td>${escapeText(nameRecord(fault))}</td><td class="number">${inSeconds(fault.fromMs)}</td><td class="number">${inSeconds(fault.untilMs - fault.fromMs)}</td></tr>`,
  )
  return `<section><h2>The faults</h2><table><thead><tr><th scope="col">what</th><th scope="col" class="number">at</th><th scope="col" class="number">back after</th></tr></thead><tbody>${rows.join('')}</tbody></table></section>`
}

/** What the terminal says as well. */
function evidenceSection({ evidence, missingEvents }: Report): string {
  if (!evidence) return ''
  const { missing, searched, places, blind, folder, file, toLook } = evidence
  const rows = places.map(
    ({ events, place }) => `<tr><td>${escapeText(place)}</td><td class="number">${grouped(events)}</td></tr>`,
  )
  const table =
    rows.length === 0
      ? ''
      : `<table><thead><tr><th scope="col">where</th><th scope="col" class="number">events</th></tr></thead><tbody>${rows.join('')}</tbody></table>`
  const first = missingEvents.map(
    ({ source, id, words = '' }) => `<dt>${escapeText(`${source} ${id}`)}</dt><dd>${escapeText(words)}</dd>`,
  )
  const list = first.length === 0 ? '' : `<p class="hint">The first of them:</p><dl>${first.join('')}</dl>`
  const notSeen = blind.map((why) => `<p class="hint">Not seen: ${escapeText(why)}</p>`)
  const look = toLook.map((line) => `<p class="hint"><code>${escapeText(line)}</code></p>`)
  return `<section><h2>What is missing, and where it is</h2><p>${grouped(missing)} acknowledged events are missing from the history; ${grouped(searched)} were looked for.</p>${table}${list}${notSeen.join('')}<p>Nothing was deleted: outbox, servers’ data and logs lie in ${escapeText(folder)}, and ${escapeText(file)} names each event.</p>${look.join('')}</section>`
}

function misdeedTable(report: Report): string {
  const rows = misdeedChecks(report).map(checkRow)
  if (rows.length === 0) return ''
  return `<section><h2>Sensors that misbehave on purpose</h2><table><thead><tr><th scope="col"></th><th scope="col">must end as</th><th scope="col" class="number">acknowledged</th><th scope="col" class="number">found</th></tr></thead><tbody>${rows.join('')}</tbody></table></section>`
}

function conditions(report: Report): string {
  const { run, audit, latencyMs } = report
  const entries: [string, string][] = [
    ['started', run.startedAt],
    ['run', run.id],
    ['gateway', run.gateway],
    ['publishing', timeLabel(run.durationMs / 1000)],
    [
      report.missing === 0 ? 'until everything was stored' : 'waited for what is missing',
      milliseconds(run.drainMs),
    ],
    ['PUBACK', `p50 ${milliseconds(latencyMs.puback.p50)}, p99 ${milliseconds(latencyMs.puback.p99)}`],
    ['audit', audit.detail],
    ...Object.entries(run.versions),
  ]
  return entries.map(([name, value]) => `<dt>${escapeText(name)}</dt><dd>${escapeText(value)}</dd>`).join('')
}

/** In a table one unit for all. */
function inSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
